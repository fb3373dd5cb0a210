"""JSON messages, typed when wanted, through msgspec (RFC 8259)."""

from __future__ import annotations

import codecs
import functools
import re
from typing import Any

import msgspec

from trunkline.exceptions import WebSocketException

__all__ = ["InvalidJSON", "decode", "encode"]

_POSITION = re.compile(r"\(byte (\d+)\)$")
_PATH = re.compile(r"`(\$[^`]*)`$")

encode = msgspec.json.Encoder().encode


class InvalidJSON(WebSocketException, ValueError):  # noqa: N818  # a sibling of InvalidURI and the others
    """A message isn't JSON, or not of the type asked for.

    The connection stays usable: answer the peer, or receive the next message.

    Attributes:
        data: the message, str or bytes.
        position: where the JSON stops being well formed, in bytes; None if it is well formed, or nested too deeply.
        path: where in the value another type was expected, as in `$.user.age`; None if the JSON isn't well formed.
    """

    def __init__(
        self, message: str, data: str | bytes, *, position: int | None = None, path: str | None = None
    ) -> None:
        super().__init__(message)
        self.data = data
        self.position = position
        self.path = path


@functools.lru_cache(maxsize=256)
def _decoder(type: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type)


def decode(data: str | bytes, type: Any = None) -> Any:
    """The value of a JSON message, checked against `type`.

    Args:
        data: the message.
        type: any type that msgspec knows: a Struct, a dataclass, a TypedDict, ...; None takes any value.

    Raises:
        InvalidJSON: if `data` isn't JSON, or not of that type.
    """
    try:
        return _decoder(Any if type is None else type).decode(data)
    except msgspec.ValidationError as error:
        path = _PATH.search(str(error))
        raise InvalidJSON(str(error), data, path=path[1] if path else "$") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # the latter until msgspec 0.23
        raise _malformed(str(error), data) from None
    except RecursionError:
        raise InvalidJSON("JSON is nested too deeply", data) from None


def _encoded(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _malformed(reason: str, data: str | bytes) -> InvalidJSON:
    """The error for data that stops being JSON where msgspec stopped, or before, at a byte that isn't UTF-8.

    msgspec doesn't tell the position of such a byte, or counts it from the beginning of a string somewhere inside.
    """
    encoded = _encoded(data)
    stopped = _POSITION.search(reason)
    position = int(stopped[1]) if stopped else len(encoded)
    invalid = _first_invalid_byte(encoded)
    if invalid is not None and invalid < position:
        return InvalidJSON(f"JSON is malformed: not UTF-8 (byte {invalid})", data, position=invalid)
    return InvalidJSON(reason, data, position=position)


def _first_invalid_byte(data: bytes) -> int | None:
    """Where data stops being UTF-8; None if it doesn't, or ends within a character."""
    try:
        codecs.utf_8_decode(data, "strict", False)
    except UnicodeDecodeError as error:
        return error.start
    return None

"""JSON messages, typed when wanted, through msgspec (RFC 8259)."""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec

from trunkline.exceptions import WebSocketException

__all__ = ["InvalidJSON", "decode", "encode"]

_POSITION = re.compile(r"\(byte (\d+)\)")
_PATH = re.compile(r"at `(\$[^`]*)`")

encode = msgspec.json.Encoder().encode


class InvalidJSON(WebSocketException, ValueError):
    """A message isn't JSON, or not of the type asked for. The connection stays usable: answer the peer, or receive the next one.

    Attributes:
        data: the message, str or bytes.
        position: offset in bytes of what is wrong, or None if the JSON is well formed but of another shape.
        path: where in the value it is, as in `$.user.age`, or None if the JSON isn't well formed.
    """

    def __init__(self, error: str, data: str | bytes) -> None:
        super().__init__(error)
        self.data = data
        position = _POSITION.search(error)
        self.position = None if position is None else int(position[1])
        path = _PATH.search(error)
        self.path = path[1] if path is not None else None if position is not None else "$"


@functools.lru_cache(maxsize=256)
def _decoder(type: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type)


def decode(data: str | bytes, type: Any = None) -> Any:
    """The value of a JSON message, checked against `type`: any type that msgspec knows (Struct, dataclass, TypedDict, ...).

    Raises:
        InvalidJSON: if `data` isn't JSON, or not of that type.
    """
    try:
        return _decoder(Any if type is None else type).decode(data)
    except msgspec.DecodeError as error:  # ValidationError is one, too
        raise InvalidJSON(str(error), data) from None
    except UnicodeDecodeError as error:
        raise InvalidJSON(f"JSON is malformed: not UTF-8 (byte {error.start})", data) from None

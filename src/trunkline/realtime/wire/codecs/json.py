"""JSON: objects with line feeds between them, in text messages."""

from __future__ import annotations

import functools
import json
import typing
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from trunkline.core.writer import PreparedMessage
from trunkline.realtime.publication import Publication
from trunkline.realtime.wire.codecs.base import HALF, MOST_COMMANDS, Codec, InvalidFrame, InvalidPayload, raw, too_many
from trunkline.realtime.wire.messages import Command, Data, Garbled, Reply

__all__ = ["JSONCodec", "check"]

_commands = msgspec.json.Decoder(Command)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any = msgspec.json.Decoder(msgspec.Raw)  # checks that it is JSON, and makes nothing of it
_replies = msgspec.json.Encoder()


class JSONCodec(Codec):
    """Payloads stand in it as the JSON that they are."""

    name = "json"
    binary = False
    pong = "{}"

    def decode(self, frame: str | bytes) -> Sequence[Command | Garbled]:
        try:
            text = frame if isinstance(frame, str) else str(frame, "utf-8")
            if text.count("\n") > MOST_COMMANDS:
                raise too_many()
            try:
                return _commands.decode_lines(text)
            except msgspec.DecodeError:
                return [_decode_line(line) for line in text.split("\n") if line.strip()]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidFrame(str(error)) from None
        except RecursionError:
            raise InvalidFrame("JSON is nested too deeply") from None

    def encode(self, replies: Iterable[Reply]) -> PreparedMessage:
        return PreparedMessage(b"\n".join([_replies.encode(reply) for reply in replies]), text=True)

    # Clients get these thousands of times: so they are laid out without an object for each message.

    def published(self, id: int) -> PreparedMessage:
        return PreparedMessage(b'{"id":%d,"publish":{}}' % id, text=True)

    def push(self, channel: str, *publications: Publication) -> PreparedMessage | None:
        head = b'{"push":{"channel":%b,"pub":{' % _replies.encode(channel)
        return PreparedMessage(b"\n".join([head + self._fields(each) + b"}}}" for each in publications]), text=True)

    def told(self, publication: Publication) -> tuple[Any, int]:
        data = b"{%b}" % self._fields(publication)
        return msgspec.Raw(data), len(data)

    def _fields(self, publication: Publication) -> bytes:
        """The fields of `messages.Publication` that don't have their defaults."""
        fields = []
        if publication.data:
            fields.append(b'"data":' + self._line(publication.data))
        if publication.info is not None:
            fields.append(b'"info":' + _replies.encode(self.info(publication.info)))
        if publication.offset:
            fields.append(b'"offset":%d' % publication.offset)
        if publication.tags:
            fields.append(b'"tags":' + _replies.encode(publication.tags))
        if publication.time:
            fields.append(b'"time":%d' % publication.time)
        return b",".join(fields)

    def payload(self, data: bytes | None) -> Data:
        return raw(self._line(data)) if data else msgspec.UNSET

    def _line(self, data: bytes) -> bytes:
        """A payload in a line."""
        try:
            check(data)
        except InvalidPayload as error:
            raise InvalidPayload(f"the payload isn't JSON, but the client speaks JSON: {error}") from None
        # Clients take a frame apart at its line feeds, and inside of JSON they mean nothing.
        return data if b"\n" not in data else msgspec.json.format(data, indent=-1)


def check(data: bytes) -> None:
    """Check that a payload is JSON.

    Raises:
        InvalidPayload: if it isn't, with the reason.
    """
    try:
        if not data.isascii():
            str(data, "utf-8")
        _any.decode(data)
    except msgspec.DecodeError as error:
        raise InvalidPayload(str(error) if _read_with_halves(data) is None else HALF) from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise InvalidPayload(str(error)) from None


def _decode_line(line: str) -> Command | Garbled:
    try:
        return _commands.decode(_without_nulls(line, Command))
    except msgspec.DecodeError:
        fields = _read_with_halves(line)
        if fields is None:
            raise
        return msgspec.convert(fields, Garbled)


def _without_nulls(message: str | msgspec.Raw, kind: Any) -> bytes:
    """A message without fields that are null: they are as good as absent (protobuf.dev/programming-guides/json).

    Args:
        message: its JSON.
        kind: its class, or `dict[str, X]`.
    """
    kinds = _kinds(kind)
    members: list[bytes] = []
    for name, value in _members.decode(message).items():
        inner = kinds.get(name, kinds.get(None))
        if inner is Data or bytes(value) != b"null":  # a payload may be null
            is_message = isinstance(inner, type) or typing.get_origin(inner) is dict
            said = _without_nulls(value, inner) if is_message else bytes(value)
            members.append(_replies.encode(name) + b":" + said)
    return b"{" + b",".join(members) + b"}"


@functools.cache
def _kinds(kind: Any) -> dict[str | None, Any]:
    """Types that the fields of a message may have: other messages, `Data`, or something simple (None).

    By None it is what may be in any field.
    """
    if typing.get_origin(kind) is dict:
        return {None: _kind(typing.get_args(kind)[1])}
    return {name: _kind(hint) for name, hint in typing.get_type_hints(kind).items()}


def _kind(hint: Any) -> Any:
    if hint == Data:
        return Data
    if typing.get_origin(hint) is dict:
        return hint
    candidates = typing.get_args(hint) or (hint,)
    return next((each for each in candidates if isinstance(each, type) and issubclass(each, msgspec.Struct)), None)


def _read_with_halves(text: str | bytes) -> object | None:
    """Read JSON that escapes half of a surrogate pair (RFC 8259 section 8.2); None if something else is wrong.

    The standard library takes it for text, which then can't be encoded.
    """
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return value  # type: ignore[no-any-return]
    except (ValueError, RecursionError):
        pass
    return None

"""Clients that speak no protocol: they get what is published in one channel, and what they send is published there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from trunkline.core.writer import PreparedMessage
from trunkline.realtime.codes import BAD_REQUEST, Refused
from trunkline.realtime.publication import Publication
from trunkline.realtime.wire.codecs.base import Codec, InvalidPayload
from trunkline.realtime.wire.messages import Command, Data, Reply
from trunkline.realtime.wire.payloads import encode, typed

__all__ = ["PlainCodec"]


class PlainCodec(Codec):
    """Says a publication as its payload alone.

    A JSON string becomes the text in it, other JSON stays as it is, and anything else becomes a binary message. A text
    message is published as a JSON string.

    Args:
        to_plain: makes the message, str or bytes, of a publication's payload; None for no message.
        from_plain: makes the payload of a message, str or bytes.
        type: of the payload, as `to_plain` takes it.
    """

    name = "plain"
    events = several = False

    def __init__(
        self,
        to_plain: Callable[[Any], str | bytes | None] | None = None,
        from_plain: Callable[[Any], Any] | None = None,
        type: Any = Any,
    ) -> None:
        self._to_plain = to_plain
        self._type = type
        self._from_plain = from_plain or _text_only

    def push(self, channel: str, *publications: Publication) -> PreparedMessage | None:
        [publication] = publications
        data = publication.data
        if self._to_plain is None:
            return PreparedMessage(_without_quotes(data))
        try:
            message = self._to_plain(typed(data, self._type))
        except Refused as error:
            raise InvalidPayload(error.message) from None
        return None if message is None else PreparedMessage(message)

    def parse(self, message: str | bytes) -> bytes:
        """The payload that a message is published as.

        Raises:
            Refused: if it can't be.
        """
        return encode(self._from_plain(message))

    def decode(self, frame: str | bytes) -> list[Command]:
        raise NotImplementedError("plain clients send no commands")

    def encode(self, replies: Iterable[Reply]) -> PreparedMessage:
        raise NotImplementedError("plain clients get no replies")

    def payload(self, data: bytes | None) -> Data:
        return msgspec.UNSET


def _without_quotes(data: bytes) -> str | bytes:
    if data.startswith(b'"'):
        try:
            return msgspec.json.decode(data, type=str)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _text_only(message: str | bytes) -> str:
    if isinstance(message, str):
        return message
    raise Refused(BAD_REQUEST, "not sent: only text messages can be published here")

"""JSON: objects with line feeds between them, in text messages."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from trunkline.core.writer import PreparedMessage
from trunkline.realtime.codecs.base import MOST_COMMANDS, Codec, InvalidFrame, InvalidPayload, raw, too_many
from trunkline.realtime.messages import Command, Data, Reply

__all__ = ["JSONCodec"]

_commands = msgspec.json.Decoder(Command)
_any = msgspec.json.Decoder(msgspec.Raw)  # checks that it is JSON, and makes nothing of it
_replies = msgspec.json.Encoder()


class JSONCodec(Codec):
    """Payloads stand in it as the JSON that they are."""

    name = "json"

    def decode(self, frame: str | bytes) -> list[Command]:
        try:
            text = frame if isinstance(frame, str) else str(frame, "utf-8")
            if text.count("\n") > MOST_COMMANDS:
                raise too_many()
            return _commands.decode_lines(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidFrame(str(error)) from None
        except RecursionError:
            raise InvalidFrame("JSON is nested too deeply") from None

    def encode(self, replies: Iterable[Reply]) -> PreparedMessage:
        return PreparedMessage(b"\n".join([_replies.encode(reply) for reply in replies]), text=True)

    def payload(self, data: bytes | None) -> Data:
        if not data:
            return msgspec.UNSET
        try:
            if not data.isascii():
                str(data, "utf-8")
            _any.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidPayload(f"the payload isn't JSON, but the client speaks JSON: {error}") from None
        # Clients take a frame apart at its line feeds, and inside of JSON they mean nothing.
        return raw(data if b"\n" not in data else msgspec.json.format(data, indent=-1))

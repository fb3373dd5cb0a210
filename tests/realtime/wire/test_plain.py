from typing import Any

import pytest

from trunkline.realtime.codes import Refused
from trunkline.realtime.program.channels import ChannelOptions, Channels
from trunkline.realtime.publication import Publication
from trunkline.realtime.wire.codecs.base import InvalidPayload
from trunkline.realtime.wire.plain import PlainCodec


def shown(codec: PlainCodec, data: bytes) -> tuple[int, bytes] | None:
    message = codec.push("a", Publication(data))
    return None if message is None else (message.opcode, bytes(message.payload))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'"hello"', (1, b"hello")),
        (b'"a\\nb \\u00e9"', (1, "a\nb é".encode())),
        (b'{"a": 1}', (1, b'{"a": 1}')),
        (b"5", (1, b"5")),
        (b'"', (1, b'"')),
        (b"\xff", (2, b"\xff")),
    ],
)
def test_what_plain_clients_get(data: bytes, message: tuple[int, bytes]) -> None:
    assert shown(PlainCodec(None, None), data) == message


def test_what_plain_clients_say() -> None:
    codec = PlainCodec(None, None)
    assert codec.parse('5 "x"') == b'"5 \\"x\\""'
    with pytest.raises(Refused, match="only text"):
        codec.parse(b"5")


def test_a_program_may_translate() -> None:
    channel = Channels().declare("a", ChannelOptions())

    @channel.to_plain
    def show(message: dict[str, Any]) -> str | bytes | None:
        return message["text"]

    @channel.from_plain
    def say(message: str | bytes) -> dict[str, Any]:
        return {"text": message}

    assert shown(channel.plain, b'{"text": "hi"}') == (1, b"hi")
    assert shown(channel.plain, b'{"text": null}') is None
    assert channel.plain.parse("hi") == b'{"text":"hi"}'
    with pytest.raises(InvalidPayload):
        channel.plain.push("a", Publication(b"5"))

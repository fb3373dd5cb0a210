"""Publications of the history are encoded once for each encoding."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.rooms import Node
from tests.support.scenes import publish, scene
from trunkline.realtime import Refused
from trunkline.realtime.publication import ClientInfo, Publication
from trunkline.realtime.wire.codecs import CODECS
from trunkline.realtime.wire.codecs.base import Codec
from trunkline.realtime.wire.messages import HistoryResult, Reply
from trunkline.realtime.wire.told import Told

PUBLICATIONS = [
    Publication(b'{"text": "a"}', 7, 1700, ClientInfo("ada", "c1", b"[1]", b"{}"), {"t": "v"}),
    Publication(b"1"),
    Publication(b"", 8),
]


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.name)
def test_replies_are_those_of_messages_at_the_first_time_and_later(codec: Codec) -> None:
    told = Told()
    messages = [codec.publication(each) for each in PUBLICATIONS]
    expected = codec.encode([Reply(1, history=HistoryResult(messages, "e", 8))])
    for _ in range(2):
        reply = codec.encode([Reply(1, history=HistoryResult(told.tell(codec, PUBLICATIONS), "e", 8))])
        assert bytes(reply.payload) == bytes(expected.payload)
    assert len(told) == len(PUBLICATIONS)


def test_what_is_kept_has_a_limit() -> None:
    told, codec = Told(most=8192), CODECS["json"]
    some = [Publication(b'"%s"' % (b"x" * 300)) for _ in range(100)]
    told.tell(codec, some)
    told.tell(CODECS["protobuf"], some)
    assert 0 < told.size <= 8192
    assert 0 < len(told) < 10
    told.tell(codec, [Publication(b'"%s"' % (b"x" * 5000))])
    assert len(told) < 10, "a large one doesn't take the place of all others"


def test_a_publication_that_has_the_place_in_memory_of_another_one_is_another_one() -> None:
    told, codec = Told(most=2048), CODECS["json"]
    for number in range(1000):
        [encoded] = told.tell(codec, [Publication(b"%d" % number)])
        assert bytes(encoded) == b'{"data":%d}' % number


def test_a_payload_that_cant_be_said_is_refused_each_time() -> None:
    told = Told()
    for _ in range(2):
        with pytest.raises(Refused):
            told.tell(CODECS["json"], [Publication(b"\xff")])
    assert (len(told), told.size) == (0, 0)


def test_clients_that_come_back_share_what_was_encoded() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=10)
        position = (await (await node.connected()).subscribe("a"))["epoch"]
        await publish(node, "a", "one", "two")
        request: dict[str, Any] = {"recover": True, "epoch": position, "offset": 0}
        for codec in ("json", "protobuf", "json", "protobuf"):
            client = await node.connected(codec=codec)
            [reply] = await client.say(subscribe={"channel": "a", **request})
            assert [each["data"] for each in reply["subscribe"]["publications"]] == ["one", "two"]
            assert [each["offset"] for each in reply["subscribe"]["publications"]] == [1, 2]
        assert len(node.subscriptions.told) == 4

    async def with_history(node: Node) -> None:
        await play(node)

    scene(with_history)

"""Frames and commands that make no sense harm no other client."""

from typing import Any

import pytest

from tests.support.rooms import Node
from tests.support.scenes import error, scene
from trunkline.realtime import MemoryBroker
from trunkline.realtime.brokers import BrokerError
from trunkline.realtime.publication import StreamPosition


@pytest.mark.parametrize(
    "frame", ["{", '{"id":"x"}', '{"id":-1}', '{"id":4294967296,"ping":{}}', '{"ping":{}}', '{"id":1}x']
)
def test_what_makes_no_sense_closes_the_connection_and_no_other(frame: str) -> None:
    async def play(node: Node) -> None:
        talker, other = await node.connected(), await node.connected()
        await talker.say_frame(frame)
        assert talker.connection.closed is not None
        assert talker.connection.closed[0] == 3501
        assert await other.say(ping={}) == [{"id": 7, "ping": {}}]

    scene(play)


def test_unknown_commands_and_pongs() -> None:
    async def play(node: Node) -> None:
        talker = await node.connected()
        assert await talker.say(map_publish={}) == error(104)
        assert await talker.say_frame("{}") == []
        assert talker.connection.closed is None

    scene(play)


def test_a_store_that_fails_is_an_error_for_the_client_and_no_more() -> None:
    class Broken(MemoryBroker):
        async def publish(self, *args: Any, **kwargs: Any) -> StreamPosition:
            raise BrokerError("the disk is full")

    async def play(node: Node) -> None:
        node.channel("a", publish="anyone")
        talker = await node.connected("a")
        answers = await talker.say(publish={"channel": "a", "data": 1})
        assert answers == [{"id": 7, "error": {"code": 100, "message": "internal server error", "temporary": True}}]
        assert talker.connection.closed is None

    scene(play, broker=Broken())

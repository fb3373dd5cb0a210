"""Clients publish."""

from typing import Any

import msgspec
import pytest

from tests.support.rooms import Node
from tests.support.scenes import error, scene, texts
from trunkline.realtime import Limits, Refused
from trunkline.realtime.limits import Rate
from trunkline.realtime.publication import Publication


def test_who_may_publish() -> None:
    async def play(node: Node) -> None:
        node.channel("no")
        node.channel("all", publish="anyone")
        node.channel("in", publish="subscribers", history=5)
        talker, other = await node.connected(), await node.connected("in")
        assert await talker.say(publish={"channel": "no", "data": 1}) == error(103)
        assert await talker.say(publish={"channel": "in", "data": 1}) == error(103)
        assert await talker.say(publish={"channel": "all", "data": 1}) == [{"id": 7, "publish": {}}]
        assert await talker.say(publish={"channel": "nowhere", "data": 1}) == error(102)
        await talker.subscribe("in")
        push, reply = await talker.say(publish={"channel": "in", "data": {"x": 1}})
        assert reply == {"id": 7, "publish": {}}
        publication = push["push"]["pub"]
        assert (publication["data"], publication["offset"]) == ({"x": 1}, 1)
        assert publication["info"] == {"client": talker.client.id}
        assert other.connection.take() == [push]

    scene(play)


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        ({"text": "hi"}, {"text": "hi", "ok": True}),
        ({"text": 5}, error(107)),
        ({"text": "no"}, error(403)),
        ({"text": "bug"}, error(100)),
    ],
)
def test_a_publish_hook_sees_a_typed_message_and_may_change_or_refuse_it(data: Any, answer: Any) -> None:
    class Say(msgspec.Struct):
        text: str
        ok: bool = False

    async def play(node: Node) -> None:
        room = node.channel("chat:{room}", publish="subscribers")

        async def check(client: Any, message: Say, room: str) -> Say | None:
            if message.text == "no":
                raise Refused(403)
            if message.text == "bug":
                raise RuntimeError
            return Say(message.text, True)

        check.__annotations__["message"] = Say
        room.on_publish(check)
        talker = await node.connected("chat:x")
        answers = await talker.say(publish={"channel": "chat:x", "data": data})
        assert (texts(answers)[:1] or answers) == ([answer] if isinstance(answer, dict) else answer)

    scene(play)


def test_payloads_are_json_unless_the_channel_is_for_others() -> None:
    async def play(node: Node) -> None:
        node.channel("text", publish="anyone")
        node.channel("binary", publish="anyone", binary=True)
        talker = node.talker("protobuf")
        connect = b"\x04\x08\x01\x22\x00"
        await node.commands.receive(talker.client, connect)
        refusals = []
        for channel in ("text", "binary"):
            request = bytes([10, len(channel)]) + channel.encode() + b"\x12\x01\xff"
            command = b"\x08\x02\x3a" + bytes([len(request)]) + request
            talker.connection.sent.clear()
            await node.commands.receive(talker.client, bytes([len(command)]) + command)
            [reply] = talker.connection.sent
            refusals.append(b"data must be JSON" in bytes(reply.payload))
        assert refusals == [True, False]
        json_client = await node.connected("text")
        declared = node.channels.find("text")
        assert declared is not None
        await node.publisher.publish(
            declared[0], "text", Publication(b"\xff")
        )  # as another program may do in the store
        assert json_client.connection.closed == (3506, "inappropriate protocol")

    scene(play)


def test_rates() -> None:
    async def play(node: Node) -> None:
        node.channel("a", publish="anyone", rate=Rate(1, 2))
        talker, other = await node.connected(), await node.connected()
        ok = [{"id": 7, "publish": {}}]
        assert await talker.say(publish={"channel": "a", "data": 1}) == ok
        assert await other.say(publish={"channel": "a", "data": 1}) == ok
        assert await talker.say(publish={"channel": "a", "data": 1}) == error(111)
        node.clock.now += 1
        assert await talker.say(publish={"channel": "a", "data": 1}) == ok

    scene(play)


def test_a_flood_is_refused_and_then_disconnected() -> None:
    async def play(node: Node) -> None:
        talker, other = await node.connected(), await node.connected()
        frame = "\n".join(['{"id":1,"ping":{}}'] * 100)
        answers = await talker.say_frame(frame)
        assert [each.get("error", {}).get("code") for each in answers] == [None] * 9 + [111] * 10
        assert talker.connection.closed == (3013, "too many requests")
        assert await other.say(ping={}) == [{"id": 7, "ping": {}}]

    scene(play, limits=Limits(rate=Rate(1, 10)))

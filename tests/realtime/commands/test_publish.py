"""Clients publish."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from tests.support.rooms import Node
from tests.support.scenes import error, scene, texts
from trunkline.realtime import Limits, Refused, StreamPosition, codes
from trunkline.realtime.brokers.memory import MemoryBroker
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


class HookedBroker(MemoryBroker):
    """A broker of the program, which does more than the one that it inherits from."""

    def __init__(self) -> None:
        super().__init__()
        self.gate: asyncio.Event | None = None
        self.seen: list[bytes] = []

    async def publish(self, channel: str, publication: Publication, **options: Any) -> StreamPosition:
        self.seen.append(publication.data)
        if self.gate is not None:
            await self.gate.wait()
        return await super().publish(channel, publication, **options)


def commands(*numbers: int) -> str:
    return "\n".join(json.dumps({"id": number, "publish": {"channel": "room", "data": number}}) for number in numbers)


def test_a_publication_suspends_only_where_the_broker_waits_and_later_commands_stay_behind_it() -> None:
    broker = HookedBroker()

    async def play(node: Node) -> None:
        node.channel("room", publish="anyone")
        reader, talker = await node.connected("room"), await node.connected()
        assert node.commands.take(talker.client, commands(1, 2)) is None
        assert (texts(reader.connection.take()), len(talker.connection.take())) == ([1, 2], 2)
        broker.gate = asyncio.Event()
        rest = node.commands.take(talker.client, commands(3, 4))
        assert rest is not None
        assert (talker.client.busy, broker.seen, reader.connection.take()) == (True, [b"1", b"2", b"3"], [])
        asyncio.get_running_loop().call_soon(broker.gate.set)
        await rest
        assert texts(reader.connection.take()) == [3, 4]
        assert [each["id"] for each in talker.connection.take()] == [3, 4]
        assert not talker.client.busy

    scene(play, broker=broker)


@pytest.mark.parametrize("waits", [False, True])
def test_a_hook_of_coroutines_suspends_only_where_it_waits(waits: bool) -> None:
    async def play(node: Node) -> None:
        channel = node.channel("room", publish="anyone")

        @channel.on_publish
        async def hook(client: Any, data: int) -> int | None:
            if data == 9:
                raise Refused(codes.PERMISSION_DENIED)
            if waits:
                await asyncio.sleep(0)
            return data * 10 if data == 2 else None

        reader, talker = await node.connected("room"), await node.connected()
        rest = node.commands.take(talker.client, commands(1, 2, 9, 3))
        assert (rest is not None) == waits
        if rest is not None:
            await rest
        assert texts(reader.connection.take()) == [1, 20, 3]
        answers = talker.connection.take()
        assert [(each["id"], "error" in each) for each in answers] == [(1, False), (2, False), (9, True), (3, False)]

    scene(play)


def test_a_pong_is_no_command_but_counts_as_one() -> None:
    async def play(node: Node) -> None:
        for codec, pong in (("json", "{}"), ("protobuf", b"\0")):
            talker = await node.connected(codec=codec)
            talker.client.pong_due = 1.0
            assert await talker.say_frame(pong) == []
            assert talker.client.pong_due is None
            for _ in range(5):
                await talker.say_frame(pong)
            assert talker.connection.closed == (codes.FLOOD, codes.DISCONNECTS[codes.FLOOD])
            stranger = node.talker(codec)
            await stranger.say_frame(pong)
            assert stranger.connection.closed is not None
            assert stranger.connection.closed[0] == codes.INVALID_REQUEST

    scene(play, limits=Limits(rate=Rate(0, 2)))

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.rooms import Node, Talker
from trunkline.realtime import Limits
from trunkline.realtime.hub.connected import ClientState
from trunkline.realtime.hub.hub import TOGETHER
from trunkline.realtime.hub.room import Room
from trunkline.realtime.publication import Publication
from trunkline.realtime.wire.codecs import CODECS


def scene(function: Callable[[Node], Awaitable[None]], queue: int = 200) -> None:
    async def play() -> None:
        async with Node(limits=Limits(queue=queue)) as node:
            await function(node)

    asyncio.run(play())


async def publish(node: Node, channel: str, *values: Any, key: str = "") -> None:
    declared = node.channels.find(channel)
    assert declared is not None
    for value in values:
        await node.publisher.publish(declared[0], channel, Publication(json.dumps(value).encode(), key=key))


def heard(talker: Talker) -> list[Any]:
    return [frame["push"]["pub"]["data"] for frame in talker.connection.take()]


def room_of(node: Node, name: str) -> Room:
    return node.hub.rooms[name]


def test_a_publication_is_encoded_once_for_each_encoding_and_shared_by_all() -> None:
    async def play(node: Node) -> None:
        node.channel("a")
        first, second = await node.connected("a"), await node.connected("a")
        third = node.talker("protobuf")
        await node.commands.receive(third.client, b"\x04\x08\x01\x22\x00\x07\x08\x02\x2a\x03\x0a\x01a")
        third.connection.sent.clear()
        await publish(node, "a", "x")
        [message], [same], [other] = first.connection.sent, second.connection.sent, third.connection.sent
        assert message is same
        assert (message.opcode, other.opcode) == (1, 2)
        room = room_of(node, "a")
        assert (room.published, room.delivered) == (1, 3)

    scene(play)


def test_a_slow_client_is_disconnected_and_no_other_notices() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=100)
        fast, slow = await node.connected("a"), await node.connected("a")
        slow.connection.room = 0
        values = list(range(50))
        await publish(node, "a", *values)
        assert heard(fast) == values
        assert slow.connection.closed == (3008, "slow")
        assert slow.client.outbox is None
        room = room_of(node, "a")
        assert (room.slow, room.dropped, len(room)) == (1, 0, 1)

    scene(play)


def test_a_client_that_is_only_late_gets_everything_in_order() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=100)
        talker = await node.connected("a")
        talker.connection.room = 0
        await publish(node, "a", 1)
        await node.commands.receive(talker.client, '{"id":9,"ping":{}}')
        await publish(node, "a", 2)
        assert not talker.connection.sent
        talker.connection.make_room(1)
        await publish(node, "a", 3)  # doesn't overtake what waits
        talker.connection.make_room()
        frames = talker.connection.take()
        assert [frame.get("id") or frame["push"]["pub"]["data"] for frame in frames] == [1, 9, 2, 3]
        assert talker.client.outbox is None
        await publish(node, "a", 4)
        assert heard(talker) == [4]

    scene(play)


def test_the_oldest_is_dropped_and_counted() -> None:
    async def play(node: Node) -> None:
        node.channel("a", slow="drop_oldest")
        talker = await node.connected("a")
        talker.connection.room = 0
        await publish(node, "a", *range(100))
        assert talker.client.outbox is not None
        assert talker.client.outbox.size <= 200
        talker.connection.make_room()
        got = heard(talker)
        assert got == list(range(100))[-len(got) :]
        room = room_of(node, "a")
        assert room.dropped == 100 - len(got) > 0
        assert talker.connection.closed is None

    scene(play)


def test_only_the_newest_of_a_key_waits() -> None:
    async def play(node: Node) -> None:
        node.channel("ticker", slow="conflate")
        talker = await node.connected("ticker")
        talker.connection.room = 0
        for price in range(1000):
            await publish(node, "ticker", ["A", price], key="A")
            await publish(node, "ticker", ["B", price], key="B")
        talker.connection.make_room()
        assert heard(talker) == [["A", 999], ["B", 999]]
        assert room_of(node, "ticker").dropped == 1998

    scene(play)


@pytest.mark.parametrize("slow", ["drop_oldest", "conflate", "disconnect", "block"])
def test_what_waits_or_was_dropped_is_not_counted_as_delivered(slow: str) -> None:
    async def play(node: Node) -> None:
        node.channel("a", slow=slow, history=100)
        fast, laggard = await node.connected("a"), await node.connected("a")
        room = room_of(node, "a")
        laggard.connection.room = 150
        node.hub.on_publications("a", published(1, 3))
        sent = len(heard(fast)) + len(heard(laggard))
        node.hub.on_publications("a", published(4, 9))
        waiting = 12 + 6 - (len(heard(fast)) + len(heard(laggard)) + sent) - room.dropped
        assert waiting > 0
        assert room.delivered == 18 - room.dropped - waiting
        laggard.connection.make_room()
        assert room.delivered == 18 - room.dropped
        assert len(heard(laggard)) == waiting
        laggard.connection.room = 0
        node.hub.on_publications("a", published(10, 10))
        laggard.client.closed()
        assert room.delivered == 18 - room.dropped + 1

    scene(play, queue=1000)


def test_what_waits_for_a_client_that_just_came_is_not_counted_either() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=10)
        await publish(node, "a", 1, 2)
        ada = await node.connected("a")
        room = room_of(node, "a")
        ada.connection.room = 0
        node.hub.on_publications("a", published(1, 3))  # she has the first two
        assert room.delivered == 0
        ada.connection.make_room()
        assert room.delivered == len(heard(ada)) == 1

    scene(play)


def test_publishers_wait_for_the_slowest() -> None:
    async def play(node: Node) -> None:
        node.channel("a", slow="block", history=100)
        fast, slow = await node.connected("a"), await node.connected("a")
        slow.connection.room = 0
        publishing = asyncio.create_task(publish(node, "a", *range(50)))
        for _ in range(100):
            await asyncio.sleep(0)
        before = len(fast.connection.sent)
        assert 0 < before < 50
        assert not publishing.done()
        other = await node.connected()
        assert await other.say(ping={}) == [{"id": 7, "ping": {}}]  # only publishers wait
        while not publishing.done():
            slow.connection.make_room(100)
            await asyncio.sleep(0)
        slow.connection.make_room()
        assert heard(slow) == heard(fast) == list(range(50))
        assert room_of(node, "a").slow == 0

    scene(play)


@pytest.mark.parametrize("how", ["closed", "unsubscribed"])
def test_publishers_dont_wait_for_those_who_are_gone(how: str) -> None:
    async def play(node: Node) -> None:
        node.channel("a", slow="block")
        slow = await node.connected("a")
        slow.connection.room = 0
        publishing = asyncio.create_task(publish(node, "a", *range(50)))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not publishing.done()
        if how == "closed":
            slow.client.closed()
        else:
            await node.subscriptions.unsubscribe(slow.client, "a")
        await publishing

    scene(play)


def test_two_that_publish_and_dont_read_dont_hold_each_other_up_for_ever() -> None:
    async def play(node: Node) -> None:
        node.channel("a", slow="block", publish="subscribers")
        ada, bob = await node.connected("a"), await node.connected("a")
        for talker in (ada, bob):
            talker.connection.room = 0
        frame = "\n".join(['{"id":1,"publish":{"channel":"a","data":"x"}}'] * 50)
        talking = [asyncio.create_task(node.commands.receive(talker.client, frame)) for talker in (ada, bob)]
        for _ in range(100):
            await asyncio.sleep(0)
        assert not any(task.done() for task in talking)
        for client in (ada.client, bob.client):
            client.on_deadline(node.clock.now + 25)
            client.on_deadline(node.clock.now + 33)
        assert ada.connection.closed == bob.connection.closed == (3012, "no pong")
        await asyncio.gather(*talking)

    scene(play)


def test_an_answer_may_be_longer_than_the_queue() -> None:
    """A limit would disconnect the client for it each time it comes back to recover."""

    async def play(node: Node) -> None:
        node.channel("a", history=100)
        await publish(node, "a", *range(50))
        talker = await node.connected()
        talker.connection.room = 0
        assert await talker.say(subscribe={"channel": "a", "recover": True}) == []
        await publish(node, "a", 50)  # what comes while the answer waits has a queue of its own
        talker.connection.make_room()
        answer, push = talker.connection.take()
        assert [each["data"] for each in answer["subscribe"]["publications"]] == list(range(50))
        assert push["push"]["pub"]["data"] == 50

    scene(play)


def read_slowly(talker: Talker) -> int:
    """The client reads two messages; returns how many the server had kept for it."""
    waiting = 0 if talker.client.outbox is None else len(talker.client.outbox)
    for _ in range(2):
        talker.connection.make_room(1)
    talker.connection.room = 0
    return waiting


@pytest.mark.parametrize("codec", ["json", "protobuf"])
@pytest.mark.parametrize("slow", ["disconnect", "drop_oldest", "conflate", "block"])
def test_commands_wait_until_the_client_has_read_the_answers_before(slow: Any, codec: str) -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=100, slow=slow)
        talker = node.talker(codec)
        talker.client.state = ClientState.CONNECTING
        talker.client.connected(node.clock.now)
        node.hub.add(talker.client)
        await node.subscriptions.subscribe(talker.client, "a")
        await publish(node, "a", *range(5))
        talker.connection.sent.clear()
        talker.connection.room = 0
        talking = asyncio.create_task(node.commands.receive(talker.client, HISTORY[codec] * 20))
        most = 0
        while not talking.done():
            await publish(node, "a", "live", key="a")
            for _ in range(5):
                await asyncio.sleep(0)
            most = max(most, read_slowly(talker))
        talker.connection.make_room()
        answers = sum(len(message) > 100 for message in talker.connection.sent)
        assert talker.connection.closed is None
        assert answers == 20
        assert most <= 3  # an answer, and what was published meanwhile

    scene(play)


HISTORY: dict[str, Any] = {
    "json": '{"id":7,"history":{"channel":"a","limit":-1}}\n',
    "protobuf": b"\x12\x08\x07\x52\x0e\x0a\x01a\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
}


@pytest.mark.parametrize("how", ["closed", "disconnected"])
def test_a_client_that_goes_while_its_command_waits_says_no_more(how: str) -> None:
    async def play(node: Node) -> None:
        talker = await node.connected()
        talker.connection.room = 0
        talking = asyncio.create_task(node.commands.receive(talker.client, '{"id":9,"ping":{}}\n' * 1000))
        for _ in range(5):
            await asyncio.sleep(0)
        assert talker.client.outbox is not None
        assert len(talker.client.outbox) == 1
        assert not talking.done()
        if how == "closed":
            talker.client.closed()
        else:
            talker.client.disconnect()
        await talking

    scene(play)


def test_a_plain_client_that_doesnt_read_why_its_messages_are_refused_waits() -> None:
    async def play(node: Node) -> None:
        channel = node.channel("a")
        talker = Talker(node, channel.plain)
        await node.plain.connect(talker.client, "a")
        talker.connection.room = 0
        await node.plain.receive(talker.client, "a", channel.plain, "hello")
        again = asyncio.create_task(node.plain.receive(talker.client, "a", channel.plain, "hello"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not again.done()
        talker.connection.make_room()
        await again
        assert [message.payload for message in talker.connection.sent] == [b"[trunkline] permission denied"] * 2

    scene(play)


def test_what_was_delivered_before_the_position_isnt_delivered_again() -> None:
    """A broker may deliver what is in the history already, before or after the subscription began."""

    async def play(node: Node) -> None:
        channel = node.channel("a", history=10)
        talker = await node.connected()
        for number in (1, 2):
            await node.broker.publish("a", Publication(b"%d" % number), size=10, ttl=60)
        result = await talker.subscribe("a")
        assert result["offset"] == 2
        for offset in (2, 3):
            node.hub.on_publications("a", [Publication(b"%d" % offset, offset)])
        assert heard(talker) == [3]
        assert channel.options.recoverable

    scene(play)


def published(first: int, last: int, size: int = 1) -> list[Publication]:
    """Publications from one offset to another, as a broker delivers them together."""
    return [Publication(b'"' + b"%d" % offset * size + b'"', offset) for offset in range(first, last + 1)]


def test_what_comes_together_is_one_frame() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=10)
        ada, bob = await node.connected("a"), await node.connected("a")
        node.hub.on_publications("a", published(1, 3))
        assert len(ada.connection.sent) == 1
        assert ada.connection.sent[0] is bob.connection.sent[0]
        assert heard(ada) == ["1", "2", "3"]
        room = node.hub.rooms["a"]
        assert (room.published, room.delivered, room.offset) == (3, 6, 3)

    scene(play)


def test_frames_do_not_grow_without_bound() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=10)
        ada = await node.connected("a")
        node.hub.on_publications("a", published(1, 4, TOGETHER // 2 - 3))
        assert [len(frame.payload) > TOGETHER for frame in ada.connection.sent] == [True, True]
        node.hub.on_publications("a", published(5, 6, TOGETHER))
        assert len(ada.connection.sent) == 4
        assert [text[0] for text in heard(ada)] == ["1", "2", "3", "4", "5", "6"]

    scene(play)


@pytest.mark.parametrize("slow", ["drop_oldest", "conflate"])
def test_what_may_be_dropped_is_not_tied_to_anything_else(slow: str) -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=10, slow=slow)
        ada = await node.connected("a")
        node.hub.on_publications("a", published(1, 3))
        assert [len(bytes(frame.payload).split(b"\n")) for frame in ada.connection.sent] == [1, 1, 1]
        assert heard(ada) == ["1", "2", "3"]

    scene(play)


def test_who_just_came_gets_of_several_what_it_does_not_have() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=10)
        await publish(node, "a", 1, 2)
        ada = await node.connected("a")
        node.hub.on_publications("a", published(1, 4))
        assert heard(ada) == ["3", "4"]
        node.hub.on_publications("a", published(5, 6))
        assert heard(ada) == ["5", "6"]
        assert not node.hub.rooms["a"].starting

    scene(play)


def test_who_is_too_slow_for_what_it_missed_is_gone() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=10)
        await publish(node, "a", 1)
        ada = await node.connected("a")
        ada.connection.room = 0
        node.hub.on_publications("a", published(1, 2, node.limits.queue))
        assert ada.connection.closed == (3008, "slow")
        assert not node.hub.rooms["a"].clients()

    scene(play)


def test_publications_without_history_reach_those_who_just_came() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=10)
        await node.broker.publish("a", Publication(b"1"), size=10, ttl=60)
        talker = await node.connected("a")
        node.hub.on_publications("a", [Publication(b'"passing"')])
        assert heard(talker) == ["passing"]

    scene(play)


def test_clients_are_found_by_user_and_by_id() -> None:
    async def play(node: Node) -> None:
        talker = await node.connected()
        hub, client = node.hub, talker.client
        assert hub.find(None, client.id) == hub.find("", None) == hub.find("", client.id) == [client]
        assert hub.find("ada", client.id) == hub.find("ada", None) == hub.find(None, "x") == []
        client.closed()
        assert hub.find("", None) == []

    scene(play)


def test_codecs_are_shared() -> None:
    assert CODECS.keys() == {"json", "protobuf"}

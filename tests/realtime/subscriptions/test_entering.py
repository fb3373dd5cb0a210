import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.rooms import Node, Talker
from trunkline.realtime import Client, ClientInfo, MemoryPresence, Refused
from trunkline.realtime.program.hooks import Hook


def scene(function: Callable[[Node], Awaitable[None]]) -> None:
    async def play() -> None:
        async with Node() as node:
            await function(node)

    asyncio.run(play())


class Gate:
    """Where a hook waits."""

    def __init__(self) -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def __call__(self, client: Client) -> None:
        self.reached.set()
        await self.opened.wait()


async def waiting(talker: Talker, gate: Gate, **command: Any) -> asyncio.Task[list[Any]]:
    """A command that waits at the gate."""
    saying = asyncio.create_task(talker.say(**command))
    await gate.reached.wait()
    return saying


def ended(channel: str) -> Any:
    return {"push": {"channel": channel, "unsubscribe": {"code": 2000, "reason": "server unsubscribed"}}}


class SlowPresence(MemoryPresence):
    """It takes its time to add a client."""

    def __init__(self) -> None:
        super().__init__()
        self.adding = asyncio.Event()
        self.gate = asyncio.Event()

    async def add(self, channel: str, client: str, info: ClientInfo) -> None:
        self.adding.set()
        await self.gate.wait()
        await super().add(channel, client, info)


def test_who_goes_while_it_is_added_to_the_presence_is_no_ghost() -> None:
    async def play() -> None:
        async with Node() as node:
            node.channel("a", presence=True)
            presence = SlowPresence()
            node.use(presence=presence)
            talker = await node.connected()
            subscribing = asyncio.create_task(talker.say(subscribe={"channel": "a"}))
            await presence.adding.wait()
            talker.client.closed()
            await node.tasks.settle()
            presence.gate.set()
            assert await subscribing == []
            assert await presence.get("a") == {}
            assert not node.hub.rooms

    asyncio.run(play())


def test_a_room_that_empties_while_somebody_enters_stays() -> None:
    async def play() -> None:
        async with Node() as node:
            node.channel("a")
            first, second = await node.connected("a"), await node.connected()
            leaving = asyncio.create_task(first.say(unsubscribe={"channel": "a"}))
            entering = asyncio.create_task(second.say(subscribe={"channel": "a"}))
            await asyncio.gather(leaving, entering)
            assert len(node.hub.rooms["a"]) == 1
            assert node.hub.rooms["a"].listening

    asyncio.run(play())


def test_a_subscribe_command_is_answered_before_its_client_is_unsubscribed() -> None:
    async def play(node: Node) -> None:
        gate = Gate()
        node.channel("a", history=5, presence=True, join_leave=True)(gate)
        talker, other = await node.connected(), await node.connected()
        subscribing = await waiting(talker, gate, subscribe={"channel": "a"})
        await node.subscriptions.unsubscribe(talker.client, "a")
        assert not talker.client.subscriptions  # from now on nothing is for it
        gate.opened.set()
        assert await subscribing == [{"id": 7, "subscribe": {}}, ended("a")]
        assert not node.hub.rooms
        assert await node.presence.get("a") == {}
        for each in (talker, other):  # nothing keeps it from coming again
            await each.say(subscribe={"channel": "a"})
        assert len(node.hub.rooms["a"]) == 2

    scene(play)


def test_a_subscribe_command_that_is_refused_is_answered_with_that() -> None:
    async def play(node: Node) -> None:
        gate = Gate()

        async def refuse(client: Client) -> None:
            await gate(client)
            raise Refused(403)

        node.channel("a")(refuse)
        talker = await node.connected()
        subscribing = await waiting(talker, gate, subscribe={"channel": "a"})
        await node.subscriptions.unsubscribe(talker.client, "a")
        gate.opened.set()
        [answer] = await subscribing
        assert answer["error"]["code"] == 403

    scene(play)


def test_who_is_unsubscribed_while_it_is_added_to_the_presence_isnt_in_it() -> None:
    async def play(node: Node) -> None:
        node.channel("a", presence=True)
        presence = SlowPresence()
        node.use(presence=presence)
        talker = await node.connected()
        subscribing = asyncio.create_task(talker.say(subscribe={"channel": "a"}))
        await presence.adding.wait()
        await node.subscriptions.unsubscribe(talker.client, "a")
        presence.gate.set()
        assert await subscribing == [{"id": 7, "subscribe": {}}, ended("a")]
        assert await presence.get("a") == {}

    scene(play)


@pytest.mark.parametrize("named", ["by the server", "by the client"])
@pytest.mark.parametrize("which", ["first", "second"])
def test_who_is_unsubscribed_while_it_connects_isnt_told_that_it_is_subscribed(which: str, named: str) -> None:
    async def play(node: Node) -> None:
        node.channel("first")
        node.channel("second", presence=True)
        presence = SlowPresence()
        node.use(presence=presence)
        talker, subs = node.talker(), {}
        if named == "by the client":
            subs = {"first": {}, "second": {}}
        else:

            def connect(client: Client) -> None:
                client.channels = ["first", "second"]

            node.functions.connect = Hook(connect)
        connecting = asyncio.create_task(talker.connect(subs=subs))
        await presence.adding.wait()
        await node.subscriptions.unsubscribe(talker.client, which)
        presence.gate.set()
        assert list((await connecting)["subs"]) == ["second" if which == "first" else "first"]
        assert list(talker.client.subscriptions) == list(node.hub.rooms)

    scene(play)


def test_a_plain_client_that_is_unsubscribed_is_disconnected() -> None:
    async def play(node: Node) -> None:
        gate = Gate()
        channel = node.channel("a")
        there = Talker(node, channel.plain)
        await node.plain.connect(there.client, "a")
        channel(gate)
        coming = Talker(node, channel.plain)
        connecting = asyncio.create_task(node.plain.connect(coming.client, "a"))
        await gate.reached.wait()
        for talker in (there, coming):
            await node.subscriptions.unsubscribe(talker.client, "a")
        gate.opened.set()
        await connecting
        assert there.connection.closed == coming.connection.closed == (1008, "server unsubscribed")

    scene(play)


def pushed(frames: list[Any]) -> list[str]:
    return [frame["push"]["channel"] for frame in frames if "subscribe" in frame.get("push", {})]


def test_who_is_to_be_subscribed_while_it_connects_is_subscribed_then() -> None:
    async def play(node: Node) -> None:
        for name in ("at connect", "wanted", "not any more"):
            node.channel(name, presence=name == "at connect")
        presence = SlowPresence()
        node.use(presence=presence)

        def connect(client: Client) -> None:
            client.channels = ["at connect"]

        node.functions.connect = Hook(connect)
        talker = node.talker()
        connecting = asyncio.create_task(talker.say(connect={}))
        await presence.adding.wait()
        for name in ("wanted", "not any more", "undeclared"):
            await node.subscriptions.subscribe(talker.client, name)
        await node.subscriptions.unsubscribe(talker.client, "not any more")
        presence.gate.set()
        answer, *pushes = await connecting
        assert list(answer["connect"]["subs"]) == ["at connect"]
        assert pushed(pushes) == ["wanted"]
        assert not node.subscriptions.postponed

    scene(play)


@pytest.mark.parametrize("may", [True, False])
def test_who_is_to_be_subscribed_while_it_subscribes_is_subscribed_in_the_end(may: bool) -> None:
    async def play(node: Node) -> None:
        gate = Gate()

        async def decide(client: Client) -> None:
            await gate(client)
            if not may:
                raise Refused()

        node.channel("a")(decide)
        talker = await node.connected()
        subscribing = await waiting(talker, gate, subscribe={"channel": "a"})
        await node.subscriptions.subscribe(talker.client, "a")
        gate.opened.set()
        answer, *pushes = await subscribing
        assert ("subscribe" in answer) is may
        assert pushed(pushes) == ([] if may else ["a"])
        assert talker.client.subscriptions["a"].server_side is not may

    scene(play)


def test_who_goes_while_it_is_to_be_subscribed_leaves_nothing_behind() -> None:
    async def play(node: Node) -> None:
        gate = Gate()
        node.channel("a")(gate)
        talker = await node.connected()
        subscribing = await waiting(talker, gate, subscribe={"channel": "a"})
        await node.subscriptions.subscribe(talker.client, "a")
        talker.client.closed()
        gate.opened.set()
        assert await subscribing == []
        assert not node.hub.rooms
        assert not node.subscriptions.postponed

    scene(play)


def test_what_may_have_been_lost_while_others_are_entered_makes_a_client_connect_again() -> None:
    async def play(node: Node) -> None:
        node.channel("first", history=5)
        node.channel("second", presence=True)
        presence = SlowPresence()
        node.use(presence=presence)

        def connect(client: Client) -> None:
            client.channels = ["first", "second"]

        node.functions.connect = Hook(connect)
        talker = node.talker()
        connecting = asyncio.create_task(talker.say(connect={}))
        await presence.adding.wait()
        node.hub.on_gap("first")
        presence.gate.set()
        assert await connecting == []
        assert talker.connection.closed == (3010, "insufficient state")
        assert not node.hub.rooms

    scene(play)


def test_what_may_have_been_lost_while_the_server_subscribes_a_client_is_no_error_of_the_program() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=5, presence=True)
        presence = SlowPresence()
        node.use(presence=presence)
        talker = await node.connected()
        subscribing = asyncio.create_task(node.subscriptions.subscribe(talker.client, "a"))
        await presence.adding.wait()
        node.hub.on_gap("a")
        presence.gate.set()
        await subscribing
        assert talker.connection.closed == (3010, "insufficient state")

    scene(play)

"""When a subscription is over, members, hooks and the broker hear of it, although calls fail or are slow."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.rooms import Node, Talker
from tests.support.scenes import scene
from trunkline.realtime import Client, ClientInfo, Disconnected, MemoryBroker, MemoryPresence
from trunkline.realtime.brokers import BrokerError
from trunkline.realtime.program.hooks import Hook
from trunkline.realtime.subscriptions.leaving import AT_ONCE, PATIENCE
from trunkline.testing import memory

CODECS = pytest.mark.parametrize("codec", ["json", "protobuf"])
STEPS = ("presence", "leave", "broker", "unsubscribe hook", "disconnect hook")
ERRORS = pytest.mark.parametrize("error", [BrokerError("the network is down"), RuntimeError("a bug")], ids=repr)


class House:
    """A node of which each part that is told of a leave can fail, or take its time."""

    def __init__(self, node: Node) -> None:
        house = self
        self.node = node
        self.told: list[str] = []
        self.fails: dict[str, Exception] = {}
        self.delay = dict.fromkeys(STEPS, 0.0)
        self.running = self.most = 0

        class Presence(MemoryPresence):
            async def remove(self, channel: str, client: str) -> None:
                await house.tell("presence")
                await super().remove(channel, client)

        class Broker(MemoryBroker):
            async def publish_leave(self, channel: str, info: ClientInfo) -> None:
                await house.tell("leave")
                await super().publish_leave(channel, info)

            async def unsubscribe(self, channel: str) -> None:
                await house.tell("broker")
                await super().unsubscribe(channel)

        node.use(broker=Broker(), presence=Presence())
        room = node.channel("room:{x}", presence=True, join_leave=True, history=10)
        room.on_unsubscribe(self.unsubscribed)
        node.functions.disconnect = Hook(self.disconnected)

    async def tell(self, step: str) -> None:
        self.told.append(step)
        limited = step in STEPS[:3]
        self.running += limited
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.delay[step])
        finally:
            self.running -= limited
        if step in self.fails:
            raise self.fails[step]

    async def unsubscribed(self, client: Client) -> None:
        await self.tell("unsubscribe hook")

    async def disconnected(self, client: Client) -> None:
        await self.tell("disconnect hook")

    async def enter(self, name: str = "room:a", codec: str = "json") -> Talker:
        talker = await self.node.connected(codec=codec)
        await talker.say(subscribe={"channel": name})
        return talker

    def is_empty(self) -> bool:
        hub: Any = self.node.hub
        subscribed: set[str] = vars(self.node.broker)["_subscribed"]
        return not hub.rooms and not ({"broker"} - self.fails.keys() and subscribed)


def play(scene: Callable[[House], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Node() as node:
            house = House(node)
            await node.broker.start(node.hub)
            await scene(house)
            house.fails.clear()
            house.delay = dict.fromkeys(STEPS, 0.0)

    memory.run(main())


async def say(house: House, talker: Talker) -> None:
    assert (await talker.say(unsubscribe={"channel": "room:a"}))[-1] == {"id": 7, "unsubscribe": {}}


async def be_unsubscribed(house: House, talker: Talker) -> None:
    await house.node.subscriptions.unsubscribe(talker.client, "room:a")


async def go(house: House, talker: Talker) -> None:
    talker.client.closed()
    await house.node.tasks.settle()


# Failures


@ERRORS
@pytest.mark.parametrize("fails", STEPS)
@pytest.mark.parametrize("leave", [say, be_unsubscribed, go])
@CODECS
def test_what_fails_keeps_nobody_else_from_being_told(
    leave: Callable[[House, Talker], Awaitable[None]],
    fails: str,
    error: Exception,
    codec: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scene(house: House) -> None:
        talker = await house.enter(codec=codec)
        house.fails[fails] = error
        await leave(house, talker)
        assert house.told == list(STEPS if leave is go else STEPS[:-1])
        assert house.is_empty()
        assert not talker.client.subscriptions
        if fails != "presence":
            assert await house.node.presence.get("room:a") == {}
        if leave is not go:
            assert talker.connection.closed is None
        assert (str(error) in caplog.text) is (fails in house.told)

    play(scene)


def test_everything_fails() -> None:
    async def scene(house: House) -> None:
        house.fails = dict.fromkeys(STEPS, BrokerError("the network is down"))
        for _ in range(2):
            talkers = [await house.enter(f"room:{number}") for number in range(6)]
            for talker in talkers:
                talker.client.closed()
            await house.node.tasks.settle()
            assert house.is_empty()
        assert [house.told.count(step) for step in STEPS] == [12] * 5

    play(scene)


def test_a_connect_command_that_is_refused_leaves_nothing_either() -> None:
    async def scene(house: House) -> None:
        def connect(client: Client) -> None:
            client.channels = ["room:a", "room:b", "nowhere"]

        house.node.functions.connect = Hook(connect)
        house.fails = {"presence": BrokerError("the network is down"), "broker": RuntimeError("a bug")}
        talker = house.node.talker()
        [answer] = await talker.say(connect={})
        assert answer["error"]["code"] == 102
        assert sorted(house.told) == ["broker", "broker", "presence", "presence"], "neither hook, as it never was there"
        assert house.is_empty()

    play(scene)


def test_an_unsubscribe_hook_may_disconnect() -> None:
    async def scene(house: House) -> None:
        talker = await house.enter()
        house.fails["unsubscribe hook"] = Disconnected(4001, "bye")
        await talker.say(unsubscribe={"channel": "room:a"})
        assert talker.connection.closed == (4001, "bye")

    play(scene)


def test_a_broker_that_could_not_unsubscribe_is_asked_to_subscribe_again() -> None:
    async def scene(house: House) -> None:
        house.fails["broker"] = BrokerError("the network is down")
        talker = await house.enter()
        await talker.say(unsubscribe={"channel": "room:a"})
        house.fails.clear()
        await talker.say(subscribe={"channel": "room:a"})
        assert house.node.hub.rooms["room:a"].listening
        await talker.say(unsubscribe={"channel": "room:a"})
        assert house.is_empty()

    play(scene)


# Time


@pytest.mark.parametrize("step", STEPS[:3])
def test_what_does_not_answer_has_a_limit(step: str, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(house: House) -> None:
        talker = await house.enter()
        house.delay[step] = 1000
        begin = asyncio.get_running_loop().time()
        talker.client.closed()
        await house.node.tasks.settle()
        assert asyncio.get_running_loop().time() - begin == pytest.approx(PATIENCE)
        assert house.told == list(STEPS)
        assert not house.node.hub.rooms
        assert "left room:a untidily: no answer within 10 s" in caplog.text

    play(scene)


def test_many_leave_at_a_time_but_not_all() -> None:
    async def scene(house: House) -> None:
        house.node.functions.disconnect = None
        talkers = [await house.enter(f"room:{number}") for number in range(500)]
        house.delay.update(presence=0.1, leave=0.1, broker=0.1)
        house.most = 0
        begin = asyncio.get_running_loop().time()
        for talker in talkers:
            talker.client.closed()
        await house.node.tasks.settle()
        assert house.most == AT_ONCE
        assert asyncio.get_running_loop().time() - begin == pytest.approx(5 * 0.3)

    play(scene)


def test_the_subscriptions_of_one_client_end_together() -> None:
    async def scene(house: House) -> None:
        talker = await house.node.connected()
        for number in range(50):
            await talker.say(subscribe={"channel": f"room:{number}"})
        house.delay.update(presence=0.1, leave=0.1, broker=0.1)
        house.delay["unsubscribe hook"] = 1
        begin = asyncio.get_running_loop().time()
        talker.client.closed()
        await house.node.tasks.settle()
        assert asyncio.get_running_loop().time() - begin == pytest.approx(1.3)
        assert house.told[-1] == "disconnect hook"

    play(scene)


@pytest.mark.parametrize("step", ["unsubscribe hook", "disconnect hook"])
def test_hooks_may_take_as_long_as_they_like_and_hold_up_nobody(step: str) -> None:
    """Such as one that waits half a minute whether a user comes back, before it says that the user is offline."""

    async def scene(house: House) -> None:
        talkers = [await house.enter() for _ in range(3 * AT_ONCE)]
        house.delay[step] = 30
        begin = asyncio.get_running_loop().time()
        for talker in talkers:
            talker.client.closed()
        await asyncio.sleep(1)
        assert not house.node.hub.rooms
        assert house.told.count(step) == 3 * AT_ONCE
        await house.node.tasks.settle()
        assert asyncio.get_running_loop().time() - begin == pytest.approx(30)

    play(scene)


@pytest.mark.parametrize("step", STEPS[:4])
def test_it_goes_on_when_the_caller_is_cancelled(step: str) -> None:
    async def scene(house: House) -> None:
        talker = await house.enter()
        house.delay[step] = 1
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(house.node.subscriptions.unsubscribe(talker.client, "room:a"), 0.5)
        await house.node.tasks.settle()
        assert house.told == list(STEPS[:-1])
        assert house.is_empty()

    play(scene)


def test_a_client_that_leaves_a_room_where_nothing_is_to_be_told_costs_no_task() -> None:
    async def play(node: Node) -> None:
        node.channel("plain")
        node.channel("shown", presence=True)
        first, second = await node.connected("plain"), await node.connected("plain")
        third = await node.connected("plain", "shown")
        first.client.closed()
        assert len(node.tasks) == 0
        await second.say(unsubscribe={"channel": "plain"})
        assert len(node.tasks) == 0
        third.client.closed()
        assert len(node.tasks) == 2, "it was shown in one, and was the last subscriber of the other"
        await node.tasks.settle()
        assert not node.hub.rooms

    scene(play)

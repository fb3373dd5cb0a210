"""After a gap, clients that may have lost something recover, one after the other, and no others hear of it."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.rooms import Node, Talker
from trunkline.realtime import Client, Limits, Refused, Timeouts
from trunkline.realtime.brokers import BrokerError
from trunkline.realtime.hub.room import Room
from trunkline.realtime.program.hooks import Hook
from trunkline.realtime.publication import Publication
from trunkline.realtime.tokens import Key, Tokens
from trunkline.testing import memory

CODECS = pytest.mark.parametrize("codec", ["json", "protobuf"])
MEMBERS = 20
RESUME = 25.0


class House:
    """A node with a room, whose members do what client libraries do."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.members: list[Talker] = []
        self.positions: dict[Talker, dict[str, Any]] = {}
        self.heard: Counter[str] = Counter()
        self.got: dict[Talker, list[Any]] = {}
        self.hooks: list[str] = []
        self.refuse: Exception | None = None
        loop = asyncio.get_running_loop()
        node.clock.source = loop.time
        room = node.channel("room:{x}", presence=True, join_leave=True, history=100)
        room(self.subscribe)
        room.on_unsubscribe(self.unsubscribe)

    def subscribe(self, client: Client) -> None:
        self.hooks.append("subscribe")
        if self.refuse is not None:
            raise self.refuse

    def unsubscribe(self, client: Client) -> None:
        self.hooks.append("unsubscribe")

    async def enter(self, channel: str = "room:a", codec: str = "json") -> Talker:
        talker = await self.node.connected(codec=codec)
        self.members.append(talker)
        self.got[talker] = []
        self.hear(talker, await talker.say(subscribe={"channel": channel}))
        return talker

    async def full(self, codec: str = "json") -> None:
        """All members are there, and nothing more is on its way."""
        for _ in range(MEMBERS):
            await self.enter(codec=codec)
        self.listen()
        self.heard.clear()
        self.hooks.clear()

    def hear(self, talker: Talker, frames: list[Any]) -> None:
        for frame in frames:
            if "subscribe" in frame:
                result = frame["subscribe"]
                self.positions[talker] = {"offset": result.get("offset", 0), "epoch": result["epoch"]}
                for publication in result.get("publications", ()):
                    self.hear_publication(talker, publication)
                self.heard["recovered" if result.get("recovered") else "subscribed"] += 1
            elif "error" in frame:
                self.heard[f"error {frame['error']['code']}"] += 1
            elif "push" in frame:
                [kind] = frame["push"].keys() - {"channel"}
                self.heard[kind] += 1
                if kind == "pub":
                    self.hear_publication(talker, frame["push"]["pub"])
                if kind == "unsubscribe":
                    assert frame["push"]["unsubscribe"]["code"] == 2500

    def hear_publication(self, talker: Talker, publication: dict[str, Any]) -> None:
        self.positions[talker]["offset"] = publication["offset"]
        self.got[talker].append(publication["data"])

    def listen(self) -> list[Talker]:
        """Hear what was said since; returns those who must subscribe again."""
        asked = []
        for talker in self.members:
            frames = talker.connection.take()
            self.hear(talker, frames)
            if any("unsubscribe" in frame.get("push", {}) for frame in frames):
                asked.append(talker)
        return asked

    async def come_back(self, talker: Talker) -> None:
        request = {"channel": "room:a", "recover": True, **self.positions[talker]}
        self.hear(talker, await talker.say(subscribe=request))

    async def publish(self, *data: Any) -> None:
        for each in data:
            await self.node.broker.publish("room:a", Publication(json.dumps(each).encode()), size=100, ttl=60)

    async def lose(self, *data: Any) -> None:
        """Publications that don't reach this node; then the broker notices."""
        events, self.node.broker._events = self.node.broker._events, Nobody()  # type: ignore[attr-defined]
        await self.publish(*data)
        self.node.broker._events = events  # type: ignore[attr-defined]
        self.node.hub.on_gap("room:a")

    async def recover(self) -> None:
        """Let all members recover."""
        while any(talker.client.subscriptions["room:a"].lost for talker in self.members):
            for talker in self.listen():
                await self.come_back(talker)
            await asyncio.sleep(0.001)
        self.listen()

    async def present(self) -> int:
        return len(await self.node.presence.get("room:a"))

    def let_time_pass(self) -> None:
        """Do what is due, as timers do."""
        now = asyncio.get_running_loop().time()
        for talker in self.members:
            self.node.commands.on_deadline(talker.client, now)


class Nobody:
    """Hears nothing."""

    def on_publications(self, *event: Any) -> None:
        pass


def play(scene: Callable[[House], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with Node(**{"timeouts": Timeouts(ping=None)} | options) as node:
            await scene(House(node))

    memory.run(main())


@CODECS
def test_members_recover_and_nobody_hears_that_they_left_and_came(codec: str) -> None:
    async def scene(house: House) -> None:
        await house.full(codec)
        await house.publish("before")
        await house.lose("lost 1", "lost 2")
        await house.publish("behind the gap")
        present = await house.present()
        await house.recover()
        await house.publish("after")
        house.listen()
        assert present == await house.present() == len(house.node.hub.rooms["room:a"]) == MEMBERS
        assert set(map(tuple, house.got.values())) == {("before", "lost 1", "lost 2", "behind the gap", "after")}
        assert house.heard == {"pub": 2 * MEMBERS, "unsubscribe": MEMBERS, "recovered": MEMBERS}
        assert house.hooks == ["subscribe"] * MEMBERS
        for talker in house.members:
            await talker.say(unsubscribe={"channel": "room:a"})
        await house.node.tasks.settle()
        assert not house.node.hub.rooms
        assert await house.present() == 0
        assert house.hooks == ["subscribe"] * MEMBERS + ["unsubscribe"] * MEMBERS

    play(scene)


def test_they_recover_in_portions_and_get_nothing_before() -> None:
    async def scene(house: House) -> None:
        for _ in range(100):
            await house.enter()
        house.listen()
        await house.lose("lost")
        await house.publish("behind the gap")
        begin = asyncio.get_running_loop().time()
        asked = []
        while sum(asked) < 100:
            await asyncio.sleep(0.001)
            asked.append(len(house.listen()))
        assert [portion for portion in asked if portion] == [10] * 10
        assert asyncio.get_running_loop().time() - begin == pytest.approx(0.09, abs=0.005)
        assert not any(house.got.values())

    play(scene)


def test_however_many_they_are_it_takes_seconds() -> None:
    async def scene(house: House) -> None:
        gaps = house.node.gaps
        asked: list[float] = []
        loop = asyncio.get_running_loop()
        gaps._ask_to_resume = lambda *one: asked.append(loop.time())  # type: ignore[method-assign]
        talker = await house.enter()
        subscription = talker.client.subscriptions["room:a"]
        for _ in range(100_000):
            gaps._position_lost(talker.client, subscription)
        await house.node.tasks.settle()
        assert len(asked) == 100_000
        assert asked[-1] - asked[0] == pytest.approx(10, rel=0.1)
        assert max(Counter(asked).values()) == 100

    play(scene)


def test_only_the_room_of_the_channel_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(house: House) -> None:
        looked: list[str] = []
        clients = Room.clients

        def counted(room: Room) -> list[Client]:
            looked.append(room.name)
            return clients(room)

        for number in range(50):
            await house.enter(f"room:{number}")
        monkeypatch.setattr(Room, "clients", counted)
        house.node.hub.on_gap("room:7")
        house.node.hub.on_gap("nowhere")
        assert looked == ["room:7"]
        house.node.hub.on_gap(None)
        assert sorted(looked[1:]) == sorted(f"room:{number}" for number in range(50))
        await house.node.tasks.settle()
        assert house.listen() == house.members
        assert house.heard["unsubscribe"] == 50

    play(scene)


def test_who_subscribes_before_it_was_asked_is_subscribed() -> None:
    async def scene(house: House) -> None:
        await house.full()
        await house.lose("lost")
        talker = house.members[-1]
        [answer] = await talker.say(subscribe={"channel": "room:a"})
        assert answer["error"]["code"] == 105
        await house.recover()
        assert house.got[talker] == ["lost"]

    play(scene)


def test_a_client_that_was_asked_to_recover_hears_of_nobody_until_it_is_back() -> None:
    """To its client library, it isn't in the channel."""

    async def scene(house: House) -> None:
        watcher = await house.enter()
        await house.lose("lost")
        await asyncio.sleep(0.001)
        assert house.listen() == [watcher]
        talker = await house.enter()
        await talker.say(unsubscribe={"channel": "room:a"})
        assert watcher.connection.take() == []
        await house.come_back(watcher)
        await talker.say(subscribe={"channel": "room:a"})
        [push] = watcher.connection.take()
        assert push["push"]["join"]["info"]["client"] == talker.client.id

    play(scene)


def test_a_second_gap_before_they_are_back_is_the_same_one() -> None:
    async def scene(house: House) -> None:
        await house.full()
        await house.lose("lost")
        await house.lose("lost, too")
        await house.recover()
        assert set(map(tuple, house.got.values())) == {("lost", "lost, too")}
        assert house.heard == {"unsubscribe": MEMBERS, "recovered": MEMBERS}

    play(scene)


# Those who don't come back


async def stay_away(house: House, talker: Talker) -> None:
    await asyncio.sleep(RESUME + 1)
    house.let_time_pass()


async def unsubscribe(house: House, talker: Talker) -> None:
    await talker.say(unsubscribe={"channel": "room:a"})


async def go(house: House, talker: Talker) -> None:
    talker.client.closed()


async def be_refused(house: House, talker: Talker) -> None:
    house.refuse = Refused(403)
    await house.come_back(talker)
    house.refuse = None


async def be_unsubscribed(house: House, talker: Talker) -> None:
    await house.node.subscriptions.unsubscribe(talker.client, "room:a")
    [push] = talker.connection.take()
    assert push["push"]["unsubscribe"]["code"] == 2000


@pytest.mark.parametrize("leave", [stay_away, unsubscribe, go, be_refused, be_unsubscribed])
def test_who_does_not_come_back_has_left(leave: Callable[[House, Talker], Awaitable[None]]) -> None:
    async def scene(house: House) -> None:
        await house.full()
        absent = house.members[0]
        await house.lose("lost")
        await asyncio.sleep(1)
        for talker in house.listen():
            if talker is not absent:
                await house.come_back(talker)
        assert await house.present() == MEMBERS
        house.heard.clear()
        house.hooks.clear()
        await leave(house, absent)
        await house.node.tasks.settle()
        house.members.remove(absent)
        house.listen()
        assert house.heard["leave"] == MEMBERS - 1
        assert house.heard["join"] == 0
        assert house.hooks == (["subscribe"] if leave is be_refused else []) + ["unsubscribe"]
        assert await house.present() == MEMBERS - 1
        assert len(house.node.hub.rooms["room:a"]) == MEMBERS - 1
        assert absent.connection.take() == [], "it knows that it isn't subscribed"
        if leave is not go:
            house.members.append(absent)
            await house.come_back(absent)
            assert house.heard["recovered"] == 1
            house.listen()
            assert house.heard["join"] == MEMBERS

    play(scene)


@pytest.mark.parametrize("error", [BrokerError("the network is down"), Refused(100), RuntimeError("a bug")], ids=repr)
def test_who_could_not_come_back_yet_may_try_again(error: Exception) -> None:
    async def scene(house: House) -> None:
        await house.full()
        await house.lose("lost")
        await asyncio.sleep(1)
        asked = house.listen()
        house.refuse = error
        for _ in range(3):
            for talker in asked:
                await house.come_back(talker)
            assert await house.present() == MEMBERS
            assert len(house.node.hub.rooms["room:a"]) == MEMBERS
        house.refuse = None
        for talker in asked:
            await house.come_back(talker)
        house.listen()
        assert house.heard == {"unsubscribe": MEMBERS, "error 100": 3 * MEMBERS, "recovered": MEMBERS}
        await house.publish("after")
        house.listen()
        assert set(map(tuple, house.got.values())) == {("lost", "after")}
        assert "unsubscribe" not in house.hooks
        await asyncio.sleep(RESUME + 1)
        house.let_time_pass()
        await house.node.tasks.settle()
        assert await house.present() == MEMBERS, "nothing is due for the subscription of before"

    play(scene)


def test_who_could_never_come_back_leaves_in_the_end() -> None:
    async def scene(house: House) -> None:
        await house.full()
        await house.lose("lost")
        await asyncio.sleep(1)
        [absent, *others] = house.listen()
        for talker in others:
            await house.come_back(talker)
        house.refuse = BrokerError("the network is down")
        for _ in range(10):
            await house.come_back(absent)
            await asyncio.sleep(3)
        house.let_time_pass()
        await house.node.tasks.settle()
        assert await house.present() == MEMBERS - 1
        house.listen()
        assert house.heard["leave"] == MEMBERS - 1
        assert house.heard["unsubscribe"] == MEMBERS

    play(scene)


# Others


def test_what_the_server_subscribed_connects_again_in_portions() -> None:
    async def scene(house: House) -> None:
        talkers = [await house.node.connected() for _ in range(30)]
        for talker in talkers:
            await house.node.subscriptions.subscribe(talker.client, "room:a")
        house.node.hub.on_gap("room:a")
        await asyncio.sleep(0)
        closed = [talker.connection.closed for talker in talkers]
        assert closed == [(3010, "insufficient state")] * 10 + [None] * 20
        await house.node.tasks.settle()
        assert all(talker.connection.closed for talker in talkers)
        assert not house.node.hub.rooms

    play(scene)


def test_plain_clients_and_those_who_cannot_recover_stay() -> None:
    async def scene(house: House) -> None:
        plain = Talker(house.node, house.node.channels.get("room:a")[0].plain)
        await house.node.plain.connect(plain.client, "room:a")
        house.node.channel("other")
        other = await house.node.connected("other")
        house.node.hub.on_gap(None)
        await house.publish("after")
        await house.node.broker.publish("other", Publication(b"1"))
        assert [bytes(each.payload) for each in plain.connection.sent] == [b"after"]
        assert [each["push"]["pub"]["data"] for each in other.connection.take()] == [1]

    play(scene)


def test_coming_back_needs_no_place_of_its_own() -> None:
    async def scene(house: House) -> None:
        talker = await house.enter()
        await house.lose("lost")
        await house.recover()
        assert house.got[talker] == ["lost"]
        [answer] = await talker.say(subscribe={"channel": "room:b"})
        assert answer["error"]["code"] == 106
        [answer] = await talker.say(subscribe={"channel": "room:a"})
        assert answer["error"]["code"] == 105

    play(scene, limits=Limits(channels=1))


def test_a_token_that_ends_meanwhile_counts() -> None:
    async def scene(house: House) -> None:
        node = house.node
        tokens = node.auth.tokens = Tokens(Key("HS256", "secret" * 8), clock=node.clock)
        talker = node.talker()
        house.members.append(talker)
        house.got[talker] = []
        await talker.connect(token=tokens.connection("ada"))
        old = tokens.subscription("ada", "room:a", ttl=2, override={"presence": {"value": False}})
        house.hear(talker, await talker.say(subscribe={"channel": "room:a", "token": old}))
        assert await house.present() == 0
        await house.lose("lost")
        await asyncio.sleep(1)
        assert house.listen() == [talker]
        new = tokens.subscription("ada", "room:a", ttl=60)
        house.hear(talker, await talker.say(subscribe={"channel": "room:a", "token": new, "recover": True}))
        assert await house.present() == 1
        await asyncio.sleep(3)
        house.let_time_pass()
        await node.tasks.settle()
        assert await house.present() == 1
        assert talker.client.subscriptions["room:a"].ends_at == pytest.approx(61 + node.timeouts.expired)
        hidden = tokens.subscription("ada", "room:a", ttl=60, override={"presence": {"value": False}})
        await house.lose("lost again")
        await asyncio.sleep(1)
        house.hear(talker, await talker.say(subscribe={"channel": "room:a", "token": hidden, "recover": True}))
        assert await house.present() == 0

    play(scene)


def test_a_subscription_whose_token_ends_before_it_is_resumed_is_over() -> None:
    async def scene(house: House) -> None:
        node = house.node
        tokens = node.auth.tokens = Tokens(Key("HS256", "secret" * 8), clock=node.clock)
        talker = node.talker()
        house.members.append(talker)
        house.got[talker] = []
        await talker.connect(token=tokens.connection("ada"))
        token = tokens.subscription("ada", "room:a", ttl=2)
        house.hear(talker, await talker.say(subscribe={"channel": "room:a", "token": token}))
        await house.lose("lost")
        await asyncio.sleep(3)
        house.let_time_pass()
        await node.tasks.settle()
        house.listen()
        assert house.heard["unsubscribe"] == 1
        assert house.hooks[-1] == "unsubscribe"
        assert not node.hub.rooms

    play(scene, timeouts=Timeouts(ping=None, expired=0))


def test_hooks_of_a_client_that_is_subscribed_at_connect_and_by_itself() -> None:
    """Both kinds of subscriptions, in one gap of all channels."""

    async def scene(house: House) -> None:
        def connect(client: Client) -> None:
            client.channels = ["room:b"]

        house.node.functions.connect = Hook(connect)
        talker = house.node.talker()
        await talker.say(connect={})
        await talker.say(subscribe={"channel": "room:a"})
        house.node.hub.on_gap(None)
        await house.node.tasks.settle()
        assert talker.connection.closed == (3010, "insufficient state")
        assert house.hooks == ["subscribe", "unsubscribe", "unsubscribe"]
        assert not house.node.hub.rooms

    play(scene)

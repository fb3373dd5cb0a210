"""Clients subscribe, recover and leave; others are told."""

import asyncio
from typing import Any

import pytest

from tests.support.rooms import Node, Talker
from tests.support.scenes import error, publish, scene, texts
from trunkline.realtime import Limits, MemoryBroker, Refused
from trunkline.realtime.brokers import History
from trunkline.realtime.program.hooks import Hook


def test_a_reply_comes_before_all_pushes_of_its_channel() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=10, join_leave=True)
        gate = asyncio.Event()

        class SlowBroker(MemoryBroker):
            async def history(self, *args: Any, **kwargs: Any) -> History:
                history = await super().history(*args, **kwargs)
                await gate.wait()
                return history

        node.use(broker=SlowBroker())
        await node.broker.start(node.hub)
        talker = node.talker()
        await talker.connect()
        subscribing = asyncio.create_task(talker.say(subscribe={"channel": "a"}))
        while node.hub.rooms.get("a") is None or not node.hub.rooms["a"].listening:
            await asyncio.sleep(0)
        await publish(node, "a", "meanwhile")
        assert not talker.connection.sent
        gate.set()
        reply, *pushes = await subscribing
        assert "subscribe" in reply
        assert texts(pushes) == ["meanwhile"]
        assert "join" in pushes[-1]["push"]

    scene(play)


def test_what_was_missed_comes_with_the_reply() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=3)
        talker = await node.connected()
        first = await talker.subscribe("a")
        assert first == {"recoverable": True, "positioned": True, "epoch": first["epoch"]}
        await publish(node, "a", "1", "2", "3")
        again = await node.connected()
        result = await again.subscribe("a", recover=True, offset=1, epoch=first["epoch"])
        assert [each["data"] for each in result["publications"]] == ["2", "3"]
        assert (result["recovered"], result["was_recovering"], result["offset"]) == (True, True, 1)
        await publish(node, "a", "4")
        assert texts(again.connection.take()) == ["4"]
        newcomer = await node.connected()
        result = await newcomer.subscribe("a", recover=True, offset=0, epoch=first["epoch"])
        assert "recovered" not in result
        assert "publications" not in result
        assert (result["offset"], result["was_recovering"]) == (4, True)
        picky = await node.connected()
        rejected = {"channel": "a", "recover": True, "offset": 0, "epoch": first["epoch"], "flag": 2}
        assert await picky.say(subscribe=rejected) == error(112)
        other = await node.connected()
        assert "recovered" not in await other.subscribe("a", recover=True, offset=4, epoch="other")
        beginning = await node.connected()
        node.channel("b", history=10)
        await publish(node, "b", "1")
        result = await beginning.subscribe("b", recover=True)  # without an epoch: from the beginning
        assert [each["data"] for each in result["publications"]] == ["1"]

    scene(play)


def test_only_the_newest_where_that_is_enough() -> None:
    async def play(node: Node) -> None:
        node.channel("price", history=1, recover="cache")
        await publish(node, "price", "1", "2")
        talker = await node.connected()
        result = await talker.subscribe("price")
        assert [each["data"] for each in result["publications"]] == ["2"]
        assert "positioned" not in result
        again = await node.connected()
        result = await again.subscribe("price", recover=True, offset=2, epoch=result["epoch"])
        assert result["recovered"]
        assert "publications" not in result

    scene(play)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"channel": "nowhere"}, 102),
        ({"channel": ""}, 102),
        ({"channel": "secret"}, 103),
        ({"channel": "members"}, 103),
        ({"channel": "token"}, 103),
        ({"channel": "a", "type": 1}, 108),
        ({"channel": "a", "tf": {"op": "and"}}, 108),
        ({"channel": "here"}, 105),
        ({"channel": "hooked:no"}, 1234),
        ({"channel": "hooked:typed"}, 107),
        ({"channel": "hooked:bug"}, 100),
    ],
)
def test_refused_subscriptions_leave_nothing_behind(request_: dict[str, Any], code: int) -> None:
    async def play(node: Node) -> None:
        node.channel("a")
        node.channel("here")
        node.channel("secret", subscribe="nobody")
        node.channel("members", subscribe="users")
        node.channel("token", subscribe="token")
        hooked = node.channel("hooked:{name}")

        @hooked
        def subscribe(client: Any, data: int | None, name: str) -> None:
            if name == "no":
                raise Refused(1234)
            raise RuntimeError("a bug")

        talker = await node.connected("here")
        if request_["channel"] == "hooked:typed":
            request_["data"] = "x"
        assert await talker.say(subscribe=request_) == error(code)
        assert list(talker.client.subscriptions) == ["here"]
        assert list(node.hub.rooms) == ["here"]

    scene(play)


def test_a_subscribe_hook_can_tell_the_client_something() -> None:
    async def play(node: Node) -> None:
        room = node.channel("chat:{room}")

        @room
        async def enter(client: Any, data: Any, room: str) -> dict[str, Any]:
            return {"room": room, "you": data}

        talker = await node.connected()
        assert await talker.subscribe("chat:x", data=5) == {"data": {"room": "x", "you": 5}}

    scene(play)


def test_a_client_that_goes_while_it_subscribes_leaves_nothing_behind() -> None:
    async def play(node: Node) -> None:
        room = node.channel("a", presence=True, history=1)
        entered, gate = asyncio.Event(), asyncio.Event()

        @room
        async def enter(client: Any) -> None:
            entered.set()
            await gate.wait()

        talker = await node.connected()
        subscribing = asyncio.create_task(talker.say(subscribe={"channel": "a"}))
        await entered.wait()
        talker.client.disconnect(3503)
        gate.set()
        assert await subscribing == []
        await node.tasks.settle()
        assert not node.hub.rooms
        assert await node.presence.get("a") == {}

    scene(play)


def test_there_is_a_limit_of_subscriptions() -> None:
    async def play(node: Node) -> None:
        node.channel("{name}")
        talker = await node.connected("a", "b")
        assert await talker.say(subscribe={"channel": "c"}) == error(106)
        assert await talker.say(unsubscribe={"channel": "a"}) == [{"id": 7, "unsubscribe": {}}]
        await talker.subscribe("c")

    scene(play, limits=Limits(channels=2))


def test_the_broker_delivers_only_what_somebody_wants() -> None:
    async def play(node: Node) -> None:
        node.channel("a")
        calls: list[str] = []
        for name in ("subscribe", "unsubscribe"):
            method = getattr(node.broker, name)

            async def call(channel: str, method: Any = method, name: str = name) -> None:
                calls.append(name)
                await asyncio.sleep(0)
                await method(channel)

            setattr(node.broker, name, call)
        first, second = await node.connected(), await node.connected()
        await asyncio.gather(first.subscribe("a"), second.subscribe("a"))
        assert calls == ["subscribe"]
        await asyncio.gather(first.say(unsubscribe={"channel": "a"}), second.say(unsubscribe={"channel": "a"}))
        assert calls == ["subscribe", "unsubscribe"]
        assert not node.hub.rooms
        await first.subscribe("a")
        leaving = asyncio.create_task(first.say(unsubscribe={"channel": "a"}))
        entering = asyncio.create_task(second.subscribe("a"))
        await asyncio.gather(leaving, entering)
        await publish(node, "a", "x")
        assert texts(second.connection.take()) == ["x"]

    scene(play)


def test_join_and_leave_are_told_to_those_who_are_there() -> None:
    async def play(node: Node) -> None:
        node.channel("a", join_leave=True, presence=True)
        ada, bob = await node.connected(), await node.connected()
        _, push = await ada.say(subscribe={"channel": "a"})
        assert push["push"]["join"]["info"] == {"client": ada.client.id}  # as Centrifugo has it
        replies = await bob.say(subscribe={"channel": "a"})
        assert replies[1]["push"]["join"]["info"] == {"client": bob.client.id}
        assert ada.connection.take()[0]["push"]["join"]["info"] == {"client": bob.client.id}
        [reply] = await ada.say(presence={"channel": "a"})
        assert set(reply["presence"]["presence"]) == {ada.client.id, bob.client.id}
        [reply] = await ada.say(presence_stats={"channel": "a"})
        assert reply["presence_stats"] == {"num_clients": 2, "num_users": 1}
        bob.client.closed()
        await node.tasks.settle()
        assert ada.connection.take()[0]["push"]["leave"]["info"] == {"client": bob.client.id}
        assert set(await node.presence.get("a")) == {ada.client.id}

    scene(play)


def test_what_may_have_been_lost_makes_subscribers_come_again() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=1)
        node.channel("b")
        talker = await node.connected("a", "b")
        node.hub.on_gap(None)
        await node.tasks.settle()
        [push] = talker.connection.take()
        assert push == {"push": {"channel": "a", "unsubscribe": {"code": 2500, "reason": "insufficient state"}}}
        await talker.subscribe("a")
        node.hub.on_gap("b")
        await node.tasks.settle()
        assert talker.connection.take() == []

    scene(play)


def test_what_may_have_been_lost_where_the_server_subscribed_makes_a_client_connect_again() -> None:
    """No client library subscribes again to what it hasn't subscribed to itself."""

    async def play(node: Node) -> None:
        node.channel("{name}", history=1)

        def connect(client: Any) -> None:
            client.channels = ["at connect"]

        node.functions.connect = Hook(connect)
        first, second, third = await node.connected(), await node.connected("own"), await node.connected()
        await node.subscriptions.subscribe(third.client, "later")
        third.connection.take()
        node.hub.on_gap("later")
        await node.tasks.settle()
        assert third.connection.closed == (3010, "insufficient state")
        node.hub.on_gap("own")
        await node.tasks.settle()
        assert second.connection.closed is None
        node.hub.on_gap(None)
        await node.tasks.settle()
        assert first.connection.closed == second.connection.closed == (3010, "insufficient state")
        assert not node.hub.clients

    scene(play)


def test_a_client_gets_back_at_connect_what_the_server_had_subscribed_it_to() -> None:
    async def play(node: Node) -> None:
        node.channel("room:{id}", history=5, join_leave=True)
        node.channel("nobody", history=5, subscribe="nobody")
        node.channel("token", subscribe="token")
        staff = node.channel("staff", history=5)

        @staff
        def only_bob(client: Any) -> dict[str, bool]:
            if client.user != "bob":
                raise Refused()
            return {"hello": True}

        def connect(client: Any, user: str) -> None:
            client.user = user

        node.functions.connect = Hook(connect)
        first = node.talker()
        await first.connect(data="ada")
        await node.subscriptions.subscribe(first.client, "room:1")
        push = first.connection.take()[0]["push"]
        assert push["subscribe"]["recoverable"]
        named = {"recover": True, "epoch": push["subscribe"]["epoch"]}
        first.client.closed()
        await publish(node, "room:1", "missed")

        again = node.talker()
        subs = dict.fromkeys(("room:1", "nobody", "token", "staff", "undeclared"), named)
        reply, joined = await again.say(connect={"data": "ada", "subs": subs})
        got = reply["connect"]["subs"]
        assert list(got) == ["room:1"]
        assert got["room:1"]["recovered"]
        assert [each["data"] for each in got["room:1"]["publications"]] == ["missed"]
        assert joined["push"]["join"]["info"]["client"] == again.client.id
        assert again.client.subscriptions["room:1"].server_side
        assert set(node.hub.rooms) == {"room:1"}
        await publish(node, "room:1", "more")
        assert texts(again.connection.take()) == ["more"]

        bob = node.talker()
        got = (await bob.connect(data="bob", subs={"staff": named}))["subs"]
        assert got["staff"]["data"] == {"hello": True}

    scene(play)


def test_a_client_can_name_no_more_channels_at_connect_than_it_may_have() -> None:
    async def play(node: Node) -> None:
        asked = []
        room = node.channel("{id}")

        @room
        def ask(client: Any, id: str) -> None:
            asked.append(id)
            if id != "0":
                raise Refused()

        talker = node.talker()
        subs = (await talker.connect(subs={str(number): {} for number in range(100)}))["subs"]
        assert list(subs) == ["0"]
        assert asked == ["0", "1", "2"]

    scene(play, limits=Limits(channels=3))


def test_who_recovers_is_told_so_also_where_nothing_can_be_recovered() -> None:
    async def play(node: Node) -> None:
        node.channel("plain")
        node.channel("cache", history=1, recover="cache")

        def connect(client: Any) -> None:
            client.channels = ["plain", "cache"]

        lost = {"recover": True, "offset": 3, "epoch": "x"}
        talker = await node.connected()
        assert await talker.subscribe("plain", **lost) == {"was_recovering": True}
        empty = await talker.subscribe("cache", recover=True)
        assert (empty["was_recovering"], "recovered" in empty) == (True, False)
        assert await talker.say(unsubscribe={"channel": "cache"})
        assert "recovered" not in await talker.subscribe("cache", recover=True, epoch=empty["epoch"])

        node.functions.connect = Hook(connect)
        again = node.talker()
        subs = (await again.connect(subs={"plain": lost, "cache": lost}))["subs"]
        assert subs["plain"] == {"was_recovering": True}
        assert (subs["cache"]["was_recovering"], "recovered" in subs["cache"]) == (True, False)

    scene(play)


def test_what_may_have_been_lost_doesnt_concern_plain_clients() -> None:
    async def play(node: Node) -> None:
        channel = node.channel("a", history=5)
        plain = Talker(node, channel.plain)
        await node.plain.connect(plain.client, "a")
        node.hub.on_gap("a")
        await node.tasks.settle()
        await publish(node, "a", "still there")
        assert [message.payload for message in plain.connection.sent] == [b"still there"]

    scene(play)

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from tests.support.rooms import Node, Talker
from trunkline.realtime import Disconnected, Limits, MemoryBroker, Refused
from trunkline.realtime.brokers import BrokerError, History
from trunkline.realtime.client import State
from trunkline.realtime.hooks import Hook
from trunkline.realtime.limits import Rate
from trunkline.realtime.publication import Publication, StreamPosition
from trunkline.realtime.tokens import Key, Tokens


def scene(function: Callable[[Node], Awaitable[None]], **node: Any) -> None:
    """Play a scene with a node."""

    async def play() -> None:
        async with Node(**node) as made:
            await function(made)

    asyncio.run(play())


def error(code: int) -> Any:
    """What a reply with this error looks like."""

    class Like:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, list) and [each.get("error", {}).get("code") for each in other] == [code]

        def __repr__(self) -> str:
            return f"<one reply with error {code}>"

    return Like()


async def publish(node: Node, channel: str, *texts: str, **options: Any) -> None:
    declared = node.channels.find(channel)
    assert declared is not None
    for text in texts:
        await node.commands.publish(declared[0], channel, Publication(json.dumps(text).encode()), **options)


def texts(frames: list[Any]) -> list[Any]:
    return [frame["push"]["pub"]["data"] for frame in frames if "pub" in frame.get("push", {})]


# connect


def test_connect_comes_first_and_once() -> None:
    async def play(node: Node) -> None:
        early = node.talker()
        await early.say(subscribe={"channel": "a"})
        assert early.connection.closed == (3501, "the first command must be connect")
        twice = node.talker()
        result = await twice.connect(name="js", version="5")
        assert result == {"client": twice.client.id, "version": result["version"], "ping": 25, "pong": True}
        assert (twice.client.name, twice.client.version) == ("js", "5")
        await twice.say(connect={})
        assert twice.connection.closed == (3501, "client is connected already")
        assert not node.hub.clients

    scene(play)


def test_the_connect_hook_says_who_it_is_and_where_it_belongs() -> None:
    async def play(node: Node) -> None:
        node.channel("news", history=5)
        node.channel("{user}")

        async def connect(client: Any, data: dict[str, str]) -> dict[str, str]:
            client.user = data["user"]
            client.info = {"name": "Ada"}
            client.channels = ["news", client.user]
            return {"hello": client.user}

        node.commands.connect_hook = Hook(connect)
        talker = node.talker()
        result = await talker.connect(data={"user": "ada"})
        assert result["data"] == {"hello": "ada"}
        assert result["subs"]["news"] == {
            "recoverable": True,
            "positioned": True,
            "epoch": result["subs"]["news"]["epoch"],
        }
        assert result["subs"]["ada"] == {}
        await publish(node, "news", "x")
        assert texts(talker.connection.take()) == ["x"]
        assert node.hub.find("ada", None) == [talker.client]
        again = node.talker()
        subs = {"news": {"recover": True, "offset": 0, "epoch": result["subs"]["news"]["epoch"]}}
        result = await again.connect(data={"user": "ada"}, subs=subs)
        assert [each["data"] for each in result["subs"]["news"]["publications"]] == ["x"]
        assert result["subs"]["news"]["recovered"]

    scene(play)


@pytest.mark.parametrize(
    ("raised", "answer", "closed"),
    [
        (Refused(1000, "not today"), error(1000), None),
        (Disconnected(4500, "go away"), [], (4500, "go away")),
        (RuntimeError("a bug"), error(100), None),
    ],
)
def test_a_connect_hook_that_raises(raised: Exception, answer: Any, closed: Any) -> None:
    async def play(node: Node) -> None:
        def connect(client: Any) -> None:
            raise raised

        node.commands.connect_hook = Hook(connect)
        talker = node.talker()
        assert await talker.say(connect={}) == answer
        assert talker.connection.closed == closed
        assert not node.hub.clients
        if closed is None:
            assert talker.client.state is State.NEW  # it may try again
            node.commands.connect_hook = None
            await talker.connect()

    scene(play)


def test_a_client_that_may_not_be_where_the_server_puts_it_isnt_connected() -> None:
    async def play(node: Node) -> None:
        node.channel("a")

        def connect(client: Any) -> None:
            client.channels = ["a", "nowhere"]

        node.commands.connect_hook = Hook(connect)
        talker = node.talker()
        assert await talker.say(connect={}) == error(102)
        assert not node.hub.rooms
        assert not talker.client.subscriptions

    scene(play)


# subscribe


def test_a_reply_comes_before_all_pushes_of_its_channel() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=10, join_leave=True)
        gate = asyncio.Event()

        class SlowBroker(MemoryBroker):
            async def history(self, *args: Any, **kwargs: Any) -> History:
                found = await super().history(*args, **kwargs)
                await gate.wait()
                return found

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
        late = await node.connected()
        result = await late.subscribe("a", recover=True, offset=0, epoch=first["epoch"])
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
        await node.commands.settle()
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
        await node.commands.settle()
        assert ada.connection.take()[0]["push"]["leave"]["info"] == {"client": bob.client.id}
        assert set(await node.presence.get("a")) == {ada.client.id}

    scene(play)


def test_what_may_have_been_lost_makes_subscribers_come_again() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=1)
        node.channel("b")
        talker = await node.connected("a", "b")
        node.hub.on_gap(None)
        await node.commands.settle()
        [push] = talker.connection.take()
        assert push == {"push": {"channel": "a", "unsubscribe": {"code": 2500, "reason": "insufficient state"}}}
        await talker.subscribe("a")
        node.hub.on_gap("b")
        await node.commands.settle()
        assert talker.connection.take() == []

    scene(play)


def test_what_may_have_been_lost_where_the_server_subscribed_makes_a_client_connect_again() -> None:
    """No client library subscribes again to what it hasn't subscribed to itself."""

    async def play(node: Node) -> None:
        node.channel("{name}", history=1)

        def connect(client: Any) -> None:
            client.channels = ["at connect"]

        node.commands.connect_hook = Hook(connect)
        first, second, third = await node.connected(), await node.connected("own"), await node.connected()
        await node.commands.subscriptions.subscribe(third.client, "later")
        third.connection.take()
        node.hub.on_gap("later")
        await node.commands.settle()
        assert third.connection.closed == (3010, "insufficient state")
        node.hub.on_gap("own")
        await node.commands.settle()
        assert second.connection.closed is None
        node.hub.on_gap(None)
        await node.commands.settle()
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

        node.commands.connect_hook = Hook(connect)
        first = node.talker()
        await first.connect(data="ada")
        await node.commands.subscriptions.subscribe(first.client, "room:1")
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

        node.commands.connect_hook = Hook(connect)
        again = node.talker()
        subs = (await again.connect(subs={"plain": lost, "cache": lost}))["subs"]
        assert subs["plain"] == {"was_recovering": True}
        assert (subs["cache"]["was_recovering"], "recovered" in subs["cache"]) == (True, False)

    scene(play)


def test_what_may_have_been_lost_doesnt_concern_plain_clients() -> None:
    async def play(node: Node) -> None:
        channel = node.channel("a", history=5)
        plain = Talker(node, channel.plain)
        await node.commands.connect_plain(plain.client, "a")
        node.hub.on_gap("a")
        await node.commands.settle()
        await publish(node, "a", "still there")
        assert [message.payload for message in plain.connection.sent] == [b"still there"]

    scene(play)


# publish


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
        await node.commands.publish(declared[0], "text", Publication(b"\xff"))  # as another program may do in the store
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


# history, rpc, send and the rest


def test_history() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=5)
        node.channel("none")
        talker = await node.connected("a", "none")
        await publish(node, "a", "1", "2", "3")
        talker.connection.take()

        async def history(**request: Any) -> Any:
            [reply] = await talker.say(history={"channel": "a", **request})
            return [each["data"] for each in reply["history"].get("publications", ())], reply["history"]["offset"]

        assert await history() == ([], 3)
        assert await history(limit=-1) == (["1", "2", "3"], 3)
        assert await history(limit=2) == (["1", "2"], 3)
        assert await history(limit=2, reverse=True) == (["3", "2"], 3)
        assert await history(limit=-1, since={"offset": 1}) == (["2", "3"], 3)
        assert await history(limit=2, reverse=True, since={"offset": 3}) == (["2", "1"], 3)
        assert await history(limit=2, reverse=True, since={"offset": 4}) == (["3", "2"], 3)  # all but one to come
        assert await history(limit=2, reverse=True, since={"offset": 5}) == ([], 3)
        first = {"channel": "a", "limit": 1, "reverse": True, "since": {"offset": 0}}
        assert await talker.say(history=first) == error(107)
        other = {"offset": 1, "epoch": "other"}
        assert await talker.say(history={"channel": "a", "limit": 1, "since": other}) == error(112)
        assert await talker.say(history={"channel": "none"}) == error(108)
        stranger = await node.connected()
        assert await stranger.say(history={"channel": "a"}) == error(103)
        assert await talker.say(presence={"channel": "a"}) == error(108)

    scene(play)


def test_procedures_run_beside_each_other() -> None:
    async def play(node: Node) -> None:
        gate = asyncio.Event()

        async def slow(client: Any) -> str:
            await gate.wait()
            return "done"

        def add(client: Any, numbers: list[int]) -> int:
            return sum(numbers)

        async def kick(client: Any) -> None:
            raise Disconnected(4000)

        node.commands.procedures.update(slow=Hook(slow), add=Hook(add), kick=Hook(kick))
        talker = await node.connected()
        assert await talker.say(id=1, rpc={"method": "slow"}) == []
        assert await talker.say(id=2, rpc={"method": "add", "data": [1, 2]}) == [{"id": 2, "rpc": {"data": 3}}]
        assert await talker.say(rpc={"method": "add", "data": ["1"]}) == error(107)
        assert await talker.say(rpc={"method": "other"}) == error(104)
        gate.set()
        await node.commands.settle()
        assert talker.connection.take() == [{"id": 1, "rpc": {"data": "done"}}]
        await talker.say(rpc={"method": "kick"})
        await node.commands.settle()
        assert talker.connection.closed == (4000, "")

    scene(play)


def test_messages_outside_of_channels() -> None:
    async def play(node: Node) -> None:
        heard: list[Any] = []

        def message(client: Any, data: int) -> None:
            heard.append(data)

        node.commands.message_hook = Hook(message)
        talker = await node.connected()
        assert await talker.say(id=0, send={"data": 5}) == []
        assert await talker.say(id=0, send={"data": "x"}) == []  # there is nobody to tell
        assert heard == [5]
        node.commands.message_hook = None
        await talker.say(id=0, send={"data": 5})
        assert talker.connection.closed == (3508, "not available")

    scene(play)


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


# Tokens


def with_tokens(node: Node) -> Tokens:
    tokens = node.commands.tokens = Tokens(Key("HS256", "secret" * 8), clock=node.clock)
    return tokens


def test_tokens_say_who_it_is_and_for_how_long() -> None:
    async def play(node: Node) -> None:
        node.channel("news")
        tokens = with_tokens(node)
        assert await node.talker().say(connect={}) == error(101)
        bad = node.talker()
        await bad.say(connect={"token": "x"})
        assert bad.connection.closed == (3500, "invalid token")
        token = tokens.connection("ada", ttl=60, info={"name": "Ada"}, channels=["news"])
        talker = node.talker()
        result = await talker.connect(token=token)
        assert (result["expires"], result["ttl"], list(result["subs"])) == (True, 60, ["news"])
        assert talker.client.user == "ada"
        node.clock.now += 59
        [reply] = await talker.say(refresh={"token": tokens.connection("ada", ttl=60)})
        assert (reply["refresh"]["expires"], reply["refresh"]["ttl"]) == (True, 60)
        node.clock.now += 60 + node.timeouts.expired
        talker.client.on_deadline(node.clock.now)
        assert talker.connection.closed == (3005, "connection expired")
        assert await node.talker().say(connect={"token": token}) == error(109)

    scene(play)


def test_a_token_of_somebody_else_is_no_refreshment() -> None:
    async def play(node: Node) -> None:
        tokens = with_tokens(node)
        talker = node.talker()
        await talker.connect(token=tokens.connection("ada", ttl=60))
        await talker.say(refresh={"token": tokens.connection("bob", ttl=60)})
        assert talker.connection.closed is not None
        assert talker.connection.closed[0] == 3500

    scene(play)


def test_tokens_open_channels() -> None:
    async def play(node: Node) -> None:
        node.channel("secret", subscribe="token", presence=True)
        node.channel("never", subscribe="nobody")
        tokens = with_tokens(node)
        talker = node.talker()
        await talker.connect(token=tokens.connection("ada"))
        assert await talker.say(
            subscribe={"channel": "secret", "token": tokens.subscription("bob", "secret")}
        ) == error(103)
        assert await talker.say(subscribe={"channel": "never", "token": tokens.subscription("ada", "never")}) == error(
            103
        )
        old = tokens.subscription("ada", "secret", ttl=10)
        result = await talker.subscribe(
            "secret", token=tokens.subscription("ada", "secret", ttl=60, info={"role": "x"})
        )
        assert (result["expires"], result["ttl"]) == (True, 60)
        [reply] = await talker.say(presence={"channel": "secret"})
        assert reply["presence"]["presence"][talker.client.id]["chan_info"] == {"role": "x"}
        node.clock.now += 50
        refresh = {"channel": "secret", "token": tokens.subscription("ada", "secret", ttl=60)}
        assert await talker.say(sub_refresh=refresh) == [{"id": 7, "sub_refresh": {"expires": True, "ttl": 60}}]
        assert await talker.say(subscribe={"channel": "secret", "token": old}) == error(105)
        node.clock.now += 60 + node.timeouts.expired
        [ended] = talker.client.on_deadline(node.clock.now)
        assert ended.name == "secret"

    scene(play)


def test_subscriptions_that_cannot_be_refreshed() -> None:
    async def play(node: Node) -> None:
        node.channel("secret", subscribe="token")
        node.channel("other", subscribe="token")
        talker = await node.connected()
        assert await talker.say(sub_refresh={"channel": "secret", "token": "x"}) == error(103)
        node.channel("open")
        await talker.subscribe("open")
        assert await talker.say(sub_refresh={"channel": "open", "token": "x"}) == error(108)
        tokens = with_tokens(node)
        talker = node.talker()
        await talker.connect(token=tokens.connection("ada"))
        await talker.subscribe("secret", token=tokens.subscription("ada", "secret", ttl=60))
        for token in (tokens.subscription("ada", "other"), tokens.subscription("bob", "secret"), "x", ""):
            assert await talker.say(sub_refresh={"channel": "secret", "token": token}) == error(103)
        assert talker.client.subscriptions["secret"].ends_at == node.clock.now + 60 + node.timeouts.expired

    scene(play)


def test_without_tokens_a_hook_refreshes() -> None:
    async def play(node: Node) -> None:
        talker = await node.connected()
        assert await talker.say(refresh={"token": "x"}) == error(108)

        async def refresh(client: Any, token: str) -> float | None:
            if token == "kick":
                raise Disconnected(4500, "out")
            if token != "good":
                raise Refused(403)
            return 60

        node.commands.refresh_hook = refresh
        assert await talker.say(refresh={"token": "bad"}) == error(403)
        [reply] = await talker.say(refresh={"token": "good"})
        assert (reply["refresh"]["expires"], reply["refresh"]["ttl"]) == (True, 60)
        assert talker.client.deadline() is not None
        await talker.say(refresh={"token": "kick"})
        assert talker.connection.closed == (4500, "out")

    scene(play)


# What the program does


def test_the_server_subscribes_and_unsubscribes() -> None:
    async def play(node: Node) -> None:
        gone: list[str] = []
        room = node.channel("a:{x}", history=1, subscribe="nobody")
        room.on_unsubscribe(lambda client, x: gone.append(x))
        talker = await node.connected()
        await node.commands.subscriptions.subscribe(talker.client, "a:1")
        await node.commands.subscriptions.subscribe(talker.client, "a:1")
        [push] = talker.connection.take()
        assert push["push"]["channel"] == "a:1"
        assert push["push"]["subscribe"]["recoverable"]
        await publish(node, "a:1", "x")
        assert texts(talker.connection.take()) == ["x"]
        await node.commands.subscriptions.unsubscribe(talker.client, "a:1")
        await node.commands.subscriptions.unsubscribe(talker.client, "a:1")
        assert talker.connection.take() == [
            {"push": {"channel": "a:1", "unsubscribe": {"code": 2000, "reason": "server unsubscribed"}}}
        ]
        assert gone == ["1"]

    scene(play)


def test_hooks_hear_of_those_who_go() -> None:
    async def play(node: Node) -> None:
        heard: list[str] = []
        room = node.channel("a")
        room.on_unsubscribe(lambda client: heard.append("unsubscribe"))
        node.commands.disconnect_hook = Hook(lambda client: heard.append("disconnect"))
        talker = await node.connected("a")
        talker.client.closed()
        node.talker().client.closed()  # never connected
        await node.commands.settle()
        assert heard == ["unsubscribe", "disconnect"]

    scene(play)


@pytest.mark.parametrize("how", ["refused", "gone", "disconnected"])
def test_hooks_do_not_hear_of_those_who_never_were_connected(how: str) -> None:
    async def play(node: Node) -> None:
        heard: list[str] = []
        node.channel("a")

        def connect(client: Any) -> None:
            client.channels = ["a", "nowhere"] if how == "refused" else ["a"]
            if how == "disconnected":
                client.disconnect(4000)

        node.commands.connect_hook = Hook(connect)
        node.commands.disconnect_hook = Hook(lambda client: heard.append("disconnect"))
        entered = asyncio.Event()

        async def subscribe(channel: str) -> None:
            entered.set()
            await asyncio.sleep(0)

        if how == "gone":
            node.broker.subscribe = subscribe  # type: ignore[method-assign]
        talker = node.talker()
        connecting = asyncio.create_task(talker.say(connect={}))
        if how == "gone":
            await entered.wait()
            talker.client.closed()
        await connecting
        talker.client.closed()
        await node.commands.settle()
        assert heard == []
        assert not node.hub.rooms

    scene(play)

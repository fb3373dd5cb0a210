"""A connect command that is refused leaves nothing behind, however it is refused."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.rooms import Node, Talker
from tests.support.scenes import scene
from trunkline.realtime import Limits, MemoryBroker, Refused
from trunkline.realtime.brokers import BrokerError
from trunkline.realtime.hub.connected import Client, ClientState
from trunkline.realtime.limits import Rate
from trunkline.realtime.program.hooks import Hook
from trunkline.realtime.program.identity import Identity
from trunkline.realtime.publication import ClientInfo
from trunkline.realtime.tokens import Key, Tokens

CODECS = pytest.mark.parametrize("codec", ["json", "protobuf"])
IDENTITY = ("user", "info", "channels", "ttl", "token", "meta", "data", "name", "version", "shown")


class Hooks:
    """A connect hook that says who the client is, and then does what the test wants. Guests may come."""

    def __init__(self, node: Node) -> None:
        self.then: Callable[[], Any] = lambda: None
        self.saw: list[Any] = []
        node.functions.connect = Hook(self.connect)

    async def connect(self, client: Client) -> Any:
        self.saw.append([getattr(client, name) for name in ("user", "info", "channels", "meta", "data", "ttl")])
        if client.token:
            client.data = "of ada"
            client.ttl = 60
            then = self.then()
            return await then if asyncio.iscoroutine(then) else then
        return None


def token(node: Node, **claims: Any) -> str:
    """A token that says much of a client, and opens a channel that is for this client alone."""
    tokens = Tokens(Key("HS256", "secret" * 8), clock=node.clock)
    node.auth.tokens = tokens
    claims = {"channels": ["staff"], "info": {"name": "Ada"}, "meta": {"role": "admin"}} | claims
    return tokens.connection("ada", **claims)


async def assert_nothing_stays(node: Node, talker: Talker, hooks: Hooks) -> None:
    client, nobody = talker.client, Identity()
    assert {name: getattr(client, name) for name in IDENTITY} == {name: getattr(nobody, name) for name in IDENTITY}
    assert client.state is ClientState.NEW
    assert client.deadline() == node.clock.now + node.timeouts.stale
    assert not client.subscriptions
    assert (node.hub.clients, node.hub.by_user, node.hub.rooms) == ({}, {}, {})
    assert await node.presence.get("staff") == {}
    await publish(node)
    assert talker.connection.take() == []
    # The next one, without a token, is a guest like any other.
    hooks.then = lambda: None
    hooks.saw.clear()
    result = await talker.connect()
    assert hooks.saw == [["", None, [], None, None, None]]
    assert result.keys() == {"client", "version", "ping", "pong"}
    assert node.hub.by_user.keys() == {""}
    assert client.shown == ClientInfo("", client.id)
    await publish(node)
    assert talker.connection.take() == []


async def publish(node: Node) -> None:
    from trunkline.realtime.publication import Publication

    declared = node.channels.find("staff")
    assert declared is not None
    await node.publisher.publish(declared[0], "staff", Publication(b"42"))


def refuse(error: BaseException) -> Callable[[], Any]:
    def then() -> None:
        raise error

    return then


async def wait_for_what_is_cancelled() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def dawdle() -> None:
    async with asyncio.timeout(0):
        await asyncio.Event().wait()


@CODECS
@pytest.mark.parametrize(
    ("then", "code"),
    [
        (refuse(Refused(1000)), 1000),
        (refuse(RuntimeError("a bug")), 100),
        (wait_for_what_is_cancelled, 100),
        (dawdle, 100),
        (object, 100),  # can't be said
    ],
)
def test_refused_by_the_hook(codec: str, then: Callable[[], Any], code: int) -> None:
    async def play(node: Node) -> None:
        node.channel("staff", subscribe="nobody", presence=True, history=1)
        hooks = Hooks(node)
        hooks.then = then
        talker = node.talker(codec)
        [reply] = await talker.say(connect={"token": token(node), "name": "js", "version": "5"})
        assert reply["error"]["code"] == code
        await assert_nothing_stays(node, talker, hooks)

    scene(play)


@CODECS
@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": 999}, 109),
        ({"expire_at": 999}, 109),
        ({"exp": 2000, "expire_at": 999}, 109),
        ({"channels": ["staff", "nowhere"]}, 102),
    ],
)
def test_refused_for_its_token(codec: str, claims: dict[str, Any], code: int) -> None:
    async def play(node: Node) -> None:
        node.channel("staff", subscribe="nobody", presence=True, history=1)
        hooks = Hooks(node)
        talker = node.talker(codec)
        [reply] = await talker.say(connect={"token": token(node, **claims), "name": "js"})
        assert reply["error"]["code"] == code
        await assert_nothing_stays(node, talker, hooks)

    scene(play)


@CODECS
def test_refused_by_the_store(codec: str) -> None:
    class Broken(MemoryBroker):
        async def subscribe(self, channel: str) -> None:
            if channel == "broken":
                raise BrokerError("out of order")
            await super().subscribe(channel)

    async def play(node: Node) -> None:
        node.channel("staff", subscribe="nobody", presence=True, history=1)
        node.channel("broken")
        hooks = Hooks(node)
        talker = node.talker(codec)
        [reply] = await talker.say(connect={"token": token(node, channels=["staff", "broken"])})
        assert reply["error"]["code"] == 100
        await assert_nothing_stays(node, talker, hooks)

    scene(play, broker=Broken())


@CODECS
def test_refused_for_its_rate(codec: str) -> None:
    async def play(node: Node) -> None:
        node.channel("staff", subscribe="nobody", presence=True, history=1)
        hooks = Hooks(node)
        hooks.then = refuse(Refused(1000))
        talker = node.talker(codec)
        replies = await talker.say_all(*[{"connect": {"token": token(node)}}] * 2)
        assert [reply["error"]["code"] for reply in replies] == [1000, 111]
        node.clock.now += 1
        talker.client.stale_at = node.clock.now + node.timeouts.stale
        await assert_nothing_stays(node, talker, hooks)

    scene(play, limits=Limits(rate=Rate(1, 1)))


@CODECS
def test_refused_and_tried_again_in_one_frame(codec: str) -> None:
    async def play(node: Node) -> None:
        node.channel("staff", subscribe="nobody", presence=True, history=1)
        node.channel("lobby", publish="users")
        hooks = Hooks(node)
        hooks.then = refuse(Refused(1000))
        talker = node.talker(codec)
        refused, connected, subscribed, published = await talker.say_all(
            {"id": 1, "connect": {"token": token(node), "name": "js"}},
            {"id": 2, "connect": {}},
            {"id": 3, "subscribe": {"channel": "lobby"}},
            {"id": 4, "publish": {"channel": "lobby", "data": 1}},
        )
        assert refused["error"]["code"] == 1000
        assert connected["connect"].keys() == {"client", "version", "ping", "pong"}
        assert subscribed == {"id": 3, "subscribe": {}}
        assert published["error"]["code"] == 103  # for users only
        assert node.hub.by_user == {"": {talker.client}}
        hasty = node.talker(codec)
        await hasty.say_all({"connect": {"token": token(node)}}, {"subscribe": {"channel": "staff"}})
        assert hasty.connection.closed == (3501, "the first command must be connect")
        assert node.hub.rooms.keys() == {"lobby"}

    scene(play)


@CODECS
@pytest.mark.parametrize("change", [lambda names: names.append("lobby"), lambda names: names.append(5)])
def test_a_list_of_channels_that_the_hook_changes(codec: str, change: Callable[[list[Any]], None]) -> None:
    async def play(node: Node) -> None:
        node.channel("staff")
        node.channel("lobby")

        def connect(client: Client) -> None:
            client.channels = ["staff"]
            client.channels += ["lobby"]
            change(client.channels)

        node.functions.connect = Hook(connect)
        [reply] = await node.talker(codec).say(connect={})
        if "error" in reply:
            assert reply["error"]["code"] == 100
            assert not node.hub.by_user
        else:
            assert reply["connect"]["subs"].keys() == {"staff", "lobby"}

    scene(play)


@CODECS
def test_cancelled_in_the_hook(codec: str) -> None:
    async def play(node: Node) -> None:
        node.channel("staff", subscribe="nobody", presence=True, history=1)
        hooks = Hooks(node)
        entered = asyncio.Event()

        async def wait() -> None:
            entered.set()
            await asyncio.Event().wait()

        hooks.then = wait
        talker = node.talker(codec)
        connecting = asyncio.create_task(talker.say(connect={"token": token(node)}))
        await entered.wait()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await assert_nothing_stays(node, talker, hooks)

    scene(play)


@CODECS
def test_a_hook_that_sets_what_is_wrong_refuses(codec: str, caplog: pytest.LogCaptureFixture) -> None:
    async def play(node: Node) -> None:
        node.channel("staff")

        def connect(client: Client, user: Any) -> None:
            client.user = user

        node.functions.connect = Hook(connect)
        talker = node.talker(codec)
        [reply] = await talker.say(connect={"data": 42})
        assert reply["error"] == {"code": 100, "message": "internal server error", "temporary": True}
        assert "client.user is 42: it must be text (str)" in caplog.text
        assert not node.hub.by_user
        assert (await talker.connect(data="42"))["client"] == talker.client.id
        assert node.hub.by_user.keys() == {"42"}

    scene(play)


@CODECS
@pytest.mark.parametrize("ttl", [0, -5])
def test_who_has_no_time_left_gets_a_new_token(codec: str, ttl: float) -> None:
    async def play(node: Node) -> None:
        def connect(client: Client) -> None:
            client.ttl = ttl

        node.functions.connect = Hook(connect)
        [reply] = await node.talker(codec).say(connect={})
        assert reply["error"]["code"] == 109

    scene(play)


@CODECS
def test_info_of_a_token_is_an_object_that_the_hook_may_change(codec: str) -> None:
    async def play(node: Node) -> None:
        node.channel("staff", subscribe="nobody", presence=True)

        def connect(client: Client) -> None:
            assert client.info == {"name": "Ada"}
            client.info["role"] = "admin"

        node.functions.connect = Hook(connect)
        talker = node.talker(codec)
        await talker.connect(token=token(node))
        [reply] = await talker.say(presence={"channel": "staff"})
        shown = {"user": "ada", "client": talker.client.id, "conn_info": {"name": "Ada", "role": "admin"}}
        assert reply["presence"]["presence"] == {talker.client.id: shown}

    scene(play)


@CODECS
def test_info_of_a_token_that_isnt_json_stays_as_it_is(codec: str) -> None:
    async def play(node: Node) -> None:
        seen = []
        node.functions.connect = Hook(lambda client: seen.append(client.info))
        await node.talker(codec).connect(token=token(node, channels=[], b64info="//4="))
        assert seen == [b"\xff\xfe"]

    scene(play)

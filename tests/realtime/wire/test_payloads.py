"""A payload that one encoding can't say harms neither the clients that speak it nor others."""

import base64
from typing import Any

import pytest

from tests.support.protobuf import frame_of
from tests.support.rooms import Node
from tests.support.scenes import scene
from trunkline.realtime import Limits
from trunkline.realtime.program.hooks import Hook
from trunkline.realtime.publication import Publication
from trunkline.realtime.tokens import Key, Tokens
from trunkline.realtime.wire.messages import seconds

CODECS = pytest.mark.parametrize("codec", ["json", "protobuf"])
NO_JSON = b"\xff\xfe"
TEMPORARY = {"code": 100, "message": "internal server error", "temporary": True}


def tokens_of(node: Node) -> Tokens:
    tokens = node.auth.tokens = Tokens(Key("HS256", "secret" * 8), clock=node.clock)
    return tokens


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def code_of(replies: list[Any]) -> Any:
    [reply] = replies
    error = reply.get("error", {})
    return error.get("code"), error.get("temporary", False)


# A publish hook


@CODECS
@pytest.mark.parametrize("returned", [b"\xff", b"hello", b"", b'"\\ud83d"'])
def test_bytes_of_a_publish_hook_that_are_not_json(
    codec: str, returned: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(node: Node) -> None:
        room = node.channel("chat:{room}", history=10, publish="subscribers")
        room.on_publish(lambda client: returned)
        talker, other = await node.connected("chat:a", codec=codec), await node.connected("chat:a")
        assert await talker.say(publish={"channel": "chat:a", "data": 1}) == [{"id": 7, "error": TEMPORARY}]
        assert other.connection.take() == []
        assert talker.connection.closed is other.connection.closed is None
        assert (await node.broker.history("chat:a")).publications == []
        assert "the publish hook of 'chat:{room}' returned bytes that aren't JSON" in caplog.text

    scene(play)


def test_bytes_of_a_publish_hook_that_are_json_and_of_one_for_a_binary_channel() -> None:
    async def play(node: Node) -> None:
        node.channel("text", publish="anyone").on_publish(lambda client: b'{"a": 1}')
        node.channel("raw", publish="anyone", binary=True, history=1).on_publish(lambda client: NO_JSON)
        talker = await node.connected("text")
        pushed, answer = await talker.say(publish={"channel": "text", "data": 1})
        assert (pushed["push"]["pub"]["data"], answer) == ({"a": 1}, {"id": 7, "publish": {}})
        assert await talker.say(publish={"channel": "raw", "data": 1}) == [{"id": 7, "publish": {}}]
        assert [each.data for each in (await node.broker.history("raw")).publications] == [NO_JSON]

    scene(play)


# Binary channels


def test_binary_channels_are_not_for_json() -> None:
    async def play(node: Node) -> None:
        node.channel("raw:{x}", binary=True, history=10, read="anyone")
        await node.broker.publish("raw:a", Publication(NO_JSON), size=10, ttl=60)
        talker = await node.connected()
        for request in ({}, {"recover": True, "offset": 0}):
            [reply] = await talker.say(subscribe={"channel": "raw:a", **request})
            assert reply["error"] == {
                "code": 108,
                "message": "only clients that speak Protobuf can subscribe to this channel",
            }
        assert code_of(await talker.say(history={"channel": "raw:a", "limit": -1})) == (108, False)
        await node.broker.publish("raw:a", Publication(b"1"), size=10, ttl=60)
        assert talker.connection.closed is None
        assert not node.hub.rooms
        other = await node.connected(codec="protobuf")
        result = await other.subscribe("raw:b")
        assert result["recoverable"]

    scene(play)


def test_the_server_does_not_put_json_into_binary_channels() -> None:
    async def play(node: Node) -> None:
        node.channel("raw", binary=True)

        def connect(client: Any) -> None:
            client.channels = ["raw"]

        node.functions.connect = Hook(connect)
        assert code_of(await node.talker().say(connect={})) == (108, False)
        assert "raw" in (await node.talker("protobuf").connect())["subs"]

    scene(play)


@CODECS
def test_what_is_no_json_in_the_history_of_another_channel(codec: str) -> None:
    """As after a change of its options, or when another program publishes in the store."""

    async def play(node: Node) -> None:
        node.channel("chat", history=10)
        await node.broker.publish("chat", Publication(b"1"), size=10, ttl=60)
        await node.broker.publish("chat", Publication(b"x"), size=10, ttl=60)
        talker = await node.connected()
        request = {"channel": "chat", "recover": True, "offset": 0}
        assert code_of(await talker.say(subscribe=request)) == (108, False)
        await talker.subscribe("chat")
        assert code_of(await talker.say(history={"channel": "chat", "limit": -1})) == (108, False)
        [reply] = await talker.say(history={"channel": "chat", "limit": 1})
        assert reply["history"]["publications"][0]["data"] == 1

    scene(play)


# Facts about a member


@pytest.mark.parametrize("where", ["conn_info", "chan_info"])
def test_info_of_one_member_that_is_no_json(where: str) -> None:
    async def play(node: Node) -> None:
        node.channel("chat:{room}", presence=True, join_leave=True, publish="subscribers", history=10)
        tokens = tokens_of(node)
        bob = node.talker()
        await bob.connect(token=tokens.connection("bob", info={"name": "Bob"}))
        await bob.say(subscribe={"channel": "chat:a"})
        ada = node.talker("protobuf")
        odd = {"b64info": b64(NO_JSON)}
        await ada.connect(token=tokens.connection("ada", **(odd if where == "conn_info" else {})))
        token = tokens.subscription("ada", "chat:a", **(odd if where == "chan_info" else {}))
        command = {"channel": "chat:a", "token": token}
        await node.commands.receive(ada.client, frame_of({"id": 1, "subscribe": command}))
        subscription = ada.client.subscriptions["chat:a"]
        assert getattr(subscription.info, where) == NO_JSON
        shown = {"user": "ada", "client": ada.client.id}
        assert bob.connection.take() == [{"push": {"channel": "chat:a", "join": {"info": shown}}}]
        [reply] = await bob.say(presence={"channel": "chat:a"})
        assert reply["presence"]["presence"][ada.client.id] == shown
        assert reply["presence"]["presence"][bob.client.id]["conn_info"] == {"name": "Bob"}
        await node.publishing.publish_as(ada.client, "chat:a", b'"hi"')
        [push] = bob.connection.take()
        assert (push["push"]["pub"]["data"], push["push"]["pub"]["info"]) == ("hi", shown)
        [reply] = await bob.say(history={"channel": "chat:a", "limit": -1})
        assert reply["history"]["publications"][0]["info"] == shown
        await node.commands.receive(ada.client, frame_of({"id": 2, "unsubscribe": {"channel": "chat:a"}}))
        assert bob.connection.take() == [{"push": {"channel": "chat:a", "leave": {"info": shown}}}]

    scene(play)


def test_what_a_token_tells_its_client_of_a_channel_and_is_no_json() -> None:
    async def play(node: Node) -> None:
        node.channel("news")
        tokens = tokens_of(node)
        token = tokens.connection("ada", subs={"news": {"b64data": b64(NO_JSON)}})
        assert (await node.talker().connect(token=token))["subs"] == {"news": {}}

    scene(play)


# Numbers


@pytest.mark.parametrize(
    ("ttl", "said"),
    [(None, 0), (0.2, 1), (1.9, 1), (60, 60), (2**32 - 1, 2**32 - 1), (2**32, 2**32 - 1), (1.8e12, 2**32 - 1)],
)
def test_seconds_fit_into_their_field(ttl: float | None, said: int) -> None:
    assert seconds(ttl) == said


@CODECS
def test_a_time_in_milliseconds_is_told_as_far_as_it_goes(codec: str) -> None:
    async def play(node: Node) -> None:
        node.channel("secret", subscribe="token")
        tokens = tokens_of(node)
        deadline = int((node.clock.now + 600) * 1000)
        talker = node.talker(codec)
        result = await talker.connect(token=tokens.connection("ada", exp=2**45))
        assert (result["expires"], result["ttl"]) == (True, 2**32 - 1)
        result = await talker.subscribe("secret", token=tokens.subscription("ada", "secret", exp=2**45))
        assert result["ttl"] == 2**32 - 1
        [reply] = await talker.say(refresh={"token": tokens.connection("ada", exp=2**45)})
        assert reply["refresh"]["ttl"] == 2**32 - 1
        refresh = {"channel": "secret", "token": tokens.subscription("ada", "secret", exp=deadline)}
        [reply] = await talker.say(sub_refresh=refresh)
        assert reply["sub_refresh"]["ttl"] == deadline - node.clock.now

    scene(play)


# Null


def test_fields_that_are_null_are_absent() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=5, publish="anyone")
        talker = node.talker()
        nothing = dict.fromkeys(("token", "data", "name", "version", "subs", "headers", "flag"))
        assert "client" in await talker.connect(**nothing)
        nothing = dict.fromkeys(("token", "recover", "epoch", "offset", "data", "flag", "tf", "delta"))
        assert "epoch" in await talker.subscribe("a", **nothing)
        [push, reply] = await talker.say(publish={"channel": "a", "data": None, "type": None}, subscribe=None)
        assert push["push"]["pub"]["data"] is None, "a payload may be null"
        assert reply == {"id": 7, "publish": {}}
        [reply] = await talker.say(history={"channel": "a", "limit": -1, "since": None, "reverse": None})
        assert len(reply["history"]["publications"]) == 1
        assert await talker.say(id=None, ping=None) == []
        assert talker.connection.closed is None

    scene(play, limits=Limits(rate=None))

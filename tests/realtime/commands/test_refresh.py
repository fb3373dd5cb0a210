"""Tokens that come in time, too late, or not at all; and what client libraries are told, who act by codes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.rooms import Node, Talker
from trunkline.realtime import Refused
from trunkline.realtime.hub.connected import ClientState
from trunkline.realtime.tokens import Key, Tokens

BOTH = pytest.mark.parametrize("codec", ["json", "protobuf"])


def scene(function: Callable[[Node], Awaitable[None]]) -> None:
    async def play() -> None:
        async with Node() as node:
            await function(node)

    asyncio.run(play())


def tokens_of(node: Node, leeway: float = 0) -> Tokens:
    tokens = node.auth.tokens = Tokens(Key("HS256", "secret" * 8), clock=node.clock, leeway=leeway)
    return tokens


async def ada(node: Node, codec: str, tokens: Tokens) -> Talker:
    talker = node.talker(codec)
    await talker.connect(token=tokens.connection("ada", ttl=60))
    return talker


# Connections


@BOTH
@pytest.mark.parametrize("claims", [{"exp": 1000}, {"exp": 900}, {"exp": 2000, "expire_at": 900}])
def test_who_refreshes_with_what_is_over_comes_back_with_another(codec: str, claims: dict[str, Any]) -> None:
    async def play(node: Node) -> None:
        tokens = tokens_of(node)
        talker = await ada(node, codec, tokens)
        assert await talker.say(refresh={"token": tokens.connection("ada", **claims)}) == []
        assert talker.connection.closed == (3005, "connection expired")
        again = node.talker(codec)
        [reply] = await again.say(connect={"token": tokens.connection("ada", **claims)})
        assert reply["error"]["code"] == 109  # 110 would be final
        assert again.connection.closed is None

    scene(play)


@BOTH
def test_clocks_may_differ_by_the_leeway(codec: str) -> None:
    async def play(node: Node) -> None:
        node.channel("secret", subscribe="token")
        tokens = tokens_of(node, leeway=30)
        expired, future = {"exp": 990}, {"iat": 1100, "nbf": 1020, "exp": 2000}
        talker = node.talker(codec)
        result = await talker.connect(token=tokens.connection("ada", **expired))
        assert (result["expires"], result["ttl"]) == (True, 20)
        [reply] = await talker.say(refresh={"token": tokens.connection("ada", **expired)})
        assert (reply["refresh"]["expires"], reply["refresh"]["ttl"]) == (True, 20)
        result = await talker.subscribe("secret", token=tokens.subscription("ada", "secret", **expired))
        assert (result["expires"], result["ttl"]) == (True, 20)
        refresh = {"channel": "secret", "token": tokens.subscription("ada", "secret", **future)}
        assert await talker.say(sub_refresh=refresh) == [{"id": 7, "sub_refresh": {"expires": True, "ttl": 1030}}]
        await node.talker(codec).connect(token=tokens.connection("ada", **future))

    scene(play)


@BOTH
@pytest.mark.parametrize("said", [0, -5, Refused(109), Refused(110)])
def test_a_hook_that_knows_of_no_more_time(codec: str, said: Any) -> None:
    async def play(node: Node) -> None:
        async def refresh(client: Any, token: str) -> float | None:
            if isinstance(said, Refused):
                raise said
            return said

        node.functions.refresh = refresh
        talker = await node.connected(codec=codec)
        assert await talker.say(refresh={"token": "x"}) == []
        assert talker.connection.closed == (3005, "connection expired")

    scene(play)


@BOTH
def test_a_hook_that_says_nonsense_is_an_error_that_passes(codec: str) -> None:
    async def play(node: Node) -> None:
        talker = await node.connected(codec=codec)
        for said in ("soon", float("nan"), float("inf")):
            node.functions.refresh = lambda client, token, said=said: said
            [reply] = await talker.say(refresh={"token": "x"})
            assert reply["error"] == {"code": 100, "message": "internal server error", "temporary": True}
        assert (talker.client.ttl, talker.client.ends_at, talker.client.token) == (None, None, "")

    scene(play)


# Subscriptions


@BOTH
@pytest.mark.parametrize("claims", [{"exp": 1000}, {"exp": 2000, "expire_at": 900}])
def test_a_subscription_refreshed_with_what_is_over_begins_again(codec: str, claims: dict[str, Any]) -> None:
    async def play(node: Node) -> None:
        node.channel("secret", subscribe="token", presence=True)
        tokens = tokens_of(node)
        talker = await ada(node, codec, tokens)
        await talker.subscribe("secret", token=tokens.subscription("ada", "secret", ttl=60))
        old = tokens.subscription("ada", "secret", **claims)
        push, reply = await talker.say(sub_refresh={"channel": "secret", "token": old})
        # Client libraries subscribe again after 2501, and keep a subscription for an error that is temporary only.
        ended = {"code": 2501, "reason": "subscription expired"}
        assert push == {"push": {"channel": "secret", "unsubscribe": ended}}
        assert reply == {"id": 7, "error": {"code": 109, "message": "token expired", "temporary": True}}
        assert not talker.client.subscriptions
        assert await node.presence.get("secret") == {}
        assert talker.connection.closed is None
        [reply] = await talker.say(subscribe={"channel": "secret", "token": old})
        assert reply["error"]["code"] == 109
        await talker.subscribe("secret", token=tokens.subscription("ada", "secret", ttl=60))

    scene(play)


@BOTH
def test_a_subscription_of_the_server_that_is_over_takes_the_connection_along(codec: str) -> None:
    async def play(node: Node) -> None:
        node.channel("secret", subscribe="nobody")
        tokens = tokens_of(node)
        talker = await ada(node, codec, tokens)
        await node.subscriptions.subscribe(talker.client, "secret")
        await talker.say(sub_refresh={"channel": "secret", "token": tokens.subscription("ada", "secret", exp=900)})
        # No client library subscribes again to what the server subscribed it to.
        assert talker.connection.closed == (3006, "subscription expired")

    scene(play)


@BOTH
def test_a_refresh_that_crosses_the_end_of_its_subscription_is_not_the_last(codec: str) -> None:
    async def play(node: Node) -> None:
        node.channel("secret", subscribe="token")
        tokens = tokens_of(node)
        talker = await ada(node, codec, tokens)
        token = tokens.subscription("ada", "secret", ttl=60)
        [reply] = await talker.say(sub_refresh={"channel": "secret", "token": token})
        assert reply["error"] == {"code": 103, "message": "not subscribed", "temporary": True}
        assert talker.client.state is ClientState.CONNECTED

    scene(play)

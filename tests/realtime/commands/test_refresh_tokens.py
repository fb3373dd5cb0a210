"""Tokens let clients connect, subscribe, and go on."""

from typing import Any

from tests.support.rooms import Node
from tests.support.scenes import error, scene
from trunkline.realtime import Disconnected, Refused
from trunkline.realtime.tokens import Key, Tokens


def with_tokens(node: Node) -> Tokens:
    tokens = node.auth.tokens = Tokens(Key("HS256", "secret" * 8), clock=node.clock)
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

        node.functions.refresh = refresh
        assert await talker.say(refresh={"token": "bad"}) == error(403)
        [reply] = await talker.say(refresh={"token": "good"})
        assert (reply["refresh"]["expires"], reply["refresh"]["ttl"]) == (True, 60)
        assert talker.client.deadline() is not None
        await talker.say(refresh={"token": "kick"})
        assert talker.connection.closed == (4500, "out")

    scene(play)

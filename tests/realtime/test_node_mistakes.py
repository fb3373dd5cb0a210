"""Mistakes of a program are refused where it makes them, not at a client, later."""

import asyncio
import enum
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from tests.support.protobuf import frame_of, replies_in
from tests.support.sdk import play, serving
from trunkline import connect, serve
from trunkline.realtime import Client, Realtime
from trunkline.realtime.tokens import Key, Tokens

HALF = "\ud83d"  # of an emoji


class Name(enum.StrEnum):
    NEWS = "news"


def run(scene: Callable[[Realtime], Awaitable[None]]) -> None:
    async def main() -> None:
        rt = Realtime()
        rt.channel("news", history=5)
        rt.channel("raw", binary=True)
        async with rt:
            await scene(rt)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("nowhere", 1), {}, LookupError, "no channel is declared whose pattern matches 'nowhere'"),
        (("n" * 300, 1), {}, LookupError, "the name of a channel has 300 characters: at most 255 are allowed"),
        ((5, 1), {}, TypeError, "channel is 5: it must be text"),
        ((HALF, 1), {}, ValueError, "half of a surrogate pair"),
        (("news", object()), {}, TypeError, "unsupported"),
        (("news", HALF), {}, ValueError, "surrogates not allowed"),
        (("news", b"hello"), {}, ValueError, "data must be JSON"),
        (("news", b""), {}, ValueError, "data must be JSON: it is empty"),
        (("news", b'"\\ud83d"'), {}, ValueError, "half of a surrogate pair, as of an emoji that was cut in two"),
        (("news", msgspec.Raw(b"hello")), {}, ValueError, "data must be JSON"),
        (("news", {"inside": msgspec.Raw(b"hello")}), {}, ValueError, "data must be JSON"),
        (("news", 1), {"tags": {"number": 1}}, TypeError, "the tag 'number' is 1: it must be text"),
        (("news", 1), {"tags": {1: "number"}}, TypeError, "a name in tags is 1: it must be text"),
        (("news", 1), {"tags": {"a": None}}, TypeError, "the tag 'a' is None: it must be text"),
        (("news", 1), {"tags": {"a": HALF}}, ValueError, "half of a surrogate pair"),
        (("news", 1), {"tags": ["a"]}, TypeError, "tags is ['a']: it must be a dict"),
        (("news", 1), {"key": 7}, TypeError, "key is 7: it must be text"),
        (("news", 1), {"id": 7}, TypeError, "id is 7: it must be text"),
        (("news", 1), {"id": HALF}, ValueError, "half of a surrogate pair"),
        (("raw", b"\xff"), {"tags": {"a": 1}}, TypeError, "the tag 'a' is 1: it must be text"),
    ],
)
def test_publications(arguments: Any, options: Any, error: type[Exception], message: str) -> None:
    async def scene(rt: Realtime) -> None:
        with pytest.raises(error) as raised:
            await rt.publish(*arguments, **options)
        assert message in str(raised.value)
        assert (await rt.history("news")).position.offset == 0

    run(scene)


@pytest.mark.parametrize("name", ["nowhere", "n" * 256])
def test_channels_that_are_not_declared(name: str) -> None:
    async def scene(rt: Realtime) -> None:
        message = "no channel is declared" if name == "nowhere" else "at most 255 are allowed"
        for call in (
            rt.history(name),
            rt.presence(name),
            rt.presence_stats(name),
            rt.subscribe(name, user="ada"),
            rt.unsubscribe(name, user="ada"),
            rt.publish(name, 1),
        ):
            with pytest.raises(LookupError, match=message):
                await call

    run(scene)


def test_users_that_are_no_text() -> None:
    async def scene(rt: Realtime) -> None:
        for call in (
            rt.subscribe("news", user=42),  # type: ignore[arg-type]
            rt.unsubscribe("news", user=42),  # type: ignore[arg-type]
            rt.send(1, user=42),  # type: ignore[arg-type]
            rt.disconnect(user=42),  # type: ignore[arg-type]
        ):
            with pytest.raises(TypeError, match="user is 42: it must be text"):
                await call

    run(scene)


def test_a_user_of_a_plain_client_that_is_no_text() -> None:
    async def scene() -> None:
        rt = Realtime()
        rt.channel("news")
        raised: list[Exception] = []

        async def handler(websocket: Any) -> None:
            try:
                await rt.plain(websocket, "news", user=42)  # type: ignore[arg-type]
            except TypeError as error:
                raised.append(error)

        async with rt, serve(handler, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}") as websocket:
                await websocket.wait_closed()
            assert "client.user is 42: it must be text" in str(raised[0])
            assert rt.clients() == []

    play(scene)


def test_tags_reach_clients_of_both_encodings_as_they_were() -> None:
    async def scene() -> None:
        rt = Realtime()
        rt.channel("news", history=5)
        tags = {"lang": "en", Name.NEWS: Name.NEWS}
        async with serving(rt) as url, connect(url, subprotocols=["centrifuge-protobuf"]) as websocket:
            await websocket.send(frame_of({"id": 1, "connect": {}}, {"id": 2, "subscribe": {"channel": "news"}}))
            for _ in range(2):
                await websocket.recv()
            await rt.publish(Name.NEWS, {"x": 1}, tags=tags)
            tags["lang"] = 5  # type: ignore[assignment]
            [push] = replies_in(await websocket.recv())
            assert push["push"]["pub"]["tags"] == {"lang": "en", "news": "news"}
            [kept] = (await rt.history("news")).publications
            assert kept.tags == {"lang": "en", "news": "news"}

    play(scene)


def test_declarations() -> None:
    rt = Realtime()
    with pytest.raises(ValueError, match=r"'news' has subscribe='token', but nothing checks tokens: use Realtime\("):
        rt.channel("news", subscribe="token")
    Realtime(tokens=Tokens(Key("HS256", "secret" * 8))).channel("news", subscribe="token")
    for declare in (rt.on_connect, rt.on_message, rt.on_disconnect, rt.rpc("add")):
        declare(lambda client: None)
        with pytest.raises(ValueError, match="already, and there can only be one"):
            declare(lambda client: None)
    with pytest.raises(TypeError, match="must take a client and a token"):
        rt.on_refresh(lambda client: 60)
    rt.on_refresh(lambda client, token: 60)
    with pytest.raises(ValueError, match=r"on_refresh is .*<lambda> already"):
        rt.on_refresh(lambda client, token: 60)
    with pytest.raises(TypeError, match="must take a client, and by name perhaps nothing; it takes client, data"):
        Realtime().on_disconnect(lambda client, data: None)


@pytest.mark.parametrize("patterns", [("chat:{room}", "chat:staff"), ("chat:staff", "chat:{room}")])
def test_the_stricter_of_two_patterns_counts_in_either_order(patterns: tuple[str, str]) -> None:
    async def scene() -> None:
        rt = Realtime()
        options = {
            "chat:{room}": {"publish": "anyone", "read": "anyone", "history": 5},
            "chat:staff": {"subscribe": "nobody", "read": "nobody", "history": 5},
        }
        for pattern in patterns:
            rt.channel(pattern, **options[pattern])

        @rt.on_connect
        def hook(client: Client) -> None: ...

        async with serving(rt) as url, connect(url, subprotocols=["centrifuge-protobuf"]) as websocket:
            asked: list[Any] = [{"connect": {}}]
            for channel in ("chat:staff", "chat:lobby"):
                asked.append({"subscribe": {"channel": channel}})
                asked.append({"publish": {"channel": channel, "data": 1}})
                asked.append({"history": {"channel": channel, "limit": 1}})
            await websocket.send(frame_of(*({"id": number} | each for number, each in enumerate(asked, 1))))
            answers: dict[int, Any] = {}
            while len(answers) < len(asked):
                for reply in replies_in(await websocket.recv()):
                    if "id" in reply:
                        answers[reply["id"]] = reply.get("error", {}).get("code")
            assert answers == {1: None, 2: 103, 3: 103, 4: 103, 5: None, 6: None, 7: None}

    play(scene)

"""Clients for tests: commands, pushes and ends, in memory and in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import fastapi
import msgspec
import pytest
from starlette.requests import HTTPConnection

from trunkline.exceptions import InvalidStatus
from trunkline.realtime import Client, Disconnected, MemoryBroker, Realtime, Refused, StreamPosition, Timeouts
from trunkline.realtime.tokens import Key, Tokens
from trunkline.testing import memory


class Say(msgspec.Struct):
    text: str


def chat(**options: Any) -> Realtime:
    rt = Realtime(**options)
    room = rt.channel("chat:{room}", history=10, presence=True, publish="subscribers", join_leave=True)

    @room.on_publish
    def check(client: Client, message: Say, room: str) -> None:
        if not message.text:
            raise Refused(400, "it is empty")

    return rt


def scene(main: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test in virtual time."""

    def test() -> None:
        memory.run(main())

    test.__doc__ = main.__doc__
    return test


@scene
async def test_publish() -> None:
    """Subscribers get what a client and the program publish, as values of the type that they name."""
    rt = chat()
    async with rt, rt.test_client(user="ada") as ada, rt.test_client(user="bob", info={"age": 7}) as bob:
        hers = await ada.subscribe("chat:lobby", Say)
        his = await bob.subscribe("chat:lobby")
        await hers.publish(Say("hello"))
        assert (await hers.receive()).text == "hello"
        publication = await his.expect({"text": "hello"})
        assert publication.info is not None
        assert (publication.info.user, publication.info.client, publication.offset) == ("ada", ada.id, 1)
        await rt.publish("chat:lobby", {"text": "from the program"}, tags={"kind": "news"})
        assert (await his.publication()).tags == {"kind": "news"}
        assert his.position == StreamPosition(2, his.position.epoch)
        await his.expect_nothing()
        assert (await hers.joined()).user == "ada"
        assert (await hers.joined()).conn_info == b'{"age":7}'
        assert {each.user for each in (await hers.presence()).values()} == {"ada", "bob"}
        assert (await ada.presence_stats("chat:lobby")).users == 2
        assert [each.offset for each in await hers.history()] == [1, 2]
        assert [each.offset for each in await bob.history("chat:lobby", limit=1, reverse=True)] == [2]
        await his.unsubscribe()
        assert (await hers.left()).client == bob.id


@scene
async def test_mistakes_of_tests() -> None:
    """A test fails that expects another message, none where there is one, another type, or one that doesn't come."""
    rt = chat()
    async with rt, rt.test_client(user="ada") as ada:
        room = await ada.subscribe("chat:lobby", int)
        for _ in range(3):
            await room.publish({"text": "hello"})
        with pytest.raises(AssertionError, match=r"not \{'text': 'bye'\}"):
            await room.expect({"text": "bye"})
        with pytest.raises(AssertionError, match="not nothing"):
            await room.expect_nothing()
        with pytest.raises(AssertionError, match="no <class 'int'>"):
            await room.receive()
        await room.publication()
        before = asyncio.get_running_loop().time()
        with pytest.raises(AssertionError, match=r"a publication in 'chat:lobby' didn't come within 5 s"):
            await room.receive()
        assert asyncio.get_running_loop().time() == before + 5
    with pytest.raises(RuntimeError, match="isn't connected"):
        await rt.test_client().publish("chat:lobby", 1)


@scene
async def test_refusals() -> None:
    """A command that the server refuses raises `Refused`, and the client stays connected."""
    rt = chat()
    async with rt, rt.test_client(user="ada") as ada:
        with pytest.raises(Refused, match="102"):
            await ada.subscribe("news")
        room = await ada.subscribe("chat:lobby")
        with pytest.raises(Refused, match="105"):
            await ada.subscribe("chat:lobby")
        assert ada.subscriptions["chat:lobby"] is room
        with pytest.raises(Refused, match="400: it is empty"):
            await room.publish({"text": ""})
        await room.expect_nothing()


@scene
async def test_hooks() -> None:
    """Hooks of the program get the data of a client, its request, its calls and its messages."""
    rt = Realtime()
    rt.channel("news", subscribe="nobody")
    heard: list[Any] = []

    @rt.on_connect
    def connect(client: Client, data: dict[str, str]) -> dict[str, str]:
        client.user, client.channels = data["name"], ["news"]
        return {"path": client.connection.request.path, "cookie": client.connection.request.headers["Cookie"]}

    @rt.rpc("add")
    async def add(client: Client, numbers: list[int]) -> int:
        return sum(numbers)

    rt.on_message(lambda client, message: heard.append(message))
    options: Any = {"data": {"name": "ada"}, "path": "/a b?c=d", "headers": {"Cookie": "e=f"}}
    async with rt, rt.test_client(**options) as ada:
        assert ada.data == {"path": "/a%20b?c=d", "cookie": "e=f"}
        assert await ada.call("add", [1, 2], int) == 3
        await ada.send({"text": "hello"})
        assert heard == [{"text": "hello"}]
        await rt.publish("news", 1)
        await ada.subscriptions["news"].expect(1)
        await rt.send("welcome", user="ada")
        assert await ada.message(str) == "welcome"


@scene
async def test_ends() -> None:
    """The server ends a subscription, then the connection; the test can still read earlier pushes."""
    rt = chat()
    async with rt, rt.test_client(user="ada") as ada:
        room = await ada.subscribe("chat:lobby")
        await rt.publish("chat:lobby", 1)
        await rt.unsubscribe("chat:lobby", user="ada")
        assert await room.unsubscribed() == (2000, "server unsubscribed")
        await rt.disconnect(user="ada", code=4500, reason="out")
        assert await ada.disconnected() == (4500, "out")
        await room.expect(1)
        with pytest.raises(Disconnected, match="4500: out"):
            await room.receive()
        with pytest.raises(Disconnected, match="4500: out"):
            await ada.publish("chat:lobby", 1)
        assert not rt.clients()


@scene
async def test_recovery() -> None:
    """A client whose connection was cut gets what it missed, with a new connection."""
    rt = chat()
    async with rt:
        async with rt.test_client(user="ada") as ada:
            room = await ada.subscribe("chat:lobby")
            await rt.publish("chat:lobby", 1)
            await room.expect(1)
            ada.cut()
        assert ada.closed == (1006, "")
        await rt.publish("chat:lobby", 2)
        await rt.publish("chat:lobby", 3)
        async with rt.test_client(user="ada") as ada:
            room = await ada.subscribe("chat:lobby", since=room.position)
            assert room.recovered
            await room.expect(2)
            await room.expect(3)


def test_virtual_time() -> None:
    """Pings, deadlines and the time that messages are kept go by the clock of the loop: an hour is over at once."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        rt = chat(store=MemoryBroker(clock=loop.time), timeouts=Timeouts(ping=25, pong=8))
        rt.channel("brief", history=10, ttl=60)
        async with rt, rt.test_client(user="ada") as ada:
            await rt.publish("brief", 1)
            await asyncio.sleep(3600)
            assert ada.closed is None
            assert not (await rt.history("brief")).publications
            ada.answers_pings = False
            ada.timeout = 60
            assert await ada.disconnected() == (3012, "no pong")
            assert loop.time() <= 3600 + 25 + 8 + 1

    memory.run(main())


def test_tokens() -> None:
    """The token says which user the client is; one that isn't valid is refused."""

    async def main() -> None:
        tokens = Tokens(Key("HS256", "secret" * 8))
        rt = chat(tokens=tokens)
        async with rt:
            async with rt.test_client(token=tokens.connection("ada")) as ada:
                room = await ada.subscribe("chat:lobby")
                assert {each.user for each in (await room.presence()).values()} == {"ada"}
            with pytest.raises(Disconnected, match="3500"):
                async with rt.test_client(token="nonsense"):
                    pass

    asyncio.run(main())


@scene
async def test_fastapi() -> None:
    """An application of FastAPI serves the client, with the `authenticate` of its own; its refusal has its status."""
    rt = chat()

    async def authenticate(request: HTTPConnection) -> str | None:
        return request.cookies.get("user")

    app = fastapi.FastAPI()
    rt.asgi(authenticate=authenticate).mount(app, "/connection")
    async with rt, rt.test_client(app=app, path="/connection", headers={"Cookie": "user=ada"}) as ada:
        room = await ada.subscribe("chat:lobby")
        assert (await room.joined()).user == "ada"
        for path, status in {"/connection": 401, "/elsewhere": 403}.items():
            with pytest.raises(InvalidStatus) as refused:
                await rt.test_client(app=app, path=path).connect()
            assert refused.value.response.status_code == status
    with pytest.raises(ValueError, match="leave out user="):
        rt.test_client(app=app, user="ada")


@scene
async def test_faults_of_the_application() -> None:
    """An exception of an application is raised in the test."""

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    async def returns(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    rt = chat()
    with pytest.raises(ZeroDivisionError):
        await rt.test_client(app=fails).connect()
    with pytest.raises(ConnectionAbortedError):
        await rt.test_client(app=returns).connect()
    with contextlib.suppress(ZeroDivisionError):
        async with rt, rt.test_client(user="ada"):
            raise ZeroDivisionError

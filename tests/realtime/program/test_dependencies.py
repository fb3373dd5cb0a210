"""Hooks with parameters that FastAPI resolves, in memory, and under uvicorn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import fastapi
import pytest
from fastapi import Cookie, Depends, Header, HTTPException, Security, WebSocketException
from fastapi.security import SecurityScopes
from starlette.requests import HTTPConnection

from tests.support.asgi import WebSocketProtocol, uvicorn_server
from tests.support.loop import run_clean
from tests.support.threads import PATIENCE
from trunkline.exceptions import InvalidStatus
from trunkline.realtime import Client, Realtime, Refused
from trunkline.realtime.program.hooks import Hook

LOG: list[Any] = []


async def session(request: HTTPConnection) -> AsyncIterator[str]:
    """A dependency that cleans up, and gets at the application."""
    LOG.append("opened")
    yield f"session of {request.app.state.name}"
    LOG.append("closed")


def user(session: Annotated[str, Depends(session)], user: Annotated[str | None, Cookie()] = None) -> str:
    """A dependency of another one, in a thread, with a cookie."""
    match user:
        case None:
            raise HTTPException(401, "log in first")
        case "eve":
            raise HTTPException(403, "not you")
        case "mallory":
            raise WebSocketException(1008, "go away")
    LOG.append(session)
    return user


User = Annotated[str, Depends(user)]


def application(rt: Realtime, **options: Any) -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    app.state.name = "test"
    rt.asgi(**options).mount(app, "/connection")
    LOG.clear()
    return app


def test_authenticate() -> None:
    """It has dependencies instead of the request, or besides it, which clean up before the client is served."""

    async def alone(user: User) -> str:
        return user

    async def beside(request: HTTPConnection, user: str = Depends(user), agent: str = Header()) -> Any:
        return user, {"agent": agent, "path": request.url.path}

    async def main() -> None:
        for authenticate in (alone, beside):
            rt = Realtime()
            rt.channel("chat", presence=True)
            app = application(rt, authenticate=authenticate)
            path, headers = "/connection", {"Agent": "007"}
            async with rt, rt.test_client(app=app, path=path, headers=headers | {"Cookie": "user=ada"}) as ada:
                room = await ada.subscribe("chat")
                info = (await room.presence())[ada.id]
                assert info.user == "ada"
                assert info.conn_info == (None if authenticate is alone else b'{"agent":"007","path":"/connection"}')
                assert LOG == ["opened", "session of test", "closed"]
                for cookie, status in {"": 401, "user=eve": 403, "user=mallory": 403}.items():
                    with pytest.raises(InvalidStatus) as refused:
                        await rt.test_client(app=app, path=path, headers=headers | {"Cookie": cookie}).connect()
                    assert refused.value.response.status_code == status
                if authenticate is beside:
                    with pytest.raises(InvalidStatus) as refused:
                        await rt.test_client(app=app, path=path, headers={"Cookie": "user=ada"}).connect()
                    assert refused.value.response.status_code == 422
                    assert b"agent: Field required" in refused.value.response.body
                app.dependency_overrides[user] = lambda: "bob"
                async with rt.test_client(app=app, path=path, headers=headers) as bob:
                    room = await bob.subscribe("chat")
                    assert (await room.presence())[bob.id].user == "bob"

    asyncio.run(main())


def test_hooks() -> None:
    """Each hook gets what FastAPI resolves, beside the client, its data and the parameters of the channel."""

    async def main() -> None:
        rt = Realtime()
        app = application(rt)

        @rt.on_connect
        async def connect(client: Client, data: dict[str, int], user: User) -> dict[str, int]:
            client.user = user
            client.ttl = 3600
            return data

        @rt.channel("chat:{room}", publish="subscribers")
        def chat(user: User, client: Client, *, room: str, session: str = Depends(session)) -> dict[str, str]:
            return {"user": user, "room": room, "session": session}

        @chat.on_publish
        def publish(client: Client, message: list[int], user: User, **names: str) -> Any:
            return [*message, user, names["room"]]

        @chat.on_unsubscribe
        def unsubscribe(client: Client, user: User) -> None:
            LOG.append(f"{user} left")

        @rt.rpc("whoami")
        async def whoami(client: Client, user: User) -> str:
            return user

        @rt.on_message
        def message(client: Client, message: Any, user: User) -> None:
            LOG.append((message, user))

        @rt.on_refresh
        def refresh(client: Client, token: str, user: User) -> int:
            return {"good": 60}[token]

        @rt.on_disconnect
        def disconnect(client: Client, user: User) -> None:
            LOG.append(f"{user} is gone")

        headers = {"Cookie": "user=ada"}
        async with rt:
            async with rt.test_client(app=app, path="/connection", headers=headers, data={"a": 1}) as ada:
                assert ada.data == {"a": 1}
                room = await ada.subscribe("chat:lobby")
                assert room.data == {"user": "ada", "room": "lobby", "session": "session of test"}
                await room.publish([1])
                await room.expect([1, "ada", "lobby"])
                assert await ada.call("whoami") == "ada"
                await ada.send("hello")
                assert ("hello", "ada") in LOG
                await ada.refresh("good")
                await room.unsubscribe()
            for data, error in {"log in first": {}, "not you": {"Cookie": "user=eve"}}.items():
                with pytest.raises(Refused, match=data):
                    await rt.test_client(app=app, path="/connection", headers=error, data={}).connect()
        assert "ada left" in LOG
        assert "ada is gone" in LOG

    asyncio.run(main())


@pytest.mark.parametrize(("status", "code"), [(401, 101), (403, 103), (404, 404), (422, 107), (503, 503)])
def test_refusals(status: int, code: int) -> None:
    """An `HTTPException` of a dependency, or of the hook, is the answer to the command."""

    def refuse() -> None:
        raise HTTPException(status, "because")

    async def main() -> None:
        rt = Realtime()
        app = application(rt)

        @rt.rpc("by dependency")
        async def by_dependency(client: Client, nothing: None = Depends(refuse)) -> None:
            raise AssertionError("FastAPI calls it although a dependency failed")

        @rt.rpc("by itself")
        async def by_itself(client: Client, name: str = Depends(lambda: "name")) -> None:
            refuse()

        async with rt, rt.test_client(app=app, path="/connection") as client:
            for method in ("by dependency", "by itself"):
                with pytest.raises(Refused, match=f"{code}: because") as refused:
                    await client.call(method)
                assert refused.value.temporary is (status >= 500)

    asyncio.run(main())


def scopes(security_scopes: SecurityScopes) -> list[str]:
    return security_scopes.scopes


def test_scopes_of_security() -> None:
    """`Security` passes its scopes to the dependency."""

    async def main() -> None:
        rt = Realtime()
        app = application(rt)

        @rt.rpc("scopes")
        async def call(client: Client, scopes: Annotated[list[str], Security(scopes, scopes=["read"])]) -> list[str]:
            return scopes

        async with rt, rt.test_client(app=app, path="/connection") as client:
            assert await client.call("scopes") == ["read"]

    asyncio.run(main())


def test_without_an_asgi_server() -> None:
    """A client that came in another way has no request that FastAPI knows."""

    async def main() -> None:
        hook = Hook(whoami)
        with pytest.raises(RuntimeError, match=r"whoami has parameters for FastAPI, .* through rt.asgi\(\)"):
            await hook(NoScope(), None, {})

    async def whoami(client: Client, user: User) -> str:
        return user

    asyncio.run(main())


class NoScope:
    scope = None


def test_wrong_parameters() -> None:
    """What FastAPI doesn't resolve must still be what a hook takes."""
    with pytest.raises(TypeError, match="must take a client"):
        Hook(lambda client, data, more, user=Depends(user): None)  # noqa: B008
    with pytest.raises(TypeError, match="must take a client and a token"):
        Realtime().on_refresh(lambda client, user=Depends(user): None)  # noqa: B008


@pytest.mark.parametrize("ws", [WebSocketProtocol, "websockets-sansio"], ids=str)
def test_under_uvicorn(ws: Any) -> None:
    """The class of trunkline forgets its scope when it accepts; hooks that run later still have it."""

    async def main() -> None:
        rt = Realtime()
        app = application(rt)

        @rt.rpc("whoami")
        async def whoami(client: Client, user: User) -> str:
            return user

        async with (
            rt,
            uvicorn_server(app, ws) as server,
            server.connect("/connection", additional_headers={"Cookie": "user=ada"}) as connection,
        ):
            await connection.send('{"id":1,"connect":{}}\n{"id":2,"rpc":{"method":"whoami"}}')
            replies = ""
            async with asyncio.timeout(PATIENCE):
                while '"id":2' not in replies:
                    replies += await connection.recv()
            assert '{"id":2,"rpc":{"data":"ada"}}' in replies

    run_clean(main)

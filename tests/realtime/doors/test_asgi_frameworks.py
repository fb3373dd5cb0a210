"""Rooms in programs of frameworks, as their own tools for tests see them: in memory, without a socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import fastapi
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.support.loop import run_clean
from trunkline.realtime import Realtime


def chat() -> Realtime:
    rt = Realtime()
    rt.channel("chat:{room}", history=10, publish="subscribers")
    return rt


CONNECT = {"id": 1, "connect": {}}
SUBSCRIBE = {"id": 2, "subscribe": {"channel": "chat:lobby"}}


def program() -> fastapi.FastAPI:
    """Rooms, with an endpoint that publishes and is no coroutine function."""
    rt = chat()

    @contextlib.asynccontextmanager
    async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[None]:
        async with rt:
            yield

    async def authenticate(request: Any) -> Any:
        return request.cookies.get("user")

    app = fastapi.FastAPI(lifespan=lifespan)
    rt.asgi(authenticate=authenticate).mount(app, "/connection")

    @app.post("/announce")
    def announce(text: str) -> int:
        return rt.publish_sync("chat:lobby", {"text": text}).offset

    return app


def test_test_client_of_starlette() -> None:
    with TestClient(program(), cookies={"user": "ada"}) as client, client.websocket_connect("/connection") as websocket:
        websocket.send_json(CONNECT)
        assert "client" in websocket.receive_json()["connect"]
        websocket.send_json(SUBSCRIBE)
        assert "subscribe" in websocket.receive_json()
        assert client.post("/announce", params={"text": "from a thread"}).json() == 1
        assert websocket.receive_json()["push"]["pub"]["data"] == {"text": "from a thread"}


def test_test_client_of_starlette_without_login() -> None:
    with TestClient(program()) as client, pytest.raises(WebSocketDisconnect) as refused:  # noqa: SIM117
        with client.websocket_connect("/connection"):
            pass
    assert refused.value.status_code == 401  # type: ignore[attr-defined]


def test_communicator_of_channels() -> None:
    from django.conf import settings

    if not settings.configured:
        settings.configure()
    from channels.routing import URLRouter
    from channels.testing import WebsocketCommunicator
    from django.urls import path

    async def main() -> None:
        rt = chat()
        router = URLRouter([path("rooms/", rt.websocket)])
        async with rt:
            communicator = WebsocketCommunicator(router, "/rooms/", subprotocols=["centrifuge-json"])
            assert await communicator.connect() == (True, "centrifuge-json")
            await communicator.send_json_to(CONNECT)
            assert "client" in (await communicator.receive_json_from())["connect"]
            await communicator.send_json_to(SUBSCRIBE)
            assert "subscribe" in await communicator.receive_json_from()
            await rt.publish("chat:lobby", {"text": "hello"})
            assert (await communicator.receive_json_from())["push"]["pub"]["data"] == {"text": "hello"}
            await communicator.disconnect()

    run_clean(main)


def test_litestar() -> None:
    import litestar
    from litestar.testing import TestClient as LitestarClient

    rt = chat()
    app = litestar.Litestar(
        [litestar.asgi("/connection", is_mount=True, copy_scope=True)(rt.websocket)],
        lifespan=[lambda app: rt],
        logging_config=None,  # its own changes the root logger, for all tests that follow
    )
    with LitestarClient(app) as client, client.websocket_connect("/connection") as websocket:
        websocket.send_json(CONNECT)
        assert "client" in websocket.receive_json()["connect"]


def test_events_by_hand() -> None:
    """The least that a server must do: queues of events."""

    async def main() -> None:
        rt = chat()
        to_app: asyncio.Queue[Any] = asyncio.Queue()
        sent: asyncio.Queue[Any] = asyncio.Queue()
        scope = {"type": "websocket", "path": "/", "headers": [(b"host", b"a")]}
        async with rt:
            serving = asyncio.create_task(rt.asgi()(scope, to_app.get, sent.put))
            await to_app.put({"type": "websocket.connect"})
            assert (await sent.get())["type"] == "websocket.accept"
            await to_app.put({"type": "websocket.receive", "text": json.dumps(CONNECT), "bytes": None})
            assert "connect" in json.loads((await sent.get())["text"])
            await to_app.put({"type": "websocket.disconnect", "code": 1006})
            await serving

    run_clean(main)

"""Rooms inside of applications of Starlette and FastAPI, under servers of all kinds."""

from __future__ import annotations

import asyncio
import builtins
import json
import logging
from typing import Any

import fastapi
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.routing import Mount, WebSocketRoute

import trunkline
from tests.support.asgi import Running, WebSocketProtocol, uvicorn_server
from tests.support.loop import run_clean
from trunkline.realtime import Client, Realtime, Refused

servers = pytest.mark.parametrize("ws", [WebSocketProtocol, "websockets-sansio", "wsproto"], ids=str)


def chat(**options: Any) -> Realtime:
    rt = Realtime(**options)
    rt.channel("chat:{room}", history=10, presence=True, publish="subscribers")
    return rt


class Browser:
    """A client that says commands."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.number = 0
        self.pushes: list[Any] = []

    async def do(self, **command: Any) -> Any:
        """The answer to a command."""
        self.number += 1
        await self.connection.send(json.dumps({"id": self.number, **command}))
        while True:
            for line in (await self.connection.recv()).splitlines():
                reply = json.loads(line)
                if reply.get("id") == self.number:
                    return reply
                self.pushes.append(reply)

    async def push(self) -> Any:
        while not self.pushes:
            for line in (await self.connection.recv()).splitlines():
                self.pushes.append(json.loads(line))
        return self.pushes.pop(0)


async def talk(rt: Realtime, server: Running, path: str, **options: Any) -> None:
    """Two clients in a room, in both encodings of the protocol that a browser may ask for."""
    async with server.connect(path, **options) as first, server.connect(path, **options) as second:
        ada, bob = Browser(first), Browser(second)
        for browser in (ada, bob):
            assert "client" in (await browser.do(connect={}))["connect"]
            assert "subscribe" in await browser.do(subscribe={"channel": "chat:lobby"})
        await ada.do(publish={"channel": "chat:lobby", "data": {"text": "hello"}})
        assert (await bob.push())["push"]["pub"]["data"] == {"text": "hello"}
        await rt.publish("chat:lobby", {"text": "from the program"})
        assert (await bob.push())["push"]["pub"]["data"] == {"text": "from the program"}
        assert len((await bob.do(presence={"channel": "chat:lobby"}))["presence"]["presence"]) == 2


@servers
@pytest.mark.parametrize("path", ["/connection", "/connection/", "/connection/websocket"])
def test_mount(ws: Any, path: str) -> None:
    """Starlette's `mount` refuses the bare path; that of ours takes it."""

    async def main() -> None:
        rt = chat()
        app = fastapi.FastAPI()
        rt.asgi().mount(app, "/connection")
        async with uvicorn_server(app, ws) as server, rt:
            await talk(rt, server, path)

    run_clean(main)


def test_mount_of_starlette() -> None:
    async def main() -> None:
        rt = chat()
        app = Starlette(routes=[Mount("/connection", app=rt.asgi())])
        async with uvicorn_server(app) as server, rt:
            await talk(rt, server, "/connection/websocket")
            with pytest.raises(trunkline.InvalidStatus):
                await server.connect("/connection")

    run_clean(main)


@servers
def test_endpoints(ws: Any) -> None:
    async def main() -> None:
        rt = chat()

        async def endpoint(websocket: Any) -> None:
            await rt.websocket(websocket)

        app = Starlette(routes=[WebSocketRoute("/a", rt.websocket), WebSocketRoute("/b", endpoint)])
        async with uvicorn_server(app, ws) as server, rt:
            await talk(rt, server, "/a")
            await talk(rt, server, "/b")

    run_clean(main)


def test_the_whole_application_of_a_server() -> None:
    """The lifespan starts and closes the node."""

    async def main() -> None:
        rt = chat()
        async with uvicorn_server(rt.asgi(), lifespan="on") as server:
            assert rt.loop is asyncio.get_running_loop()
            await talk(rt, server, "/")
        assert rt.loop is None

    run_clean(main)


def test_node_that_can_not_start(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        rt = Realtime("sqlite:////nowhere/at/all.db")
        events: list[Any] = []

        async def receive() -> Any:
            return {"type": "lifespan.startup"}

        async def send(event: Any) -> None:
            events.append(event)

        await rt.asgi()({"type": "lifespan"}, receive, send)
        assert events[0]["type"] == "lifespan.startup.failed"

    run_clean(main)


@pytest.mark.compiled
def test_the_connection_below_is_ours() -> None:
    async def main() -> None:
        rt = chat()
        clients: list[Client] = []

        @rt.on_connect
        async def connected(client: Client) -> None:
            clients.append(client)

        async with uvicorn_server(rt.asgi()) as server, rt, server.connect() as connection:
            await Browser(connection).do(connect={})
            assert isinstance(clients[0].connection, WebSocketProtocol)
            assert clients[0].connection.keepalive_task is None or clients[0].connection.keepalive_task.done()

    run_clean(main)


def test_shutdown_sends_clients_elsewhere() -> None:
    """They are told to come back, as by a server of ours."""

    async def main() -> None:
        rt = chat()
        async with uvicorn_server(rt.asgi(), lifespan="on") as server, server.connect() as connection:
            await Browser(connection).do(connect={})
            await server.stop()
            with pytest.raises(trunkline.ConnectionClosed) as closed:
                await connection.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 3001

    run_clean(main)


@servers
def test_program_disconnects(ws: Any) -> None:
    async def main() -> None:
        rt = chat()
        async with uvicorn_server(rt.asgi(), ws) as server, rt, server.connect() as connection:
            client = (await Browser(connection).do(connect={}))["connect"]["client"]
            await rt.disconnect(client=client, code=3503, reason="enough")
            with pytest.raises(trunkline.ConnectionClosed) as closed:
                await connection.recv()
            assert closed.value.rcvd == trunkline.Close(3503, "enough")

    run_clean(main)


# --- who may come in ---


@servers
def test_authenticate(ws: Any) -> None:
    async def main() -> None:
        rt = chat()

        async def authenticate(request: HTTPConnection) -> Any:
            match request.cookies.get("session"):
                case "ada":
                    return "ada", {"name": "Ada"}
                case "bob":
                    return "bob"
                case "late":
                    raise HTTPException(402, "pay first")
            return None

        async with uvicorn_server(rt.asgi(authenticate=authenticate), ws) as server, rt:
            for user, info in [("ada", {"name": "Ada"}), ("bob", None)]:
                async with server.connect(additional_headers={"Cookie": f"session={user}"}) as connection:
                    browser = Browser(connection)
                    await browser.do(connect={})
                    await browser.do(subscribe={"channel": "chat:lobby"})
                    [member] = (await rt.presence("chat:lobby")).values()
                    assert (member.user, member.conn_info and json.loads(member.conn_info)) == (user, info)
                await settled_presence(rt)
            for cookie, status in [("mallory", 401), ("late", 402)]:
                with pytest.raises(trunkline.InvalidStatus) as refused:
                    await server.connect(additional_headers={"Cookie": f"session={cookie}"})
                assert refused.value.response.status_code == status

    run_clean(main)


async def settled_presence(rt: Realtime) -> None:
    while await rt.presence("chat:lobby"):
        await asyncio.sleep(0.001)


def test_authenticated_clients_need_no_token_and_hooks_see_them() -> None:
    jwt = pytest.importorskip("jwt")
    assert jwt

    async def main() -> None:
        from trunkline.realtime.tokens import Tokens

        rt = chat(tokens=Tokens("a secret that is long enough for HMAC"))
        users: list[str] = []

        @rt.on_connect
        async def connected(client: Client) -> None:
            users.append(client.user)
            if client.user == "mallory":
                raise Refused(403, "no")

        async def authenticate(request: HTTPConnection) -> str:
            return request.query_params["user"]

        async with uvicorn_server(rt.asgi(authenticate=authenticate)) as server, rt:
            async with server.connect("/?user=ada") as connection:
                assert "connect" in await Browser(connection).do(connect={})
            async with server.connect("/?user=mallory") as connection:
                assert (await Browser(connection).do(connect={}))["error"]["code"] == 403
        assert users == ["ada", "mallory"]

    run_clean(main)


@pytest.mark.parametrize(
    ("origins", "origin", "admitted"),
    [
        (None, None, True),
        (None, "http://{host}", True),
        (None, "https://{host}", True),
        (None, "http://elsewhere.example", False),
        (None, "null", False),
        ("*", "http://elsewhere.example", True),
        (["http://elsewhere.example"], "http://elsewhere.example", True),
        (["http://elsewhere.example"], "http://{host}", False),
        (["http://elsewhere.example"], None, False),
        (["http://elsewhere.example", None], None, True),
    ],
)
def test_origins(origins: Any, origin: str | None, admitted: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        rt = chat()
        async with uvicorn_server(rt.asgi(origins=origins)) as server, rt:
            value = None if origin is None else origin.format(host=f"127.0.0.1:{server.port}")
            if admitted:
                async with server.connect(origin=value) as connection:
                    assert "connect" in await Browser(connection).do(connect={})
            else:
                with pytest.raises(trunkline.InvalidStatus) as refused:
                    await server.connect(origin=value)
                assert refused.value.response.status_code == 403

    with caplog.at_level(logging.INFO, "trunkline.realtime"):
        run_clean(main)
    assert admitted or "a client was refused" in caplog.text


def test_http() -> None:
    async def main() -> None:
        rt = chat()
        app = fastapi.FastAPI()
        rt.asgi().mount(app, "/connection")
        async with uvicorn_server(app) as server:
            for path, status in [("/connection/trunkline.js", b"200"), ("/connection/other", b"404")]:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                answer = await reader.read()
                writer.close()
                await writer.wait_closed()
                assert answer.startswith(b"HTTP/1.1 " + status)
                assert (b"text/javascript" in answer) == (status == b"200")

    run_clean(main)


def test_without_starlette(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "starlette":
            raise ImportError(f"No module named {name!r}")
        return original(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    rt = chat()
    rt.asgi()

    async def authenticate(request: Any) -> None:
        return None

    with pytest.raises(ImportError, match="pip install starlette"):
        rt.asgi(authenticate=authenticate)

"""uvicorn with our class: its settings, its signals, and what an application sees of a connection."""

from __future__ import annotations

import asyncio
import builtins
import importlib
import logging
import sys
from typing import Any

import pytest
import uvicorn
import websockets

import trunkline
from tests.support.asgi import CLASSES, Receive, Send, echo, uvicorn_server
from tests.support.loop import run_clean, settled
from tests.support.raw import BINARY, PING, TEXT, RawPeer, close_frame, encode_frame
from trunkline.testing.tls import tls_contexts

both = pytest.mark.parametrize("ws", CLASSES)


def recorder(events: list[Any]) -> Any:
    """An application that accepts, and notes what it receives."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        events.append(scope)
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            event = await receive()
            events.append(event)
            if event["type"] == "websocket.disconnect":
                return

    return app


@both
def test_echo(ws: Any) -> None:
    async def main() -> None:
        async with uvicorn_server(echo, ws) as server, server.connect() as client:
            for message in ("hello", b"\0\xff", "", b"", "ü" * 100_000):
                await client.send(message)
                assert await client.recv() == message
            await client.send(["in ", "fragments"])
            assert await client.recv() == "in fragments"
            assert await (await client.ping()) >= 0

    run_clean(main)


def test_library_that_we_did_not_write() -> None:
    async def main() -> None:
        async with (
            uvicorn_server(echo) as server,
            websockets.connect(f"ws://127.0.0.1:{server.port}", proxy=None) as client,
        ):
            await client.send("hello")
            assert await client.recv() == "hello"
            assert [extension.name for extension in client.protocol.extensions] == ["permessage-deflate"]

    run_clean(main)


@pytest.mark.compiled
def test_the_reactor_carries_a_connection_from_its_acceptance_on() -> None:
    async def main() -> None:
        async with uvicorn_server(echo) as server, server.connect() as client:
            await client.send("hello")
            assert await client.recv() == "hello"
            [connection] = server.connections
            assert type(connection.transport).__module__ == "trunkline.reactor.transport"
            assert connection.remote_address == client.local_address
        assert not server.connections

    run_clean(main)


def test_tls_stays_with_uvicorn() -> None:
    server_context, client_context = tls_contexts()

    async def main() -> None:
        schemes: list[str] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            schemes.append(scope["scheme"])
            await echo(scope, receive, send)

        async with (
            uvicorn_server(app, tls=server_context) as server,
            server.connect(ssl=client_context) as client,
        ):
            await client.send("hello")
            assert await client.recv() == "hello"
        assert schemes == ["wss"]

    run_clean(main)


def test_unix_socket(tmp_path: Any) -> None:
    async def main() -> None:
        config = uvicorn.Config(echo, uds=str(tmp_path / "socket"), ws=CLASSES[0], lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        await settled(lambda: server.started)
        async with trunkline.unix_connect(str(tmp_path / "socket")) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
        server.should_exit = True
        await serving

    run_clean(main)


def test_scope() -> None:
    async def main() -> None:
        events: list[Any] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            events.append(scope)
            await receive()
            await send({"type": "websocket.accept", "subprotocol": "v2"})

        async with uvicorn_server(app, root_path="/root") as server:
            headers = {"X-Name": "Ada", "Cookie": "a=b"}
            async with server.connect(
                "/a%20b/%C3%BC?q=1&r=%20", additional_headers=headers, subprotocols=["v1", "v2"], compression=None
            ) as client:
                address = client.local_address
        scope = events[0]
        assert scope["type"] == "websocket"
        assert scope["path"] == "/root/a b/ü"
        assert scope["raw_path"] == b"/root/a%20b/%C3%BC"
        assert scope["query_string"] == b"q=1&r=%20"
        assert scope["root_path"] == "/root"
        assert scope["scheme"] == "ws"
        assert scope["http_version"] == "1.1"
        assert scope["client"] == address[:2]
        assert scope["server"][1] == server.port
        assert scope["subprotocols"] == ["v1", "v2"]
        assert (b"x-name", b"Ada") in scope["headers"]
        assert (b"cookie", b"a=b") in scope["headers"]
        assert scope["extensions"]["websocket.http.response"] == {}

    run_clean(main)


# --- settings ---


def test_ws_max_size() -> None:
    async def main() -> None:
        events: list[Any] = []
        async with uvicorn_server(recorder(events), ws_max_size=10) as server, server.connect() as client:
            await client.send(b"0123456789")
            await client.send(b"0123456789+")
            with pytest.raises(trunkline.ConnectionClosedError) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009
        assert events[1] == {"type": "websocket.receive", "bytes": b"0123456789"}
        assert events[2]["type"] == "websocket.disconnect"
        assert events[2]["code"] == 1009

    run_clean(main)


@pytest.mark.parametrize("enabled", [True, False])
def test_ws_per_message_deflate(enabled: bool) -> None:
    async def main() -> None:
        async with uvicorn_server(echo, ws_per_message_deflate=enabled) as server, server.connect() as client:
            assert bool(client.extensions) is enabled
            await client.send("hello " * 1000)
            assert await client.recv() == "hello " * 1000

    run_clean(main)


def test_ws_ping_interval() -> None:
    async def main() -> None:
        async with (
            uvicorn_server(echo, ws_ping_interval=0.01, ws_ping_timeout=60) as server,
            await RawPeer.open(server.port) as peer,
        ):
            assert (await peer.read_frame()).opcode == PING

    run_clean(main)


@pytest.mark.parametrize("interval", [None, 0.0])
def test_ws_ping_interval_none(interval: float | None) -> None:
    async def main() -> None:
        async with uvicorn_server(echo, ws_ping_interval=interval) as server, server.connect():
            [connection] = server.connections
            assert connection.ping_interval is None
            assert connection.keepalive_task is None

    run_clean(main)


def test_ws_ping_timeout() -> None:
    async def main() -> None:
        events: list[Any] = []
        async with uvicorn_server(recorder(events), ws_ping_interval=0.01, ws_ping_timeout=0.01) as server:
            async with await RawPeer.open(server.port) as peer:
                assert await peer.read_close() == 1011
            await settled(lambda: len(events) == 2)
        assert events[1] == {"type": "websocket.disconnect", "code": 1011, "reason": "keepalive ping timeout"}

    run_clean(main)


@both
def test_ws_max_queue(ws: Any) -> None:
    """Reading stops at as many messages, and goes on when the application takes them."""

    async def main() -> None:
        taking = asyncio.Event()
        taken: list[Any] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            await taking.wait()
            while (event := await receive())["type"] == "websocket.receive":
                taken.append(event["bytes"])

        async with (
            uvicorn_server(app, ws, ws_max_queue=4, ws_ping_interval=None) as server,
            await RawPeer.open(server.port) as peer,
        ):
            [connection] = server.connections
            for _ in range(5):
                await peer.send(encode_frame(BINARY, b"x"))
            await settled(lambda: len(connection.session.inbox) == 5)
            await settled(lambda: not connection.transport.is_reading())
            assert not connection.transport.is_reading()
            taking.set()
            await peer.send(encode_frame(BINARY, b"y"))
            await settled(lambda: len(taken) == 6)
            assert taken == [b"x"] * 5 + [b"y"]

    run_clean(main)


def test_headers() -> None:
    async def main() -> None:
        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept", "headers": [(b"x-app", b"1"), (b"x-app", b"2")]})
            await receive()

        async with uvicorn_server(app, headers=[("X-Site", "here")]) as server, server.connect() as client:
            headers = client.response.headers
            assert headers.get_all("Server") == ["uvicorn"]
            assert headers["X-Site"] == "here"
            assert len(headers.get_all("Date")) == 1
            assert headers.get_all("X-App") == ["1", "2"]
        async with uvicorn_server(app, server_header=False, date_header=False) as server, server.connect() as client:
            assert "Server" not in client.response.headers
            assert "Date" not in client.response.headers

    run_clean(main)


def test_limit_concurrency() -> None:
    """uvicorn's own classes ignore it; as for HTTP, the connection that asks is counted."""

    async def main() -> None:
        async with uvicorn_server(echo, limit_concurrency=3) as server:
            async with server.connect(), server.connect() as second:
                with pytest.raises(trunkline.InvalidStatus) as refused:
                    await server.connect()
                assert refused.value.response.status_code == 503
                assert refused.value.response.body == b"Service Unavailable"
                assert refused.value.response.headers["Server"] == "uvicorn"
                await second.send("still here")
                assert await second.recv() == "still here"
            await settled(lambda: not server.connections)
            async with server.connect() as third:
                await third.send("room again")
                assert await third.recv() == "room again"

    run_clean(main)


def test_state_of_the_lifespan() -> None:
    async def main() -> None:
        async def app(scope: Any, receive: Receive, send: Send) -> None:
            if scope["type"] == "lifespan":
                scope["state"]["name"] = "Ada"
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
                return
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": scope["state"]["name"]})
            await receive()

        async with uvicorn_server(app, lifespan="on") as server, server.connect() as client:
            assert await client.recv() == "Ada"

    run_clean(main)


# --- the end ---


@both
def test_close_of_the_client(ws: Any) -> None:
    async def main() -> None:
        events: list[Any] = []
        async with uvicorn_server(recorder(events), ws) as server:
            async with server.connect() as client:
                await client.close(4000, "enough")
            async with await RawPeer.open(server.port) as peer:
                await peer.send(close_frame(None))
                assert await peer.read_close() is None
            peer = await RawPeer.open(server.port)
            peer.reset()
            await settled(lambda: len(events) == 6)
        ends = [event for event in events if event["type"] == "websocket.disconnect"]
        assert ends == [
            {"type": "websocket.disconnect", "code": 4000, "reason": "enough"},
            {"type": "websocket.disconnect", "code": 1005, "reason": ""},
            {"type": "websocket.disconnect", "code": 1006},
        ]

    run_clean(main)


@both
def test_shutdown_of_the_server(ws: Any) -> None:
    """A polite client, and one that does not answer a close frame: neither keeps the server."""

    async def main() -> None:
        events: list[Any] = []
        async with (
            uvicorn_server(recorder(events), ws) as server,
            server.connect() as client,
            await RawPeer.open(server.port) as silent,
        ):
            await server.stop()
            with pytest.raises(trunkline.ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
            assert await silent.read_close() == 1012
        ends = [event for event in events if event["type"] == "websocket.disconnect"]
        assert ends == [{"type": "websocket.disconnect", "code": 1012}] * 2

    run_clean(main)


def test_shutdown_before_the_application_has_decided() -> None:
    async def main() -> None:
        asked = asyncio.Event()
        ends: list[Any] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            asked.set()
            ends.append(await receive())
            with pytest.raises(OSError, match="the client is gone"):
                await send({"type": "websocket.accept"})

        async with uvicorn_server(app) as server:
            connecting = asyncio.create_task(server.connect().__aenter__())
            await asked.wait()
            await server.stop()
            with pytest.raises(trunkline.InvalidStatus) as refused:
                await connecting
            assert refused.value.response.status_code == 503
        assert ends == [{"type": "websocket.disconnect", "code": 1006}]

    run_clean(main)


def test_application_that_a_shutdown_cancels() -> None:
    """uvicorn cancels those that are late."""

    async def main() -> None:
        ended: list[str] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        async with uvicorn_server(app, timeout_graceful_shutdown=0) as server, server.connect():
            await server.stop()
        assert ended == ["cancelled"]

    run_clean(main)


def test_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with uvicorn_server(echo) as server, server.connect("/room?x=1"):
            pass

    with caplog.at_level(logging.INFO, "uvicorn.error"):
        run_clean(main)
    assert any('"WebSocket /room?x=1" [accepted]' in message for message in caplog.messages)


def test_without_uvicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "uvicorn":
            raise ImportError(f"No module named {name!r}")
        return original(name, *rest, **options)

    monkeypatch.delitem(sys.modules, "trunkline.uvicorn")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'trunkline\[uvicorn\]'"):
        importlib.import_module("trunkline.uvicorn")


if sys.version_info >= (3, 12):

    def test_eager_tasks() -> None:
        """An eager task accepts before uvicorn has handed the transport over."""

        async def main() -> None:
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            async with uvicorn_server(echo) as server, server.connect() as client:
                await client.send("hello")
                assert await client.recv() == "hello"
                [connection] = server.connections
                assert not connection.lost

        asyncio.run(main())


def test_frame_that_comes_with_the_answer() -> None:
    """A client may send as soon as it has the answer: nothing is lost while the socket changes hands."""

    async def main() -> None:
        async with uvicorn_server(echo) as server:
            for number in range(50):
                async with await RawPeer.open(server.port) as peer:
                    await peer.send(encode_frame(TEXT, str(number).encode()))
                    assert (await peer.read_frame()).payload == str(number).encode()

    run_clean(main)

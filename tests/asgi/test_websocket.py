"""One handler under every server: the connection of an endpoint of Starlette, ours below it or not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

import trunkline
import trunkline.asgi
from tests.support.asgi import WebSocketProtocol, uvicorn_server
from tests.support.loop import run_clean, settled
from tests.support.raw import RawPeer
from trunkline.asgi import ASGIWebSocket

servers = pytest.mark.parametrize("ws", [WebSocketProtocol, "websockets-sansio", "wsproto"], ids=str)
others = pytest.mark.parametrize("ws", ["websockets-sansio", "wsproto"])


def starlette(endpoint: Any) -> Starlette:
    return Starlette(routes=[WebSocketRoute("/{name}", endpoint)])


async def echo(connection: Any) -> None:
    """The handler that trunkline.serve would call."""
    async for message in connection:
        if message == "json":
            await connection.send_json({"path": connection.path, "name": connection.request.headers["X-Name"]})
        else:
            await connection.send(message)


@servers
def test_handler(ws: Any) -> None:
    async def main() -> None:
        kinds: list[Any] = []

        async def endpoint(websocket: WebSocket) -> None:
            async with trunkline.asgi.connection(websocket) as connection:
                kinds.append(type(connection))
                assert connection.open
                assert connection.remote_address[0] == "127.0.0.1"
                await echo(connection)
            assert connection.closed

        headers = {"X-Name": "Ada"}
        async with (
            uvicorn_server(starlette(endpoint), ws) as server,
            server.connect("/a%20b?x=1", additional_headers=headers) as client,
        ):
            for message in ("hello", b"\0\xff", "", "ü" * 50_000):
                await client.send(message)
                assert await client.recv() == message
            await client.send("json")
            assert await client.recv_json() == {"path": "/a%20b?x=1", "name": "Ada"}
        assert kinds == [WebSocketProtocol if ws is WebSocketProtocol else ASGIWebSocket]

    run_clean(main)


@servers
def test_connection_that_is_accepted_already_and_one_that_is_not(ws: Any) -> None:
    async def main() -> None:
        async def endpoint(websocket: WebSocket) -> None:
            if websocket.path_params["name"] == "accepted":
                await websocket.accept(subprotocol="chat")
            connection = trunkline.asgi.connection(websocket)
            assert (trunkline.asgi.connection(websocket) is connection) == (
                websocket.path_params["name"] == "accepted" or ws is not WebSocketProtocol
            )
            await echo(connection)

        async with uvicorn_server(starlette(endpoint), ws) as server:
            for name, subprotocol in [("accepted", "chat"), ("new", None)]:
                async with server.connect(f"/{name}", subprotocols=["chat"]) as client:
                    assert client.subprotocol == subprotocol
                    await client.send("hello")
                    assert await client.recv() == "hello"

    run_clean(main)


@servers
def test_broadcast(ws: Any) -> None:
    async def main() -> None:
        connections: set[Any] = set()

        async def endpoint(websocket: WebSocket) -> None:
            async with trunkline.asgi.connection(websocket) as connection:
                connections.add(connection)
                async for message in connection:
                    trunkline.broadcast(connections, message)
                    await connection.send("behind")
                connections.remove(connection)

        async with uvicorn_server(starlette(endpoint), ws) as server:
            async with server.connect("/a") as first, server.connect("/b") as second:
                await settled(lambda: len(connections) == 2)
                await first.send("to all")
                assert await first.recv() == "to all"
                assert await second.recv() == "to all"
                assert await first.recv() == "behind"
            await settled(lambda: not connections)
            assert not connections

    run_clean(main)


@others
def test_client_that_does_not_read(ws: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Broadcasts are bounded, `send_nowait` says no, and says when it takes messages again."""

    async def main() -> None:
        made: list[Any] = []
        writable: list[None] = []

        async def endpoint(websocket: WebSocket) -> None:
            async with trunkline.asgi.connection(websocket) as connection:
                connection.on_writable = lambda: writable.append(None)
                made.append(connection)
                async for _ in connection:
                    pass

        async with uvicorn_server(starlette(endpoint), ws) as server:
            async with await RawPeer.open(server.port, path="/a", receive_buffer=4096) as peer:
                await settled(lambda: bool(made))
                [connection] = made
                message = trunkline.PreparedMessage(bytes(100_000))
                for _ in range(200):
                    trunkline.broadcast([connection], message)
                    await asyncio.sleep(0)
                assert connection.skipped_broadcasts > 0
                assert connection.unsent() < 1_200_000
                assert not connection.send_nowait(message)
                while not writable:
                    await peer.read_exactly(10_000)
                assert connection.send_nowait(message)
            await settled(lambda: connection.closed)
            assert connection.closed
            assert not connection.send_nowait(message)
            assert connection.unsent() == 0

    run_clean(main)
    assert "skipped broadcast: the peer reads too slowly" in caplog.text


@others
def test_end_by_the_client(ws: Any) -> None:
    async def main() -> None:
        ends: list[Any] = []

        async def endpoint(websocket: WebSocket) -> None:
            connection = trunkline.asgi.connection(websocket)
            await connection.ensure_open()
            connection.on_closing = lambda: ends.append("closing")
            with pytest.raises(trunkline.ConnectionClosed) as closed:
                await connection.recv()
            ends.append((closed.value.rcvd, connection.close_code, connection.close_reason))
            for call in (connection.recv(), connection.send("too late")):
                with pytest.raises(trunkline.ConnectionClosed):
                    await call
            await connection.close()

        async with uvicorn_server(starlette(endpoint), ws) as server:
            async with server.connect("/a") as client:
                await client.close(4000, "enough")
            await settled(lambda: len(ends) == 2)
        assert ends == ["closing", (trunkline.Close(4000, "enough"), 4000, "enough")]

    run_clean(main)


@servers
def test_end_by_the_handler(ws: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def endpoint(websocket: WebSocket) -> None:
            async with trunkline.asgi.connection(websocket) as connection:
                match websocket.path_params["name"]:
                    case "code":
                        await connection.send("last words")
                        with pytest.raises(trunkline.ProtocolError):
                            await connection.close(1005)
                        await connection.close(4001, "bye")
                        assert (connection.close_code, connection.close_reason) == (4001, "bye")
                    case "error":
                        raise ZeroDivisionError

        async with uvicorn_server(starlette(endpoint), ws) as server:
            for name, code in [("end", 1000), ("code", 4001), ("error", 1011)]:
                async with server.connect(f"/{name}") as client:
                    if name == "code":
                        assert await client.recv() == "last words"
                    with pytest.raises(trunkline.ConnectionClosed) as closed:
                        await client.recv()
                    assert closed.value.rcvd is not None
                    assert closed.value.rcvd.code == code

    run_clean(main)
    assert "ZeroDivisionError" in caplog.text


@servers
def test_client_that_goes_away_is_no_fault_of_a_handler(ws: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        ended: list[None] = []

        async def endpoint(websocket: WebSocket) -> None:
            try:
                async with trunkline.asgi.connection(websocket) as connection:
                    await echo(connection)
            finally:
                ended.append(None)

        async with uvicorn_server(starlette(endpoint), ws) as server:
            peer = await RawPeer.open(server.port, path="/a")
            peer.reset()
            await settled(lambda: bool(ended))
            assert ended

    run_clean(main)
    assert "Exception" not in caplog.text


@others
def test_mistakes(ws: Any) -> None:
    async def main() -> None:
        async def endpoint(websocket: WebSocket) -> None:
            async with trunkline.asgi.connection(websocket) as connection:
                for message, error in [(5, TypeError), ("\ud800", UnicodeEncodeError)]:
                    with pytest.raises(error):
                        await connection.send(message)
                with pytest.raises(UnicodeDecodeError):
                    await connection.send(b"\xff", text=True)
                receiving = asyncio.create_task(connection.recv())
                await asyncio.sleep(0)
                with pytest.raises(trunkline.ConcurrencyError):
                    await connection.recv()
                await connection.send("still open")
                assert await receiving == "one"

        async with uvicorn_server(starlette(endpoint), ws) as server, server.connect("/a") as client:
            assert await client.recv() == "still open"
            await client.send("one")
            with pytest.raises(trunkline.ConnectionClosedOK):
                await client.recv()

    run_clean(main)

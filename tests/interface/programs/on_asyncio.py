"""A program on asyncio, in which type checkers know each type."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, assert_type

import trunkline
from trunkline import (
    ClientConnection,
    Connection,
    Headers,
    Origin,
    PreparedMessage,
    Request,
    Response,
    Server,
    ServerConnection,
    State,
    Subprotocol,
)
from trunkline.asyncio.client import connect, unix_connect
from trunkline.asyncio.server import basic_auth, broadcast, serve, unix_serve
from trunkline.exceptions import ConnectionClosed, InvalidStatus, WebSocketException


class Move:
    x: int


async def handler(ws: ServerConnection) -> None:
    assert_type(ws.server, Server)
    assert_type(ws.username, str)
    assert_type(ws.request, Request | None)
    assert_type(ws.state, State)
    assert_type(ws.subprotocol, Subprotocol | None)
    assert_type(ws.latency, float)
    async for message in ws:
        assert_type(message, str | bytes)
        await ws.send(message)
    async for fragment in ws.recv_streaming(decode=True):
        assert_type(fragment, str | bytes)


def process_request(connection: ServerConnection, request: Request) -> Response | None:
    assert_type(request.headers, Headers)
    return connection.respond(404, "no") if request.path == "/" else None


async def process_response(connection: ServerConnection, request: Request, response: Response) -> None:
    response.headers["X"] = "y"


def select(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return offered[0] if offered else None


class Mine(ClientConnection):
    """Overrides methods as programs do."""

    async def send(self, message: Any, *, text: bool | None = None, compress: bool | None = None) -> None:
        await super().send(message, text=text, compress=compress)

    async def recv(self, decode: bool | None = None) -> trunkline.Data:
        return await super().recv(decode)


async def serving() -> None:
    assert_type(trunkline.serve(handler), Server)
    async with serve(
        handler,
        "localhost",
        8765,
        origins=[Origin("https://example.com"), re.compile("https://.*"), None],
        subprotocols=[Subprotocol("chat")],
        select_subprotocol=select,
        process_request=process_request,
        process_response=process_response,
        max_size=(2**20, 2**16),
        backlog=100,
    ) as server:
        assert_type(server, Server)
        assert_type(server.connections, set[ServerConnection])
        broadcast(server.connections, PreparedMessage("hello"), raise_exceptions=True)
        server.close(code=1001, reason="bye")
        await server.serve_forever()
    assert_type(await serve(handler, process_request=basic_auth("realm", ("ada", "secret"))), Server)
    assert_type(await unix_serve(handler, "/tmp/socket"), Server)


async def connecting() -> None:
    async with connect("ws://localhost", create_connection=Mine, additional_headers={"X": "y"}) as ws:
        assert_type(ws, ClientConnection)
        assert_type(await ws.recv(), str | bytes)
        assert_type(await ws.recv_json(Move), Move)
        await ws.send_json(await ws.recv_json())
        await ws.drain()
        pong = await ws.ping()
        assert_type(await pong, float)
        assert_type(ws.send_nowait(PreparedMessage("x")), bool)
        await ws.close(1000, "done")
    assert_type(await connect("ws://localhost"), ClientConnection)
    assert_type(await unix_connect("/tmp/socket"), ClientConnection)
    async for again in connect("ws://localhost"):
        assert_type(again, ClientConnection)


async def tasks(ws: Connection) -> None:
    sending = [asyncio.create_task(ws.send("a")), asyncio.ensure_future(ws.send(b"b", text=True))]
    await asyncio.wait(sending)
    async with asyncio.TaskGroup() as group:
        receiving = group.create_task(ws.recv())
    assert_type(receiving.result(), str | bytes)
    await asyncio.gather(*(each.send("x") for each in [ws, ws]))
    asyncio.run_coroutine_threadsafe(ws.send("x"), asyncio.get_running_loop()).result()
    assert_type(await asyncio.wait_for(ws.recv(), 10), str | bytes)


async def failing(ws: Connection) -> None:
    try:
        await ws.wait_closed()
    except ConnectionClosed as error:
        assert_type(error.rcvd, trunkline.Close | None)
    except InvalidStatus as error:
        assert_type(error.response, Response)
    except WebSocketException:
        pass

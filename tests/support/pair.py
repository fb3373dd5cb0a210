"""Both ends of a connection of ours in one event loop, and servers on free ports."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import trunkline
from tests.support.raw import RawPeer
from trunkline.asyncio.client import ClientConnection
from trunkline.asyncio.server import Server, ServerConnection


async def echo(ws: ServerConnection) -> None:
    """A handler that sends back what it receives."""
    async for message in ws:
        await ws.send(message)


async def idle(ws: ServerConnection) -> None:
    """A handler that waits for the end."""
    await ws.wait_closed()


def port_of(server: Server) -> int:
    """The TCP port of a server."""
    port: int = server.sockets[0].getsockname()[1]
    return port


def serve(handler: Any = echo, **options: Any) -> Any:
    """A server on a free port of this machine, without compression unless asked for."""
    return trunkline.serve(handler, "127.0.0.1", 0, **({"compression": None} | options))


def connect(to: Server | int, path: str = "/", **options: Any) -> Any:
    """A client of a server, or of a port, of this machine; neither proxy nor compression unless asked for."""
    port = to if isinstance(to, int) else port_of(to)
    return trunkline.connect(f"ws://127.0.0.1:{port}{path}", **({"compression": None, "proxy": None} | options))


class Accepted:
    """A handler that hands its connection to the test."""

    def __init__(self) -> None:
        self._connection: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()

    async def __call__(self, ws: ServerConnection) -> None:
        self._connection.set_result(ws)
        await ws.wait_closed()

    async def connection(self) -> ServerConnection:
        return await asyncio.wait_for(self._connection, 10)


@contextlib.asynccontextmanager
async def pair(
    client_options: dict[str, Any] | None = None, **server_options: Any
) -> AsyncIterator[tuple[ClientConnection, ServerConnection]]:
    """Both ends of one connection; without `client_options` both have the same options."""
    accepted = Accepted()
    options = server_options if client_options is None else client_options
    async with serve(accepted, **server_options) as server, connect(server, **options) as client:
        yield client, await accepted.connection()


@contextlib.asynccontextmanager
async def raw_pair(*headers: str, **options: Any) -> AsyncIterator[tuple[RawPeer, ServerConnection]]:
    """A raw client that hardly buffers, and the server's end of its connection."""
    accepted = Accepted()
    async with (
        serve(accepted, **options) as server,
        await RawPeer.open(port_of(server), *headers, receive_buffer=4096) as peer,
    ):
        yield peer, await accepted.connection()


async def start(awaitable: Any) -> asyncio.Task[Any]:
    """A task that has run until it waits."""
    task = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def blocked_send(ws: Any) -> asyncio.Task[None]:
    """A task that waits in `send`, as its peer does not read."""

    async def pour() -> None:
        while True:
            await ws.send(b"x" * 65536)

    task = asyncio.create_task(pour())
    done, _ = await asyncio.wait([task], timeout=0.3)
    assert not done
    return task

"""Connections on trio for tests: over TCP, over memory, and with a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from trunkline.core.session import Side
from trunkline.options import Options
from trunkline.testing.wire import Incoming, RawFrame, encode_frame, random_mask
from trunkline.trio.client import connect
from trunkline.trio.connection import Connection
from trunkline.trio.server import Server, serve


def run(main: Callable[[], Awaitable[None]], *, fake_clock: bool = False) -> None:
    """Run a test; with `fake_clock` time jumps whenever all tasks wait, else it may take 20 seconds."""

    async def bounded() -> None:
        with trio.fail_after(10_000 if fake_clock else 20):
            await main()

    trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0) if fake_clock else None)


async def echo(ws: Any) -> None:
    async for message in ws:
        await ws.send(message)


def port_of(server: Server) -> int:
    port: int = server.listeners[0].socket.getsockname()[1]  # type: ignore[attr-defined]
    return port


def uri_of(server: Server, path: str = "/") -> str:
    return f"ws://127.0.0.1:{port_of(server)}{path}"


@asynccontextmanager
async def serving(handler: Any = echo, **options: Any) -> AsyncIterator[Server]:
    """A server on a free port of this machine."""
    async with trio.open_nursery() as nursery:

        async def run_server(task_status: Any) -> None:
            await serve(handler, 0, host="127.0.0.1", task_status=task_status, **options)

        server = await nursery.start(run_server)
        yield server
        await server.aclose()


def connecting(server: Server, path: str = "/", **options: Any) -> Any:
    return connect(uri_of(server, path), **({"proxy": None} | options))


class MemoryPeer:
    """The other end of a connection over memory, frame by frame."""

    def __init__(self, stream: trio.abc.Stream, side: Side) -> None:
        self.stream = stream
        self.side = side
        self.incoming = Incoming()

    async def send_frame(self, opcode: int, payload: bytes = b"", **fields: Any) -> None:
        fields.setdefault("mask", random_mask() if self.side is Side.CLIENT else None)
        await self.stream.send_all(encode_frame(opcode, payload, **fields))

    async def read_frame(self) -> RawFrame:
        while (frame := self.incoming.take_frame()) is None:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self.incoming.feed(data)
        return frame._replace(mask=None)


@asynccontextmanager
async def memory_link(side: Side = Side.SERVER, **options: Any) -> AsyncIterator[tuple[Connection, MemoryPeer]]:
    """An open connection over memory without keepalive, and its peer."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        connection = Connection(nursery, ours, side, Options(**({"ping_interval": None} | options)))
        connection.start(None, [], b"")
        yield connection, MemoryPeer(theirs, Side.CLIENT if side is Side.SERVER else Side.SERVER)
        nursery.cancel_scope.cancel()

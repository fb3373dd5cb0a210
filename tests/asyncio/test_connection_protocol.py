"""Connections made around a `Protocol`, as tests of programs on websockets make them: the same there and here."""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

MS = 0.001


class Library:
    """The names that a test uses, from trunkline or from websockets."""

    def __init__(self, name: str) -> None:
        self.Connection = importlib.import_module(f"{name}.asyncio.connection").Connection
        self.broadcast = importlib.import_module(f"{name}.asyncio.connection").broadcast
        self.ClientConnection = importlib.import_module(f"{name}.asyncio.client").ClientConnection
        self.ClientProtocol = importlib.import_module(f"{name}.client").ClientProtocol
        self.protocol = importlib.import_module(f"{name}.protocol")
        self.exceptions = importlib.import_module(f"{name}.exceptions")
        self.Extension = importlib.import_module(f"{name}.extensions").Extension
        self.parse_uri = importlib.import_module(f"{name}.uri").parse_uri
        self.serve = importlib.import_module(f"{name}.asyncio.server").serve


def recording(library: Library) -> Any:
    """A protocol that keeps the frames it receives."""

    class Recording(library.protocol.Protocol):  # type: ignore[name-defined, misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.frames: list[Any] = []

        def recv_frame(self, frame: Any) -> None:
            self.frames.append((frame.opcode.name, bytes(frame.data), frame.fin))
            super().recv_frame(frame)

    return Recording


class Intercepted:
    """A transport that can be told to lose what is written."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.drop = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        if not self.drop:
            self.transport.write(data)

    def write_eof(self) -> None:
        if not self.drop:
            self.transport.write_eof()


@asynccontextmanager
async def connected(library: Library, **options: Any) -> AsyncIterator[tuple[Any, Any]]:
    """A client's end under test, and a server's end that records, on a pair of sockets."""

    class Remote(library.Connection):  # type: ignore[name-defined, misc]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(Intercepted(transport))

    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    client, server = library.protocol.Side.CLIENT, library.protocol.Side.SERVER
    options = {"close_timeout": 50 * MS} | options
    _, local = await loop.create_connection(
        lambda: library.Connection(library.protocol.Protocol(client), **options), sock=ours
    )
    _, remote = await loop.create_connection(lambda: Remote(recording(library)(server)), sock=theirs)
    try:
        yield local, remote
    finally:
        await local.close()
        await remote.close()


async def frames(remote: Any, count: int) -> list[Any]:
    """The next frames that the remote end receives."""
    async with asyncio.timeout(5):
        while len(remote.protocol.frames) < count:
            await asyncio.sleep(MS)
    received, remote.protocol.frames = remote.protocol.frames, []
    return list(received)


async def closed(library: Library, waiting: Coroutine[Any, Any, Any]) -> tuple[str, str, str]:
    """The exception of a call that the end of the connection interrupts."""
    with pytest.raises(library.exceptions.ConnectionClosed) as caught:
        await waiting
    return type(caught.value).__name__, str(caught.value), type(caught.value.__cause__).__name__


async def messages(library: Library) -> Any:
    async with connected(library) as (local, remote):
        await local.send("text")
        await local.send(bytearray(b"binary"))
        await local.send(["two", "fragments"])
        yield await frames(remote, 5)
        await remote.send("text")
        await remote.send([b"two", b"fragments"])
        yield await local.recv(), await local.recv()


async def pings(library: Library) -> Any:
    async with connected(library) as (local, remote):
        pong = await local.ping("payload")
        latency = await pong
        yield await frames(remote, 1), latency == local.latency
        await local.pong(b"unsolicited")
        yield await frames(remote, 1)


async def attributes(library: Library) -> Any:
    async with connected(library) as (local, _):
        yield local.state.name, local.protocol.state.name, local.protocol.side.name, local.subprotocol, local.request
        yield local.protocol.extensions, local.close_code, local.protocol.close_code, local.ping_interval
        await local.close(4000, "bye")
        yield local.close_code, local.close_reason, str(local.protocol.close_exc), str(local.close_exc)


async def closing(library: Library) -> Any:
    async with connected(library) as (local, remote):
        receiving = asyncio.ensure_future(closed(library, local.recv()))
        await asyncio.sleep(0)
        await remote.close(1001, "going")
        yield await receiving
        yield await closed(library, local.send("late"))
    async with connected(library) as (local, remote):
        with pytest.raises(ZeroDivisionError):
            async with local:
                1 / 0  # noqa: B018
        yield await frames(remote, 1)


async def failures(library: Library) -> Any:
    async with connected(library) as (local, remote):
        remote.transport.write(b"\x83\x00")
        yield await closed(library, local.recv())
    async with connected(library) as (local, remote):
        remote.transport.abort()
        yield await closed(library, local.recv())
    async with connected(library) as (local, remote):
        remote.transport.drop = True
        await local.close()
        yield local.close_code, str(local.close_exc), repr(local.close_exc.__cause__)


async def transports_that_others_use(library: Library) -> Any:
    async with connected(library) as (local, remote):
        local.transport.write_eof()
        await remote.ping()  # the answer can't leave
        yield await closed(library, local.recv())
    for call in (lambda local: local.pong(), lambda local: local.send("text"), lambda local: local.send(["text"])):
        async with connected(library) as (local, _):
            local.transport.write_eof()
            yield await closed(library, call(local))


async def broadcasts_that_fail(library: Library) -> Any:
    async with connected(library) as (local, _):
        local.transport.write_eof()
        with pytest.raises(ExceptionGroup) as caught:
            library.broadcast([local], "text", raise_exceptions=True)
        [error] = caught.value.exceptions
        yield str(caught.value), repr(error), repr(error.__cause__)


async def extensions_that_fail(library: Library) -> Any:
    class Failing(library.Extension):  # type: ignore[name-defined, misc]
        name = "x-failing"

        def decode(self, frame: Any, *, max_size: int | None = None) -> Any:
            raise ZeroDivisionError

        def encode(self, frame: Any) -> Any:
            return frame

    async with connected(library) as (local, remote):
        local.protocol.extensions = [Failing()]
        await remote.send("text")
        yield await closed(library, local.recv())
        yield await closed(library, remote.recv())


async def iterators(library: Library) -> Any:
    async with connected(library) as (local, remote):
        for message in ("one", "two"):
            await remote.send(message)
        iterator = aiter(local)
        async with aclosing(iterator):
            yield await anext(iterator)
        with pytest.raises(StopAsyncIteration):
            await anext(iterator)
        yield await anext(aiter(local)), local.state.name


async def receiving_twice(library: Library) -> Any:
    async def stream(ws: Any) -> None:
        async for _ in ws.recv_streaming():
            pass

    for first in (lambda ws: ws.recv(), stream):
        async with connected(library) as (local, _):
            receiving = asyncio.ensure_future(closed(library, first(local)))
            await asyncio.sleep(0)
            for second in (local.recv(), stream(local)):
                with pytest.raises(library.exceptions.ConcurrencyError) as caught:
                    await second
                yield str(caught.value)
            await local.close()
            await receiving


async def keepalive(library: Library) -> Any:
    async with connected(library, ping_interval=20 * MS, ping_timeout=20 * MS) as (local, remote):
        local.start_keepalive()
        [(opcode, data, _)] = await frames(remote, 1)
        yield opcode, len(data), local.keepalive_task.done()
        remote.transport.drop = True
        yield (await closed(library, local.recv()))[:2]
    async with connected(library, ping_interval=MS) as (local, remote):
        await asyncio.sleep(10 * MS)
        yield remote.protocol.frames  # no test started it


async def handshake(library: Library) -> Any:
    async def handler(ws: Any) -> None:
        await ws.send(ws.request.headers["X-A"])
        await ws.wait_closed()

    async with library.serve(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        uri = library.parse_uri(f"ws://127.0.0.1:{port}/path")
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(
            lambda: library.ClientConnection(library.ClientProtocol(uri), max_queue=4), "127.0.0.1", port
        )
        await client.handshake({"X-A": "hello"}, "agent")
        yield client.state.name, client.request.path, client.request.headers["User-Agent"], client.response.status_code
        yield await client.recv()
        await client.close()


SCENARIOS: list[Callable[[Library], AsyncIterator[Any]]] = [
    messages, pings, attributes, closing, failures, transports_that_others_use, broadcasts_that_fail,
    extensions_that_fail, iterators, receiving_twice, keepalive, handshake,
]  # fmt: skip


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_same_as_websockets(scenario: Callable[[Library], AsyncIterator[Any]]) -> None:
    async def seen(name: str) -> list[Any]:
        return [item async for item in scenario(Library(name))]

    ours = asyncio.run(seen("trunkline"))
    assert ours
    assert ours == asyncio.run(seen("websockets"))

"""Programs in memory: everything but the sockets is real, and time is what the loop says."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import trunkline
from trunkline import ConnectionClosedError, connect, serve, unix_connect, unix_serve
from trunkline.testing import memory

URL = "ws://chat.example.com:8765/"


async def echo(ws: Any) -> None:
    async for message in ws:
        await ws.send(message)


async def idle(ws: Any) -> None:
    await ws.wait_closed()


def in_memory(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that runs in memory."""

    def run() -> None:
        memory.run(test())

    run.__name__ = test.__name__
    return run


@asynccontextmanager
async def linked(handler: Any = echo, **options: Any) -> AsyncIterator[Any]:
    async with serve(handler, "localhost", 8765), connect(URL, proxy=None, **options) as ws:
        yield ws


class SilentPeer(asyncio.Protocol):
    """Never answers."""

    def __init__(self) -> None:
        self.received = b""
        self.closed = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set_result(error)


def now() -> float:
    return asyncio.get_running_loop().time()


@in_memory
async def test_a_conversation_without_sockets() -> None:
    files = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else []
    async with linked() as ws:
        for message in ("text", b"bytes", "x" * 300_000):
            await ws.send(message)
            assert await ws.recv() == message
        assert ws.remote_address == ("127.0.0.1", 8765)
        assert not files or len(os.listdir("/proc/self/fd")) == len(files)
    assert ws.close_code == 1000


@in_memory
async def test_the_opening_handshake_is_real() -> None:
    login = trunkline.basic_auth("chat", ("ann", "secret"))
    async with serve(echo, "", 8765, process_request=login, subprotocols=["chat"]):
        with pytest.raises(trunkline.InvalidStatus) as caught:
            await connect(URL, proxy=None)
        assert caught.value.response.status_code == 401
        uri = URL.replace("chat.", "ann:secret@chat.")
        async with connect(uri, proxy=None, subprotocols=["chat"]) as ws:
            assert ws.subprotocol == "chat"


def test_waiting_takes_no_time() -> None:
    async def wait() -> tuple[float, float]:
        async with linked() as ws:
            await asyncio.sleep(24 * 3600)
            await ws.send("still there?")
            assert await ws.recv() == "still there?"
            return now(), ws.latency

    start = time.process_time()
    assert memory.run(wait()) == (24 * 3600, 0.0)
    assert memory.run(wait()) == (24 * 3600, 0.0), "and it is the same each time"
    assert time.process_time() - start < 60, "of CPU, for two days"


@in_memory
async def test_keepalive_gives_up_a_silent_peer() -> None:
    accepted = asyncio.get_running_loop().create_future()

    async def handler(ws: Any) -> None:
        accepted.set_result(ws)
        with pytest.raises(ConnectionClosedError, match="keepalive ping timeout"):
            await ws.recv()

    async with serve(handler, "", 8765, ping_interval=20, ping_timeout=30, close_timeout=5):
        transport, peer = await asyncio.get_running_loop().create_connection(SilentPeer, "", 8765)
        transport.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        ws = await accepted
        await ws.wait_closed()
        # Deadlines of a server may be put off by 1/32, so that many share a timer.
        assert 50 <= now() <= 50 * 33 / 32
        await peer.closed
        assert b"keepalive ping timeout" in peer.received


@in_memory
async def test_a_server_that_does_not_answer() -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(SilentPeer, "", 8765)
    with pytest.raises(TimeoutError, match="opening handshake"):
        await connect(URL, proxy=None, open_timeout=10)
    assert now() == 10


@in_memory
async def test_reconnecting_waits_between_attempts() -> None:
    attempts = 0

    def count(error: Exception) -> None:
        nonlocal attempts
        assert isinstance(error, ConnectionRefusedError)
        attempts += 1

    async def reconnect() -> None:
        async for _ in connect(URL, proxy=None, process_exception=count):
            raise AssertionError("nobody listens")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reconnect(), 600)
    assert 600 / 90 < attempts < 30, "delays grow to 90 s"


@in_memory
async def test_send_waits_for_a_peer_that_does_not_read() -> None:
    reading = asyncio.Event()
    received = []

    async def handler(ws: Any) -> None:
        await reading.wait()
        async for message in ws:
            received.append(len(message))

    async with linked(handler, write_limit=1 << 15, compression=None) as ws:
        sending = [asyncio.create_task(ws.send(bytes(1 << 19))) for _ in range(40)]
        await asyncio.sleep(1)
        assert not all(task.done() for task in sending)
        reading.set()
        await asyncio.gather(*sending)
    assert received == [1 << 19] * 40


@in_memory
async def test_a_cut_connection() -> None:
    ended = asyncio.get_running_loop().create_future()

    async def handler(ws: Any) -> None:
        try:
            await ws.recv()
        except ConnectionClosedError as error:
            ended.set_result(error)

    async with linked(handler) as ws:
        ws.transport.abort()
        assert isinstance((await ended).__cause__, ConnectionResetError)
        assert ws.close_code == 1006


@in_memory
async def test_ends_of_streams() -> None:
    """Each half ends for itself; earlier bytes still arrive."""
    loop = asyncio.get_running_loop()
    servers: list[Any] = []

    class HalfOpen(SilentPeer):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            servers.append(self)

        def eof_received(self) -> bool:
            self.transport.write(b"the rest")
            self.transport.close()
            return True

    await loop.create_server(HalfOpen, "", 1)
    transport, peer = await loop.create_connection(SilentPeer, "", 1)
    transport.write(b"question")
    transport.write_eof()
    with pytest.raises(RuntimeError, match="write_eof"):
        transport.write(b"more")
    assert await peer.closed is None
    assert (peer.received, servers[0].received) == (b"the rest", b"question")


@in_memory
async def test_unix_sockets() -> None:
    async with unix_serve(echo, "/run/chat"), unix_connect("/run/chat") as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"


@in_memory
async def test_what_can_not_be_had() -> None:
    with pytest.raises(ConnectionRefusedError, match="nobody listens on 8765"):
        await connect(URL, proxy=None)
    with pytest.raises(ValueError, match="ssl can't be used in memory"):
        await connect("wss://example.com", proxy=None)
    async with serve(idle, "", 8765):
        with pytest.raises(OSError, match="another server listens on 8765"):
            await serve(idle, "", 8765)
    async with serve(idle, "", 0) as first, serve(idle, "", 0) as second:
        assert first.sockets[0].getsockname() != second.sockets[0].getsockname()


@in_memory
async def test_threads_have_the_time_they_need() -> None:
    async with asyncio.timeout(0.001):
        assert await asyncio.to_thread(lambda: (time.sleep(0.05), "done")[1]) == "done"


def test_a_test_that_stalls_fails_at_once() -> None:
    async def stall() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="nothing can happen any more"):
        memory.run(stall())

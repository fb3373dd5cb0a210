"""Peers and applications that do not keep up: what is in flight stays bounded, and others are served."""

from __future__ import annotations

import asyncio
import os

import pytest

import trunkline
from tests.robustness.conftest import serves
from tests.support.process import MIB, server_process
from tests.support.raw import (
    BINARY,
    PING,
    PONG,
    TEXT,
    RawFrame,
    RawPeer,
    accept_handshake,
    encode_frame,
    request,
    scripted_server,
)
from trunkline.asyncio.server import ServerConnection

FLOOD = 64 * MIB


async def flood(port: int, frame: bytes) -> int:
    """Send this frame without ever reading, until the server stops us; another client must be served meanwhile."""
    async with await RawPeer.open(port, receive_buffer=4096) as peer:
        chunk = frame * max(1, 65536 // len(frame))
        sent = await peer.send_until_blocked(chunk, limit=FLOOD)
        assert await serves(port)
        return sent


def test_row09_ping_flood_of_a_peer_that_does_not_read() -> None:
    # Whether pongs are held back or the latest ping alone is answered (RFC 6455 section 5.5.3), memory is bounded.
    with server_process("echo") as server, server.memory_bounded(16):
        asyncio.run(flood(server.port, encode_frame(PING, b"p" * 125)))


def test_row09_client_that_is_flooded_with_pings() -> None:
    pings = encode_frame(PING, b"p" * 125, mask=None) * 512
    flooded = asyncio.Event()

    async def script(peer: RawPeer) -> None:
        await accept_handshake(peer)
        await peer.send_until_blocked(pings, limit=16 * MIB)
        flooded.set()
        await peer.read_to_eof()

    async def main() -> None:
        async with (
            scripted_server(script) as port,
            trunkline.connect(f"ws://127.0.0.1:{port}", proxy=None, close_timeout=0.1) as ws,
        ):
            await flooded.wait()
            assert ws.transport.get_write_buffer_size() < MIB

    asyncio.run(main())


@pytest.mark.parametrize("size", [32, 256 * 1024], ids=["small", "large"])
def test_row10_slow_reader_of_echoes(size: int) -> None:
    with server_process("echo") as server, server.memory_bounded(24):
        assert asyncio.run(flood(server.port, encode_frame(BINARY, b"e" * size))) < FLOOD


@pytest.mark.parametrize("size", [32, 256 * 1024], ids=["small", "large"])
def test_row11_slow_application(size: int) -> None:
    async def main(port: int) -> int:
        async with await RawPeer.open(port) as peer:
            frame = encode_frame(BINARY, b"e" * size)
            return await peer.send_until_blocked(frame * max(1, 65536 // len(frame)), limit=FLOOD)

    with server_process("idle") as server, server.memory_bounded(24):
        assert asyncio.run(main(server.port)) < FLOOD


def test_row11_reading_resumes_when_the_application_catches_up() -> None:
    total = 2000
    catch_up = asyncio.Event()
    received: list[int] = []

    async def handler(ws: ServerConnection) -> None:
        await catch_up.wait()
        received.extend([len(message) async for message in ws])

    async def main() -> None:
        async with (
            trunkline.serve(handler, "127.0.0.1", 0, max_queue=4, compression=None) as server,
            await RawPeer.open(server.sockets[0].getsockname()[1]) as peer,
        ):
            sending = asyncio.create_task(peer.send(encode_frame(BINARY, b"e" * 65536) * 200, patience=60))
            done, _ = await asyncio.wait([sending], timeout=0.5)
            assert not done
            catch_up.set()
            await sending
            await peer.send(encode_frame(BINARY) * (total - 200), encode_frame(0x8))
            await peer.read_close()
        assert len(received) == total
        assert sum(received) == 200 * 65536

    asyncio.run(main())


def test_row12_send_waits_for_a_peer_that_does_not_read() -> None:
    async def main() -> None:
        outcome: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()

        async def handler(ws: ServerConnection) -> None:
            sent = 0
            try:
                async with asyncio.timeout(1):
                    while True:
                        await ws.send(b"x" * 65536)
                        sent += 65536
            except TimeoutError:
                outcome.set_result((sent, ws.transport.get_write_buffer_size()))
            ws.transport.abort()

        async with (
            trunkline.serve(handler, "127.0.0.1", 0, compression=None) as server,
            await RawPeer.open(server.sockets[0].getsockname()[1], receive_buffer=4096),
        ):
            sent, buffered = await asyncio.wait_for(outcome, 10)
        assert sent < FLOOD  # what fits in the buffers of the kernel
        assert buffered < MIB

    asyncio.run(main())


def test_row12_server_that_pours_at_a_peer_that_does_not_read() -> None:
    async def main(port: int) -> None:
        async with await RawPeer.open(port, receive_buffer=4096) as peer:
            async with await RawPeer.connect(port) as other:
                await other.send(request())
                assert (await other.read_head()).startswith(b"HTTP/1.1 101 ")
            assert await peer.read_frame() == RawFrame(BINARY, b"x" * 65536)

    with server_process("pour") as server, server.memory_bounded(16):
        asyncio.run(main(server.port))


def test_row12_broadcast_neither_blocks_nor_buffers_without_end() -> None:
    async def main(port: int) -> None:
        async with await RawPeer.open(port, receive_buffer=4096) as peer:
            await peer.send(encode_frame(TEXT, b"publish"))
            async with await RawPeer.open(port) as other:
                await other.send(encode_frame(TEXT, b"done?"))
                assert await other.read_frame() == RawFrame(TEXT, b"published")

    with server_process("publish") as server, server.memory_bounded(40):
        asyncio.run(main(server.port))


def test_row16_unsolicited_pongs_are_ignored() -> None:
    async def main(port: int) -> None:
        async with await RawPeer.open(port) as peer:
            await peer.send(encode_frame(PONG, os.urandom(125)) * 10_000, encode_frame(TEXT, b"hello"))
            assert await peer.read_frame() == RawFrame(TEXT, b"hello")

    with server_process("echo") as server, server.memory_bounded(8):
        asyncio.run(main(server.port))

"""A peer that speaks bytes on asyncio, for tests that must send what no well-behaved library would send.

It is `trunkline.testing.Peer` for tests that are coroutines. It reads only when the test asks it to. So a test that
does not call a read method has a peer that does not read. Every read and write is bounded by `PATIENCE`, so a hang
becomes a `TimeoutError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

from trunkline.testing.peer import PATIENCE
from trunkline.testing.wire import *  # noqa: F403  # tests import them from here, beside the peer
from trunkline.testing.wire import CLOSE, Incoming, RawFrame, request, status_of, switching_protocols


class RawPeer:
    """One TCP connection whose bytes the test writes and reads itself."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # a Unix socket has no such option
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.incoming = Incoming()

    @classmethod
    async def connect(cls, port: int, *, receive_buffer: int | None = None) -> Self:
        """Open a TCP connection to a port of this machine. A small receive buffer lets a writer feel a slow reader."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port)), PATIENCE)
        return cls(sock)

    @classmethod
    async def open(cls, port: int, *headers: str, path: str = "/", receive_buffer: int | None = None) -> Self:
        """Open a WebSocket connection: TCP and the opening handshake."""
        peer = await cls.connect(port, receive_buffer=receive_buffer)
        await peer.send(request(*headers, path=path))
        head = await peer.read_head()
        assert status_of(head) == 101, head
        return peer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    async def send(self, *data: bytes, patience: float = PATIENCE) -> None:
        """Write bytes; TimeoutError when the other side doesn't take them."""
        await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(self.sock, b"".join(data)), patience)

    async def send_until_blocked(self, chunk: bytes, *, limit: int, patience: float = 1.5) -> int:
        """Write `chunk` again and again until the other side stops reading or closes, at most `limit` bytes.

        Returns the number of bytes written, at least `limit` when nothing stopped us.
        """
        loop = asyncio.get_running_loop()
        sent = 0
        while sent < limit:
            try:
                await asyncio.wait_for(loop.sock_sendall(self.sock, chunk), patience)
            except (TimeoutError, ConnectionError):
                break
            sent += len(chunk)
        return sent

    async def _receive(self) -> bool:
        """Read once; False at the end of the stream."""
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, 1 << 16), PATIENCE)
        self.incoming.feed(data)
        return bool(data)

    async def read_exactly(self, size: int) -> bytes:
        """Read that many bytes; EOFError when the stream ends before."""
        while len(self.incoming) < size:
            if not await self._receive():
                raise EOFError(f"stream ended after {len(self.incoming)} of {size} bytes")
        return self.incoming.take(size)

    async def read_head(self) -> bytes:
        """Read the head of an HTTP message, with the empty line that ends it."""
        while (head := self.incoming.take_head()) is None:
            if not await self._receive():
                raise EOFError(f"stream ended within a head: {bytes(self.incoming.buffer)!r}")
        return head

    async def read_frame(self) -> RawFrame:
        """Read one frame; EOFError when the stream ends before."""
        while (frame := self.incoming.take_frame()) is None:
            if not await self._receive():
                raise EOFError(f"stream ended after {len(self.incoming)} bytes of a frame")
        return frame

    async def read_close(self) -> int | None:
        """Skip frames until a Close frame; its code."""
        while (frame := await self.read_frame()).opcode != CLOSE:
            pass
        return frame.close_code

    async def read_to_eof(self) -> bytes:
        """Read until the other side closes or resets the connection."""
        with contextlib.suppress(ConnectionError):
            while await self._receive():
                pass
        return self.incoming.take(len(self.incoming))

    async def outcome(self) -> int | None:
        """The last answer of the other side: an HTTP status, or None when it closes without a word."""
        data = await self.read_to_eof()
        return status_of(data) if data.startswith(b"HTTP/") else None

    def reset(self) -> None:
        """Close with a TCP RST rather than a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


Script = Callable[[RawPeer], Awaitable[None]]


@contextlib.asynccontextmanager
async def scripted_server(script: Script) -> AsyncIterator[int]:
    """Listen on a free port and run `script` for each TCP connection; yields the port.

    An exception of a script is raised when the context ends, unless it only says that the client went away.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    scripts: list[asyncio.Task[None]] = []

    async def run(peer: RawPeer) -> None:
        async with peer:
            with contextlib.suppress(ConnectionError, EOFError):
                await script(peer)

    async def accept() -> None:
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(listener)
            scripts.append(asyncio.create_task(run(RawPeer(sock))))

    accepting = asyncio.create_task(accept())
    try:
        yield listener.getsockname()[1]
    finally:
        accepting.cancel()
        listener.close()
        for task in scripts:
            if not task.done():
                task.cancel()
        results = await asyncio.gather(accepting, *scripts, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def accept_handshake(peer: RawPeer, *headers: str) -> bytes:
    """The server's part of a good opening handshake; returns the head of the request."""
    head = await peer.read_head()
    await peer.send(switching_protocols(head, *headers))
    return head

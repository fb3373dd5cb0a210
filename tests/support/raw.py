"""A peer that speaks bytes, for tests that must send what no well-behaved library would send.

It knows how to lay out a frame (RFC 6455 section 5.2) and nothing about what is allowed: the test decides. It reads
only when the test asks it to, so that "a peer that does not read" is simply a test that does not call a read method.
Every read and write is bounded by `PATIENCE`, so a hang becomes a `TimeoutError`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import NamedTuple, Self

PATIENCE = 10.0
"""Seconds after which a read or a write that should have completed counts as hung."""

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The Sec-WebSocket-Key of RFC 6455 section 1.3."""


class RawFrame(NamedTuple):
    """A frame as it was on the wire, unmasked."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0
    mask: bytes | None = None

    @property
    def close_code(self) -> int | None:
        """The code of a Close frame, None when its body is empty."""
        assert self.opcode == CLOSE, f"not a Close frame: {self}"
        return int.from_bytes(self.payload[:2], "big") if self.payload else None


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """XOR `payload` with the repeated 4-byte `mask` (RFC 6455 section 5.3)."""
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


def encode_length(length: int, width: int | None = None) -> bytes:
    """The 7, 16 or 64 bits of a length; `width` (0, 2 or 8 extra bytes) forces a form that is not the shortest."""
    if width is None:
        width = 0 if length < 126 else 2 if length < 65536 else 8
    match width:
        case 0:
            return bytes([length])
        case 2:
            return b"\x7e" + struct.pack("!H", length)
        case _:
            return b"\x7f" + struct.pack("!Q", length)


def encode_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = b"\x37\xfa\x21\x3d",
    length: int | None = None,
    width: int | None = None,
) -> bytes:
    """One frame. `length` declares another length than the payload has; `mask=None` sends it unmasked."""
    head = bytes([fin << 7 | rsv | opcode])
    size = bytearray(encode_length(len(payload) if length is None else length, width))
    if mask is None:
        return head + size + payload
    size[0] |= 0x80
    return head + size + mask + apply_mask(payload, mask)


def close_frame(code: int | None = 1000, reason: bytes = b"", *, mask: bytes | None = b"mask") -> bytes:
    """A Close frame; `code=None` leaves the body empty."""
    return encode_frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason, mask=mask)


def request(*headers: str, path: str = "/", host: str = "localhost", key: str = KEY) -> bytes:
    """A valid opening handshake request (RFC 6455 section 4.1) with more header lines."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n"


def accept_value(key: str) -> str:
    """Sec-WebSocket-Accept for a key (RFC 6455 section 4.2.2)."""
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    return base64.b64encode(digest).decode()


def header(head: bytes, name: str) -> str | None:
    """The value of a header in the head of a request or a response, None if it isn't there."""
    for line in head.split(b"\r\n")[1:]:
        field, _, value = line.partition(b":")
        if field.strip().lower() == name.lower().encode():
            return value.strip().decode("latin-1")
    return None


def switching_protocols(request_head: bytes, *headers: str) -> bytes:
    """The 101 response that accepts a request, with more header lines."""
    key = header(request_head, "Sec-WebSocket-Key")
    assert key is not None, f"no Sec-WebSocket-Key in {request_head!r}"
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_value(key)}",
        *headers,
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n"


def status_of(head: bytes) -> int:
    """The status code of an HTTP response."""
    return int(head.split(b" ", 2)[1])


class RawPeer:
    """One TCP connection whose bytes the test writes and reads itself."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):  # a Unix socket has no such option
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.buffer = bytearray()

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
        self.buffer += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    async def read_exactly(self, size: int) -> bytes:
        """Read that many bytes; EOFError when the stream ends before."""
        while len(self.buffer) < size:
            if not await self._receive():
                raise EOFError(f"stream ended after {len(self.buffer)} of {size} bytes")
        return self._take(size)

    async def read_head(self) -> bytes:
        """Read the head of an HTTP message, with the empty line that ends it."""
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if not await self._receive():
                raise EOFError(f"stream ended within a head: {bytes(self.buffer)!r}")
        return self._take(end + 4)

    async def read_frame(self) -> RawFrame:
        """Read one frame; EOFError when the stream ends before."""
        first, second = await self.read_exactly(2)
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(await self.read_exactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.read_exactly(8), "big")
        mask = await self.read_exactly(4) if second & 0x80 else None
        payload = await self.read_exactly(size)
        if mask is not None:
            payload = apply_mask(payload, mask)
        return RawFrame(first & 0x0F, payload, bool(first & 0x80), first & 0x70, mask)

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
        return self._take(len(self.buffer))

    async def outcome(self) -> int | None:
        """What the other side answers in the end: an HTTP status, or None when it closes without a word."""
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


def in_segments(data: bytes, size: int) -> Iterable[bytes]:
    """Cut bytes in pieces of `size`."""
    return (data[start : start + size] for start in range(0, len(data), size))


def random_mask() -> bytes:
    """A fresh mask."""
    return os.urandom(4)

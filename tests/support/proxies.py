"""Proxies on a port of this machine: HTTP CONNECT (RFC 9110 section 9.3.6), SOCKS 5 (RFC 1928, 1929) and SOCKS 4A."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Greet = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable["tuple[str, int] | None"]]


@contextlib.asynccontextmanager
async def running(greet: Greet, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A proxy; yields its port. `greet` talks to the client, and returns where it wants to go, or None to hang up."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            address = await greet(reader, writer)
            if address is not None:
                server_reader, server_writer = await asyncio.open_connection(*address)
                with contextlib.closing(server_writer):
                    await asyncio.gather(pipe(reader, server_writer), pipe(server_reader, writer))

    async with await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()


class HTTPProxy:
    """An HTTP proxy.

    Args:
        credentials: "user:password" that it wants, or None.
        answer: what it says once it can tunnel; "" to hang up instead.
        names: addresses of names that this proxy alone knows.

    Attributes:
        requests: heads of the requests that it got.
    """

    def __init__(
        self,
        credentials: str | None = None,
        answer: str = "HTTP/1.1 200 Connection established\r\n\r\n",
        names: dict[str, str] | None = None,
    ) -> None:
        self.credentials = credentials
        self.answer = answer
        self.names = names or {}
        self.requests: list[str] = []

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.requests.append(head)
        if self.credentials is not None:
            expected = base64.b64encode(self.credentials.encode()).decode()
            if f"\r\nProxy-Authorization: Basic {expected}\r\n" not in head:
                writer.write(
                    b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n'
                )
                return None
        writer.write(self.answer.encode())
        host, _, port = head.split()[1].rpartition(":")
        opened = " 200 " in self.answer and "\r\n\r\n" in self.answer
        return (self.names.get(host, host), int(port)) if opened else None


class SOCKS5Proxy:
    """A SOCKS 5 proxy.

    Args:
        credentials: "user:password" that it wants, or None.
        names: addresses of names that this proxy alone knows.

    Attributes:
        requests: hosts that it was asked for.
    """

    def __init__(self, credentials: str | None = None, names: dict[str, str] | None = None) -> None:
        self.credentials = credentials
        self.names = names or {}
        self.requests: list[str] = []

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        methods = await reader.readexactly((await reader.readexactly(2))[1])
        wanted = 0 if self.credentials is None else 2
        if wanted not in methods:
            writer.write(b"\x05\xff")
            return None
        writer.write(bytes([5, wanted]))
        if self.credentials is not None:
            await reader.readexactly(1)
            username, password = [await self._string(reader) for _ in range(2)]
            if f"{username}:{password}" != self.credentials:
                writer.write(b"\x01\x01")
                return None
            writer.write(b"\x01\x00")
        kind = (await reader.readexactly(4))[3]
        host = await self._string(reader) if kind == 3 else ".".join(map(str, await reader.readexactly(4)))
        [port] = struct.unpack("!H", await reader.readexactly(2))
        self.requests.append(host)
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        return self.names.get(host, host), port

    async def _string(self, reader: asyncio.StreamReader) -> str:
        return (await reader.readexactly((await reader.readexactly(1))[0])).decode()


class SOCKS4Proxy:
    """A SOCKS 4A proxy; `names` and `requests` as for SOCKS 5."""

    def __init__(self, names: dict[str, str] | None = None) -> None:
        self.names = names or {}
        self.requests: list[str] = []

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        _, _, port, address = struct.unpack("!BBH4s", await reader.readexactly(8))
        await reader.readuntil(b"\0")
        host = ".".join(map(str, address))
        if address[:3] == bytes(3):  # 4A: the name follows
            host = (await reader.readuntil(b"\0"))[:-1].decode()
        self.requests.append(host)
        writer.write(b"\x00\x5a" + bytes(6))
        return self.names.get(host, host), port

"""A client that speaks TLS by hand."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any, Self

from tests.support.raw import RawPeer, request, status_of


class TlsPeer(RawPeer):
    """A client of TLS whose records the test writes and reads itself."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.records_in, self.records_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.notified = False  # by the other side's close_notify

    async def shake_hands(self, context: ssl.SSLContext, server_hostname: str = "localhost") -> None:
        self.tls = context.wrap_bio(self.records_in, self.records_out, server_hostname=server_hostname)
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.send_records()
                if not await self._receive_records():
                    raise EOFError("stream ended within the TLS handshake") from None
            else:
                return await self.send_records()

    @classmethod
    async def open_secure(cls, port: int, context: ssl.SSLContext, **options: Any) -> Self:
        """Open a WebSocket connection: TCP, TLS and the opening handshake."""
        peer = await cls.connect(port, **options)
        await peer.shake_hands(context)
        await peer.send(request())
        assert status_of(await peer.read_head()) == 101
        return peer

    async def send(self, *data: bytes, patience: float = 10) -> None:
        self.tls.write(b"".join(data))
        await self.send_records()

    async def end(self) -> None:
        """Send close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        await self.send_records()

    def records(self) -> bytes:
        """What TLS wants to send."""
        return self.records_out.read()

    async def send_records(self) -> None:
        await super().send(self.records())

    async def _receive_records(self) -> bool:
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, 1 << 16), 10)
        self.records_in.write(data)
        return bool(data)

    async def _receive(self) -> bool:
        while True:
            try:
                data = self.tls.read(1 << 16)
            except ssl.SSLWantReadError:
                if not await self._receive_records():
                    return False
            except ssl.SSLZeroReturnError:
                data = b""
                break
            else:
                break
        self.notified = not data
        self.incoming.feed(data)
        return bool(data)

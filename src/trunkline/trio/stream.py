"""Reading and writing of a connection's stream, at once where that is a socket."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from typing import Any

import trio

__all__ = ["StreamIO"]

RECEIVE = 1 << 16  # bytes


class StreamIO:
    """Reads and writes a `trio.abc.Stream`.

    A socket is read and written here without a detour: what can be written at once needs no task that waits for it.

    Attributes:
        local_address, remote_address: as `socket.getsockname` and `getpeername` give them; None if unknown.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.fd = -1  # of a plain socket, where file descriptors are what sockets have
        if isinstance(stream, trio.SocketStream) and sys.platform != "win32":
            self.fileno = stream.socket.fileno
            self.fd = self.fileno()
        self.local_address, self.remote_address = addresses(stream)

    async def receive(self) -> bytes:
        """Receive bytes, b"" at the end of the stream.

        Raises:
            trio.BrokenResourceError: if the connection is cut.
            trio.ClosedResourceError: if the stream was closed here.
        """
        if self.fd < 0:
            return bytes(await self.stream.receive_some(RECEIVE))
        while True:
            if self.fileno() != self.fd:  # closed, by who has the stream, too: the number may be another connection's
                raise trio.ClosedResourceError("the stream was closed")
            await trio.lowlevel.wait_readable(self.fd)
            try:
                return os.read(self.fd, RECEIVE)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    def writes_at_once(self) -> bool:
        """Whether `write_now` writes as long as the peer reads; else only a task can write."""
        return self.fd >= 0

    def write_now(self, data: bytes) -> int:
        """Write what can be written without waiting; returns the number of bytes.

        Raises:
            OSError: if the connection is cut.
        """
        if self.fd < 0:
            return 0
        if self.fileno() != self.fd:
            raise OSError(errno.EBADF, "the stream was closed")
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0

    async def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: as in `receive`.
        """
        await self.stream.send_all(data)

    def can_end(self) -> bool:
        """Whether our half can end alone; TLS can't do that (RFC 8446 section 6.1)."""
        return isinstance(self.stream, trio.abc.HalfCloseableStream)

    async def end(self) -> None:
        """End our half."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):  # also if it was closed
                self.stream.socket.shutdown(socket.SHUT_WR)  # type: ignore[attr-defined]
            return
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.stream.send_eof()  # type: ignore[attr-defined]

    async def close(self, seconds: float) -> None:
        """Close it, whatever is cancelled; TLS has so much time to say goodbye."""
        self.fd = -1
        failures = OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError
        with (
            trio.CancelScope(shield=True, deadline=trio.current_time() + seconds),
            contextlib.suppress(*failures),
        ):
            await self.stream.aclose()


def addresses(stream: Any) -> tuple[Any, Any]:
    """Addresses of both ends of a stream, or what is known of them."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    both: list[Any] = [None, None]
    sock = getattr(stream, "socket", None)
    if sock is not None:
        for i, name in enumerate(("getsockname", "getpeername")):
            with contextlib.suppress(OSError):
                both[i] = getattr(sock, name)()
    return both[0], both[1]

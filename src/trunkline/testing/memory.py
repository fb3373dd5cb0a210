"""A program in memory: connections without sockets, and waiting that takes no time.

`run` is `asyncio.run` on a loop whose network is inside of it. `serve` listens and `connect` connects as ever, on any
host and port, but nothing leaves the process. When nothing is left to do, the clock goes forward to the next timer.
So a test of a keepalive after 20 s is over at once, and gives the same result each time. When there is no timer either,
every task waits for another one: that is an error, at once.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import selectors
import socket
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

__all__ = ["MemoryLoop", "MemoryTransport", "run"]

T = TypeVar("T")
Address = tuple[str, int] | str

SEGMENT = 1 << 16  # bytes that arrive at a time
WRITE_LIMIT = 1 << 16  # bytes that wait at which writing pauses


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in memory.

    Raises:
        RuntimeError: if all tasks wait, and nothing will ever wake them.
    """
    with asyncio.Runner(loop_factory=MemoryLoop) as runner:
        return runner.run(main)


class MemoryLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is virtual, in seconds from 0, and whose connections have no sockets.

    Servers differ by port, or by the path of a Unix socket; hosts don't matter. There is no TLS.
    """

    add_reader = asyncio.AbstractEventLoop.add_reader  # it has no files to wait for: no reactor, either

    def __init__(self) -> None:
        self._clock = JumpingSelector()
        super().__init__(self._clock)
        self._listening: dict[int | str, MemoryServer] = {}
        self._ports = itertools.count(49152)  # the first that any program may use (RFC 6335 section 6)

    def time(self) -> float:
        return self._clock.now

    clock = time  # what our connections go by

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """As ever; the clock stands still as long as threads are at work."""
        future = super().run_in_executor(executor, func, *args)
        self._clock.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        self._clock.threads += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._clock.threads -= 1

    def _thread_done(self, future: object) -> None:
        self._clock.threads -= 1

    # Servers

    async def create_server(  # type: ignore[override]
        self,
        factory: Callable[[], asyncio.Protocol],
        host: Any = None,
        port: int | None = None,
        *,
        start_serving: bool = True,
        **others: Any,
    ) -> MemoryServer:
        return self._listen(factory, port or next(self._ports), start_serving, others)

    async def create_unix_server(  # type: ignore[override]
        self, factory: Callable[[], asyncio.Protocol], path: Any = None, *, start_serving: bool = True, **others: Any
    ) -> MemoryServer:
        return self._listen(factory, os.fspath(path), start_serving, others)

    def _listen(
        self, factory: Callable[[], asyncio.Protocol], place: int | str, start_serving: bool, others: dict[str, Any]
    ) -> MemoryServer:
        refuse(others)
        server = MemoryServer(factory, place, self._listening)
        if start_serving:
            server.listen()
        return server

    # Clients

    async def create_connection(  # type: ignore[override]
        self, factory: Callable[[], asyncio.Protocol], host: Any = None, port: Any = None, **others: Any
    ) -> tuple[MemoryTransport, asyncio.Protocol]:
        refuse(others)
        return self._connect(factory, port, ("127.0.0.1", next(self._ports)))

    async def create_unix_connection(  # type: ignore[override]
        self, factory: Callable[[], asyncio.Protocol], path: Any = None, **others: Any
    ) -> tuple[MemoryTransport, asyncio.Protocol]:
        refuse(others)
        return self._connect(factory, os.fspath(path), "")

    def _connect(
        self, factory: Callable[[], asyncio.Protocol], place: int | str, address: Address
    ) -> tuple[MemoryTransport, asyncio.Protocol]:
        server = self._listening.get(place)
        if server is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens on {place!r} in memory")
        protocol = factory()
        ours = MemoryTransport(self, protocol, address, server.address)
        theirs = MemoryTransport(self, server.factory(), server.address, address)
        ours.peer, theirs.peer = theirs, ours
        for transport in (theirs, ours):
            transport.get_protocol().connection_made(transport)
        return ours, protocol


def refuse(arguments: dict[str, Any]) -> None:
    """Those that can't be had in memory.

    Raises:
        ValueError: if there is one.
    """
    for name in ("ssl", "sock"):
        if arguments.get(name):
            raise ValueError(f"{name} can't be used in memory: leave it out, and use ws:// for this test")


class JumpingSelector(selectors.SelectSelector):
    """Instead of waiting, it lets the clock jump."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0  # at work for the loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(None if self.threads and timeout != 0 else 0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("every task waits for another, and there is no timer: nothing can happen any more")
        self.now += max(timeout, 0)
        return []


class MemoryServer:
    """What listens: in place of an `asyncio.Server`."""

    def __init__(
        self, factory: Callable[[], asyncio.Protocol], place: int | str, listening: dict[int | str, MemoryServer]
    ) -> None:
        self.factory = factory
        self.place = place
        self.address: Address = ("127.0.0.1", place) if isinstance(place, int) else place
        self._listening = listening

    @property
    def sockets(self) -> tuple[MemorySocket, ...]:
        return (MemorySocket(self.address),) if self.is_serving() else ()

    def is_serving(self) -> bool:
        return self._listening.get(self.place) is self

    async def start_serving(self) -> None:
        self.listen()

    def listen(self) -> None:
        if self._listening.setdefault(self.place, self) is not self:
            raise OSError(errno.EADDRINUSE, f"another server listens on {self.place!r} in memory")

    def close(self) -> None:
        if self.is_serving():
            del self._listening[self.place]


class MemorySocket:
    """The part of a listening socket that a program may look at."""

    def __init__(self, address: Address) -> None:
        self.family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self._address = address

    def getsockname(self) -> Address:
        return self._address


class MemoryTransport(asyncio.Transport):
    """One end of a connection; written bytes come out of the other one, in the next turn of the loop."""

    def __init__(self, loop: MemoryLoop, protocol: Any, address: Address, peer_address: Address) -> None:
        super().__init__({"sockname": address, "peername": peer_address})
        self.peer: MemoryTransport
        self._loop = loop
        self._protocol = protocol
        self._buffer = bytearray()
        self._low, self._high = WRITE_LIMIT // 4, WRITE_LIMIT
        self._reading = True
        self._writing_paused = False
        self._eof = False  # our half is to end behind what is in the buffer
        self._eof_delivered = False
        self._closing = False
        self._lost = False

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self._lost:
            return  # as asyncio's own do
        if self._eof:
            raise RuntimeError("cannot write after write_eof()")
        self._buffer += data
        self._loop.call_soon(self._deliver)
        if len(self._buffer) > self._high and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def writelines(self, chunks: Iterable[Any]) -> None:
        self.write(b"".join(chunks))

    def write_eof(self) -> None:
        self._eof = True
        self._loop.call_soon(self._deliver)

    def can_write_eof(self) -> bool:
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = WRITE_LIMIT if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def _deliver(self) -> None:
        """Let the peer have what is in the buffer, if it reads."""
        peer = self.peer
        if self._lost:
            return
        if peer._lost:
            self._lose(ConnectionResetError(errno.ECONNRESET, "the other end was closed") if self._buffer else None)
            return
        if self._buffer and peer._reading:
            data = bytes(self._buffer[:SEGMENT])
            del self._buffer[:SEGMENT]
            peer._protocol.data_received(data)
            self._resume_writing()
        if not self._buffer:
            self._end()
        elif peer._reading:
            self._loop.call_soon(self._deliver)

    def _resume_writing(self) -> None:
        if self._writing_paused and len(self._buffer) <= self._low and not self._lost:
            self._writing_paused = False
            self._protocol.resume_writing()

    def _end(self) -> None:
        if self._eof and not self._eof_delivered and self.peer._reading:
            self._eof_delivered = True
            if not self.peer._protocol.eof_received():
                self.peer.close()
        if self._closing:
            self._lose(None)

    # Reading

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._loop.call_soon(self.peer._deliver)

    # The end

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Send what is in the buffer, then end both halves."""
        if not self._closing:
            self._closing = self._eof = True
            self._reading = True  # what still comes is of no interest
            self._loop.call_soon(self._deliver)

    def abort(self) -> None:
        """Cut the connection, as if a cable were pulled; the other end gets a `ConnectionResetError`."""
        self._lose(None)
        self.peer._lose(ConnectionResetError(errno.ECONNRESET, "connection cut"))

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self._buffer.clear()
            self._loop.call_soon(self._protocol.connection_lost, error)

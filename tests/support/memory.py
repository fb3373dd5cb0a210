"""A connection over a transport that only remembers, and event loops of all kinds to run it on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from tests.core.wire import parse, peer_frame
from tests.support.raw import RawFrame
from trunkline.asyncio.connection import Connection
from trunkline.core.session import Side
from trunkline.options import Options


class MemoryTransport(asyncio.Transport):
    """Keeps what is written; the test plays the network and the peer."""

    def __init__(self, half_closing: bool = True) -> None:
        super().__init__()
        self.half_closing = half_closing
        self.batches: list[bytes] = []
        self.backlog = 0
        self.reading = True
        self.ended = self.closed = self.aborted = False
        self.limits: tuple[int | None, int | None] = (None, None)

    def write(self, data: Any) -> None:
        self.batches.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.batches.append(b"".join(list_of_data))

    def take(self) -> list[RawFrame]:
        """The frames written since the last call, masks left out."""
        data = b"".join(self.batches)
        self.batches.clear()
        return [frame._replace(mask=None) for frame in parse(data)]

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = high, low

    def get_write_buffer_size(self) -> int:
        return self.backlog

    def pause_reading(self) -> None:
        assert self.reading, "reading is paused already"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading, "reading goes on already"
        self.reading = True

    def can_write_eof(self) -> bool:
        return self.half_closing

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted


def connected(
    side: Side = Side.SERVER, *, half_closing: bool = True, transport: MemoryTransport | None = None, **options: Any
) -> tuple[Connection, MemoryTransport]:
    """An open connection without keepalive, and its transport."""
    connection = Connection(side, Options(**({"ping_interval": None} | options)))
    transport = transport or MemoryTransport(half_closing)
    connection.connection_made(transport)
    connection.start(None, [], b"")
    return connection, transport


def frames(connection: Connection, *messages: str | bytes) -> bytes:
    """The frames in which the peer of this connection sends these messages."""
    return b"".join(
        peer_frame(connection.session, 1, message.encode())
        if isinstance(message, str)
        else peer_frame(connection.session, 2, message)
        for message in messages
    )


async def arrive(connection: Connection, data: bytes) -> None:
    """Let the event loop deliver data as a transport does, while no task runs, and wake the task that waits for it."""
    asyncio.get_running_loop().call_soon(connection.data_received, data)
    for _ in range(3):  # it is received, then connections are woken, then in debug mode tasks
        await asyncio.sleep(0)


# Event loops


def _plain() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _debugging() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    return loop


def _eager() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    return loop


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"plain": _plain, "debug": _debugging}
if sys.version_info >= (3, 13):  # task groups of 3.12.1 fail themselves when an eager task fails at once
    LOOPS["eager"] = _eager
if sys.platform != "win32":
    LOOPS["uvloop"] = _uvloop


def run_on(loop: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test on a loop of this kind; an error that only the loop sees ends it, and fails it."""
    unseen: list[dict[str, Any]] = []

    def note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        unseen.append(context)
        for task in asyncio.all_tasks(loop):
            task.cancel()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.get_loop().set_exception_handler(note)
        try:
            runner.run(main())
        finally:
            assert unseen == []

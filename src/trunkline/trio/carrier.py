"""Carries a connection over a `trio.abc.Stream`, in tasks of its own.

One task reads and ends the connection, one keeps the time, and one writes, only while the peer reads too slowly. They
raise nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import trio

from trunkline.core.phases import OPEN
from trunkline.endpoint.carrier import Carrier
from trunkline.endpoint.life import Life
from trunkline.frames import CloseCode
from trunkline.trio.stream import StreamIO

__all__ = ["StreamCarrier", "seconds"]

LOST = (trio.BrokenResourceError, trio.ClosedResourceError)
TURNS = 8  # of trio's loop, to receive a message and to send some in answer


class StreamCarrier(Carrier):
    """The carrier of a connection over a stream.

    Args:
        life: the connection.
        io: its stream.
        nursery: where the tasks run; None for trio's own, which outlive the task that connects.
    """

    def __init__(self, life: Life, io: StreamIO, nursery: trio.Nursery | None) -> None:
        self.life = life
        self.io = io
        self.spawn: Callable[..., object] = trio.lowlevel.spawn_system_task if nursery is None else nursery.start_soon
        # A stream that is no socket is written by a task: `send` waits until the task has written.
        self.high, self.low = life.options.write_marks if io.writes_at_once() else (0, 0)
        self.waiting: list[bytes] = []  # bytes that could not be written at once
        self.waiting_size = 0
        self.writing = False  # a task writes them
        self.ending = False
        self.written = trio.Event()  # they have left
        self.paused = False
        self.resumed = trio.Event()
        self.aborted = False
        self.reading = trio.CancelScope()
        self.timer: trio.CancelScope | None = None

    def fact(self, name: str) -> Any:
        return {"sockname": self.io.local_address, "peername": self.io.remote_address}.get(name)

    # Reading

    def start(self) -> None:
        """Read from now on."""
        self.spawn(self._run)

    async def _run(self) -> None:
        """The task that reads, and that ends the connection."""
        error: BaseException | None = None
        graceful = 0.0
        try:
            with self.reading:
                await self._read()
                while self.waiting_size > 0:  # the life aborts if that takes too long
                    await self.written.wait()
            if not self.aborted:
                graceful = seconds(self.life.options.close_timeout)
        except LOST as lost:
            error = lost.__cause__ or lost
        except trio.Cancelled:  # most likely the program ends: tell the peer, but don't wait for it
            self.life.start_closing(CloseCode.GOING_AWAY, "")
            raise
        except Exception as unexpected:
            self.life.logger.error("unexpected internal error", exc_info=True)
            error = unexpected
        finally:
            await self.io.close(graceful)
            self._lose(error)

    async def _read(self) -> None:
        while True:
            if self.paused:
                self.resumed = trio.Event()
                await self.resumed.wait()
            data = await self.io.receive()
            if not data:
                break
            self.life.receive_data(data)
        await self._let_answer()
        self.life.receive_eof()

    async def _let_answer(self) -> None:
        """The peer ended its half: let tasks first answer what came before, as far as they wait for nothing else.

        Each call of theirs is a checkpoint, and so a turn of trio's loop.
        """
        session = self.life.session
        turns = TURNS * (len(session.inbox) + 1) if self.io.can_end() else 0
        while turns > 0 and session.phase == OPEN and self.life.receiver is None:
            await trio.lowlevel.checkpoint()
            turns -= 1

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self.resumed.set()

    def abort(self) -> None:
        self.aborted = True
        self.reading.cancel()

    def _lose(self, error: BaseException | None) -> None:
        self.waiting.clear()
        self.waiting_size = 0
        if self.timer is not None:
            self.timer.cancel()
        self.life.lose(error)

    # Writing

    def send(self, chunks: list[bytes], last: bool) -> Exception | None:
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        written = 0
        if not self.writing:
            try:
                written = self.io.write_now(data)
            except OSError as error:
                return error
            if written == len(data):
                return None
        self._keep(data[written:] if written else data)
        return None

    def _keep(self, data: bytes) -> None:
        """Leave it to a task to write the bytes."""
        self.waiting.append(data)
        self.waiting_size += len(data)
        if self.waiting_size > self.high and not self.life.writing_paused:
            self.life.pause_writing()
        if not self.writing:
            self.writing = True
            self.written = trio.Event()
            self.spawn(self._write_waiting)

    async def _write_waiting(self) -> None:
        """The task that writes bytes that could not be written at once."""
        try:
            while self.waiting:
                data = b"".join(self.waiting)
                self.waiting.clear()
                await self.io.write(data)
                self.waiting_size = max(0, self.waiting_size - len(data))
                if self.waiting_size <= self.low and not self.aborted and self.life and self.life.writing_paused:
                    self.life.resume_writing()
        except LOST as lost:
            error = lost.__cause__
            if self.life is not None:
                self.life.fail_writing(error if isinstance(error, Exception) else lost)
        finally:
            self.writing = False
            self.written.set()
        if self.ending and self.life is not None:
            await self._end()

    def backlog(self) -> int:
        return self.waiting_size

    def end(self) -> None:
        self.ending = True
        if not self.writing:
            self.spawn(self._end)

    async def _end(self) -> None:
        if self.io.can_end():
            await self.io.end()
        else:
            self.reading.cancel()

    # Time

    def wake_at(self, deadline: float) -> float:
        if self.timer is None:
            self.timer = trio.CancelScope(deadline=deadline)
            self.spawn(self._keep_time)
        else:
            self.timer.deadline = deadline
        return deadline

    async def _keep_time(self) -> None:
        """The task that waits for deadlines."""
        while self.life is not None:
            assert self.timer is not None, "it is set before this starts"
            with self.timer:
                await trio.sleep_forever()
            due, self.timer = self.timer.deadline, trio.CancelScope(deadline=math.inf)
            if self.life is not None:
                self.life.on_due(due)


def seconds(timeout: float | None) -> float:
    """A timeout as trio has it."""
    return math.inf if timeout is None else timeout

"""A carrier that is neither a socket nor a transport: it moves bytes between an event loop and a `PeerEnd`."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.memory_stream import CAPACITY, PeerEnd
from trunkline.endpoint.carrier import Carrier


class MemoryCarrier(Carrier):
    """Carries a connection between its event loop and a `PeerEnd`."""

    def __init__(self, life: Any, peer: PeerEnd) -> None:
        self.life, self.peer, self.loop = life, peer, asyncio.get_running_loop()
        self.high, self.low = life.options.write_marks
        self.waiting = bytearray()
        self.paused = self.ending = self.eof = False
        self.timer: asyncio.TimerHandle | None = None
        peer.tell_carrier = lambda: self.loop.call_soon_threadsafe(self.advance)

    def send(self, chunks: list[bytes], last: bool) -> Exception | None:
        self.waiting += b"".join(chunks)
        try:
            self.push()
        except ConnectionResetError as error:
            return error
        if len(self.waiting) > self.high and not self.life.writing_paused:
            self.life.pause_writing()
        return None

    def push(self) -> None:
        """Let the peer have what there is room for."""
        with self.peer.changed:
            if self.waiting:
                del self.waiting[: self.peer.to_us.put(self.waiting)]
            self.peer.to_us.ended = self.ending and not self.waiting
            self.peer.changed.notify_all()

    def advance(self) -> None:
        """In the loop: the peer has read, or written."""
        if self.life is None:
            return
        data = None
        try:
            self.push()
            if not self.paused and not self.eof:
                with self.peer.changed:
                    data = self.peer.to_carrier.get(CAPACITY)
                    self.peer.changed.notify_all()
        except ConnectionResetError as error:
            self.lose(error)
            return
        if self.life.writing_paused and len(self.waiting) <= self.low:
            self.life.resume_writing()
        if data:
            self.life.receive_data(data)
            self.loop.call_soon(self.advance)
        elif data is not None:
            self.eof = True
            self.life.receive_eof()
        if self.eof and self.ending and not self.waiting:
            self.lose(None)

    def end(self) -> None:
        self.ending = True
        self.loop.call_soon(self.advance)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self.loop.call_soon(self.advance)

    def abort(self) -> None:
        self.loop.call_soon(self.lose, None)

    def lose(self, error: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        with self.peer.changed:
            self.peer.to_us.ended = self.peer.to_carrier.cut = True
            self.peer.changed.notify_all()
        if self.life is not None:
            self.life.lose(error)

    def backlog(self) -> int:
        return len(self.waiting)

    def wake_at(self, deadline: float) -> float:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.loop.call_later(deadline - self.life.clock(), self.life.on_due, deadline)
        return deadline

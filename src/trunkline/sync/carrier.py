"""Carries a connection over a socket, for threads.

Any number of threads may send, one at a time may receive. Three locks, taken in this order where a thread needs two:

- `writing` belongs to the thread that sends bytes. A program that sends more than the peer reads waits with it.
- `mutex` guards the session and the inbox. A thread releases it before it waits.
- the lock of the watcher, inside of `mutex`.

A thread that receives reads the socket itself; `reading` says that one does. Other threads wait for the peer through
`changed`, as `close()` does. While no thread reads, the watcher does, in its own thread. A thread that finds `writing`
taken leaves its bytes to the thread that holds it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from selectors import EVENT_READ, EVENT_WRITE
from time import monotonic
from typing import TYPE_CHECKING, Any

from trunkline.endpoint.carrier import Carrier
from trunkline.sync.stream import Readable, SecureSocket, Stream, TLSStream, here, shut_down, wait_for
from trunkline.sync.watcher import Watcher, watcher

if TYPE_CHECKING:
    from trunkline.endpoint.life import Life

__all__ = ["SocketCarrier"]


class SocketCarrier(Carrier):
    """The carrier of a connection over a socket. Its methods want `mutex`, except where they say otherwise.

    Args:
        life: the connection.
        stream: its stream, which the carrier owns.
    """

    def __init__(self, life: Life, stream: Stream) -> None:
        self.life = life
        self.stream = stream
        self.readable = Readable(stream.sock)
        self.watcher: Watcher = watcher()
        self.mutex = threading.Lock()
        self.changed = here.waits.Condition(self.mutex)
        self.writing = here.waits.Lock()
        self.reading = False  # a thread waits for the socket
        self.waiting = 0  # threads that wait for `changed`
        self.paused = False
        self.turns = 0  # how often a thread was done with reading
        self.turns_seen = 0
        self.noted = False  # the watcher looks at `turns`
        self.watched = 0  # events that the watcher waits for
        self.full = False  # the network takes no more
        self.pushing = False  # it takes bytes again
        self.ending = False  # our half ends behind the bytes that wait
        self.ended = False
        self.cancel_timer: Callable[[], None] | None = None
        self.due = 0.0
        self._addresses = {
            "sockname": address_of(stream.sock.getsockname),
            "peername": address_of(stream.sock.getpeername),
        }

    def fact(self, name: str) -> Any:
        if name == "socket":
            stream = self.stream
            return SecureSocket(stream.sock, stream.object) if isinstance(stream, TLSStream) else stream.sock
        return self._addresses.get(name)

    # Reading

    def wait(self, due: float | None) -> bool:
        """Wait until bytes come, or another thread changes something; False if that takes too long."""
        remaining = None if due is None else max(0.0, due - monotonic())
        if self.reading:
            return self.wait_for_change(remaining)
        self.reading = True
        self.mutex.release()
        ready = False
        try:
            ready = self.readable.wait(remaining)
        finally:
            self.mutex.acquire()
            self.reading = False
            self.turns += 1
            self.note()
            if not ready:
                self._reading_left()
        if ready:
            self._read()
            self._reading_left()
        return ready

    def wait_for_change(self, timeout: float | None) -> bool:
        """Wait until another thread changes something; False if that takes too long."""
        self.waiting += 1
        try:
            return bool(self.changed.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX)))
        finally:
            self.waiting -= 1

    def notify(self) -> None:
        """Something changed for the threads that wait."""
        if self.waiting:
            self.changed.notify_all()

    def _reading_left(self) -> None:
        """Another thread that waits may read on, or find what it waits for."""
        self.notify()
        if self.life is None:
            self.close_socket()

    def _read(self) -> None:
        """Read the bytes that came."""
        if self.life is None:
            return
        try:
            data = self.stream.read()
        except OSError as error:
            self.lose(error)
            return
        if data is not None:
            self._take(data)
        if data and self.stream.at_end:
            self._take(b"")  # nothing else comes that would wake a thread for it

    def _take(self, data: bytes) -> None:
        if data:
            self.life.receive_data(data)
        else:
            self.life.receive_eof()
            self.lose(None)

    def pause(self) -> None:
        self.paused = True  # the watcher looks at it; a thread that receives reads only when the inbox is empty

    def resume(self) -> None:
        self.paused = False
        self.note()

    # Writing

    def send(self, chunks: list[bytes], last: bool) -> Exception | None:
        """With `writing`, too: send without waiting."""
        self.pushing = False
        try:
            self.stream.write(chunks)
            self.full = not self.stream.push()
            self._end_if_done()
        except OSError as error:
            return error
        if self.full:
            self.watcher.watch(self, EVENT_WRITE)
        if self.full != self.life.writing_paused:
            self.life.pause_writing() if self.full else self.life.resume_writing()
        return None

    def write_all(self, chunks: list[bytes]) -> None:
        """With `writing`, without `mutex`: send, and wait until the network took it all.

        Raises:
            OSError: if the network doesn't.
        """
        self.stream.write(chunks)
        if not self.stream.push():
            self._wait_for_peer()
        self.full = False
        if (life := self.life) is not None and life.writing_paused:
            with self.mutex:
                life.resume_writing()

    def _wait_for_peer(self) -> None:
        """The peer doesn't read. Meanwhile, the watcher hears what it says."""
        with self.mutex:
            if self.life is not None:
                self.life.pause_writing()
            self.note()
        while not self.stream.push():
            wait_for(self.stream.sock, True, None)

    def has_work(self) -> bool:
        """Whether `send` has something to do although nothing new is to be sent."""
        return self.pushing or (self.ending and not self.ended)

    def backlog(self) -> int:
        return int(self.full)  # bytes that the stream keeps aren't counted

    def end(self) -> None:
        self.ending = True
        self.life.flush()

    def _end_if_done(self) -> None:
        if self.ending and not self.ended and not self.full:
            self.ended = True
            self.stream.end_writing()

    # The end

    def abort(self) -> None:
        shut_down(self.stream.sock)
        self.note()

    def lose(self, error: BaseException | None) -> None:
        """The stream is over. The socket is closed as soon as no thread uses it."""
        if self.life is None:
            return
        self.life.lose(error)
        shut_down(self.stream.sock)
        if self.cancel_timer is not None:
            self.cancel_timer()
        self.watcher.forget(self)
        self.changed.notify_all()
        self.close_socket()

    def close_socket(self) -> None:
        """Close it, unless a thread uses it; that thread closes it then."""
        if self.reading or not self.writing.acquire(blocking=False):
            return
        try:
            if self.watched:
                self.watcher.close(self)
            else:
                self.stream.sock.close()
        finally:
            self.writing.release()

    # For the watcher, without `mutex`

    def note(self) -> None:
        """With `mutex`: let the watcher look after the connection when no thread does."""
        if not self.noted:
            self.noted = True
            self.watcher.note(self)

    def is_in_use(self) -> bool:
        """Whether threads come and go; else it is left to them, or watched from now on."""
        with self.mutex:
            if self.turns != self.turns_seen and self.life is not None:
                self.turns_seen = self.turns
                return True
            self.noted = False
            if self.life is not None:
                self._watch()
            return False

    def _watch(self) -> None:
        """In the thread of the watcher: let it wait for events that no other thread waits for."""
        wanted = self.watched & EVENT_WRITE
        if not self.reading and not self.paused:
            wanted |= EVENT_READ
        self.watcher.wait_for(self, wanted)

    def on_ready(self, events: int) -> None:
        """The socket can be read or written."""
        with self.mutex:
            if events & EVENT_WRITE:
                self.watcher.wait_for(self, self.watched & ~EVENT_WRITE)
                self.pushing = True
                if self.life is not None:
                    self.life.flush()
            if events & EVENT_READ and not self.reading:
                self._read()
                self.notify()
            if self.life is not None:
                self._watch()

    def on_watch(self, events: int) -> None:
        """Wait for `events`, too."""
        with self.mutex:
            if self.life is not None:
                self.watcher.wait_for(self, self.watched | events)

    def hear(self) -> None:
        """With `mutex`: let the watcher read at once, as the caller may wait for an answer elsewhere."""
        if not self.reading and self.life is not None:
            self.watcher.watch(self, EVENT_READ)

    def wake_at(self, deadline: float) -> float:
        if self.cancel_timer is not None:
            self.cancel_timer()
        self.due = deadline
        self.cancel_timer = self.watcher.schedule(self, deadline)
        return deadline

    def on_deadline(self) -> None:
        """The time of `wake_at` has come."""
        with self.mutex:
            self.cancel_timer = None
            if self.life is not None:
                self.life.on_due(self.due)


def address_of(ask: Callable[[], Any]) -> Any:
    """The address that a socket tells, as long as it is connected."""
    try:
        return ask()
    except OSError:
        return None

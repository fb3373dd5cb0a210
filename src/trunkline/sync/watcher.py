"""The one thread of a process that looks after connections while no thread of the program waits for them.

A thread that receives waits for its own socket, so nothing is handed from thread to thread while messages come and go.
A connection whose program does something else is watched here: pings and close frames are answered, and messages
received, up to `max_queue`. Which are these? Those from which no thread received since the last round. Rounds come
every `ROUND` seconds while there is something to see. So the watcher makes no system call for a message on its way
through `recv()`.

Deadlines (keepalive, the closing handshake) are kept here for all connections.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any, Protocol

from trunkline.sync.stream import LONGEST_WAIT, Stream, shut_down

__all__ = ["Watcher", "watcher"]

ROUND = 0.05  # seconds
SPARE_TIMERS = 64  # that were cancelled and are kept


class Watched(Protocol):
    """A thing that the watcher looks after: the carrier of a connection.

    Attributes:
        life: the connection, None after its end.
        stream: its stream.
        watched: events that the watcher waits for; it belongs to the watcher.
    """

    life: Any
    stream: Stream
    watched: int

    def is_in_use(self) -> bool: ...
    def on_deadline(self) -> None: ...
    def on_ready(self, events: int) -> None: ...
    def on_watch(self, events: int) -> None: ...


class Watcher:
    """Watches connections in a thread of its own. Made by `watcher()`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a signal handler may close a server
        self.requests: deque[tuple[Any, ...]] = deque()  # (carrier, function, arguments...)
        self.recent: set[Watched] = set()  # from which a thread received not long ago
        self.timers: list[tuple[float, int, list[Watched]]] = []
        self.num_cancelled = 0  # of the timers
        self.serial = itertools.count()
        self.wakes_at = 0.0
        self.next_round = 0.0
        self.selector = selectors.DefaultSelector()
        self.alarm, self.bell = socket.socketpair()
        for sock in (self.alarm, self.bell):
            sock.setblocking(False)
        self.selector.register(self.alarm, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self.run, name="trunkline watcher", daemon=True)
        self.thread.start()

    # Called by other threads

    def note(self, carrier: Watched) -> None:
        """A thread receives from this connection; perhaps not any more at the next round."""
        with self.lock:
            if not self.recent:
                self.next_round = monotonic() + ROUND
            self.recent.add(carrier)
            self._wake_by(self.next_round)

    def forget(self, carrier: Watched) -> None:
        """The connection is over."""
        with self.lock:
            self.recent.discard(carrier)

    def schedule(self, carrier: Watched, deadline: float) -> Callable[[], None]:
        """Call `carrier.on_deadline` at a time; returns a function that cancels it."""
        box = [carrier]
        with self.lock:
            heapq.heappush(self.timers, (deadline, next(self.serial), box))
            self._wake_by(deadline)

        def cancel() -> None:
            with self.lock:
                box.clear()
                self.num_cancelled += 1
                self._drop_cancelled_timers()

        return cancel

    def _drop_cancelled_timers(self) -> None:
        """Keep about as many as there are others, since their time may be far away."""
        if self.num_cancelled > SPARE_TIMERS + len(self.timers) // 2:
            self.timers = [timer for timer in self.timers if timer[2]]
            heapq.heapify(self.timers)
            self.num_cancelled = 0

    def watch(self, carrier: Watched, events: int) -> None:
        """Wait, also, for `connection` to become readable or writable."""
        self._request(carrier, carrier.on_watch, events)

    def close(self, carrier: Watched) -> None:
        """Close the socket of a connection that is watched."""
        self._request(carrier, self._close, carrier)

    def _request(self, *request: Any) -> None:
        self.requests.append(request)
        with self.lock:
            self._wake_by(0.0)

    def _wake_by(self, moment: float) -> None:
        if moment < self.wakes_at:
            self.wakes_at = moment
            with contextlib.suppress(BlockingIOError):  # it rings already
                self.bell.send(b"\0")

    # Called in the thread

    def run(self) -> None:
        while True:
            self._handle_events(self.selector.select(self._pause()))
            self._serve_requests()
            now = monotonic()
            self._run_timers(now)
            if now >= self.next_round:
                self._make_round(now)

    def _handle_events(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        # A function of its own: the variables of run() would keep the last connection alive while it sleeps.
        for key, events in ready:
            if key.data is None:
                self.alarm.recv(4096)
            else:
                self._guard(key.data, key.data.on_ready, events)

    def _serve_requests(self) -> None:
        while self.requests:
            carrier, request, *arguments = self.requests.popleft()
            self._guard(carrier, request, *arguments)

    def _guard(self, carrier: Watched, method: Callable[..., None], *arguments: Any) -> None:
        """An unexpected error ends its connection, not the thread that all others need."""
        try:
            method(*arguments)
        except Exception:
            logger = logging.getLogger("websockets") if carrier.life is None else carrier.life.logger
            logger.error("unexpected internal error", exc_info=True)
            shut_down(carrier.stream.sock)

    def _pause(self) -> float | None:
        """Seconds to wait for events, None if there is nothing else to do."""
        with self.lock:
            now = monotonic()
            moment = min(
                self.timers[0][0] if self.timers else inf,
                max(self.next_round, now) if self.recent else inf,
                now if self.requests else inf,
            )
            self.wakes_at = moment
        return None if moment == inf else min(max(0.0, moment - now), LONGEST_WAIT)

    def wait_for(self, carrier: Watched, events: int) -> None:
        """Wait for events of a socket, and no others."""
        if events == carrier.watched or carrier.stream.sock.fileno() < 0:
            return
        if carrier.watched == 0:
            self.selector.register(carrier.stream.sock, events, carrier)
        elif events == 0:
            self.selector.unregister(carrier.stream.sock)
        else:
            self.selector.modify(carrier.stream.sock, events, carrier)
        carrier.watched = events

    def _close(self, carrier: Watched) -> None:
        self.wait_for(carrier, 0)
        carrier.stream.sock.close()

    def _run_timers(self, now: float) -> None:
        while True:
            with self.lock:
                if not self.timers or self.timers[0][0] > now:
                    return
                _, _, box = heapq.heappop(self.timers)
                carrier = box[0] if box else None
                self.num_cancelled -= carrier is None
            if carrier is not None:
                self._guard(carrier, carrier.on_deadline)
                del carrier  # it would be kept alive until the next timer

    def _make_round(self, now: float) -> None:
        with self.lock:
            recent, self.recent = self.recent, set()
            self.next_round = now + ROUND
        kept = [carrier for carrier in recent if carrier.is_in_use()]
        if kept:
            with self.lock:
                self.recent.update(kept)


_watcher: Watcher | None = None
_starting = threading.Lock()


def watcher() -> Watcher:
    """The watcher of this process, started when it is needed."""
    global _watcher
    if _watcher is None:
        with _starting:
            _watcher = _watcher or Watcher()
    return _watcher


def _forget() -> None:
    """A forked child has none of its parent's threads."""
    global _watcher, _starting
    _watcher, _starting = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

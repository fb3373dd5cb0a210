"""Handlers that share threads: `serve(threads=64)`; install it with `pip install 'trunkline[fibers]'`.

Each handler is a fiber, a greenlet. It has a stack of its own, and the thread that carries it runs it until it waits
for a connection. Then another one has its turn. A call that blocks the thread otherwise, such as `time.sleep` or a
lock, holds up all fibers on it.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import selectors
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from trunkline.sync.stream import LONGEST_WAIT, Waits, here

try:
    from greenlet import getcurrent, greenlet
except ImportError as error:
    raise ImportError("serve(threads=...) needs greenlet: pip install 'trunkline[fibers]'") from error

__all__ = ["FiberThreads"]


class FiberThreads:
    """Threads that run fibers, as many as there must be.

    Args:
        limit: how many threads there may be.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lock = threading.Lock()
        self.load: dict[FiberThread, int] = {}  # fibers of each

    def start(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function in a new fiber.

        Raises:
            RuntimeError: if no thread can be started.
        """
        with self.lock:
            thread = FiberThread(self) if len(self.load) < self.limit else min(self.load, key=self.load.__getitem__)
            self.load[thread] = self.load.get(thread, 0) + 1
        thread.post(lambda: greenlet(thread.run_fiber).switch(function, *arguments))

    def ended(self, thread: FiberThread) -> None:
        """One fiber less; a thread without any ends."""
        with self.lock:
            self.load[thread] -= 1
            if self.load[thread] == 0:
                del self.load[thread]
                thread.over = True


class FiberThread:
    """A thread that runs fibers, one at a time, each until it waits."""

    def __init__(self, threads: FiberThreads) -> None:
        self.threads = threads
        self.over = False
        self.jobs: deque[Callable[[], object]] = deque()
        self.timers: list[tuple[float, int, Wait]] = []
        self.serial = itertools.count()
        self.waits: dict[int, dict[int, Wait]] = {}  # by descriptor and event
        self.selector = selectors.DefaultSelector()
        self.alarm, self.bell = socket.socketpair()
        for sock in (self.alarm, self.bell):
            sock.setblocking(False)
        self.selector.register(self.alarm, selectors.EVENT_READ)
        try:
            threading.Thread(target=self.run, name="trunkline handler").start()
        except BaseException:
            self.close()
            raise

    def post(self, job: Callable[[], object]) -> None:
        """Have something done between two turns of fibers; from any thread."""
        self.jobs.append(job)
        if here.fiber_thread is not self:
            with contextlib.suppress(OSError):  # it rings already, or the thread has ended
                self.bell.send(b"\0")

    # In the thread

    def run(self) -> None:
        here.fiber_thread, here.waits = self, FiberWaits
        self.hub = getcurrent()
        while not self.over:
            for key, events in self.selector.select(self._pause()):
                if key.fileobj is self.alarm:
                    self.alarm.recv(4096)
                else:
                    self._ready(key.fd, events)
            while self.timers and self.timers[0][0] <= monotonic():
                heapq.heappop(self.timers)[2].resume(False)
            while self.jobs:
                self.jobs.popleft()()
        self.close()

    def _pause(self) -> float | None:
        while self.timers and self.timers[0][2].done:
            heapq.heappop(self.timers)
        if self.jobs:
            return 0
        return min(max(0.0, self.timers[0][0] - monotonic()), LONGEST_WAIT) if self.timers else None

    def _ready(self, fd: int, events: int) -> None:
        for event, wait in list(self.waits.get(fd, {}).items()):
            if events & event:
                wait.resume(True)

    def close(self) -> None:
        for closing in (self.selector, self.alarm, self.bell):
            closing.close()

    # In a fiber

    def run_fiber(self, function: Callable[..., object], *arguments: Any) -> None:
        try:
            function(*arguments)
        except BaseException:  # as a thread does it
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
        finally:
            self.threads.ended(self)

    def wait_for(self, sock: socket.socket, writing: bool, timeout: float | None) -> bool:
        """`stream.wait_for` for fibers: one may read a socket, and one may write it."""
        event = selectors.EVENT_WRITE if writing else selectors.EVENT_READ
        fd = sock.fileno()
        wait = Wait(self)
        waits = self.waits.setdefault(fd, {})
        register = self.selector.modify if waits else self.selector.register
        waits[event] = wait
        register(fd, sum(waits))
        try:
            return wait.until(timeout)
        finally:
            del waits[event]
            if waits:
                self.selector.modify(fd, sum(waits))
            else:
                del self.waits[fd]
                self.selector.unregister(fd)


class Wait:
    """A fiber that waits for something that `wake` tells."""

    def __init__(self, thread: FiberThread) -> None:
        self.thread = thread
        self.fiber = getcurrent()
        self.done = False

    def until(self, timeout: float | None) -> bool:
        """In the fiber: let others run; whether it was woken before so many seconds were over."""
        if timeout is not None:
            timer = monotonic() + timeout, next(self.thread.serial), self
            heapq.heappush(self.thread.timers, timer)
        woken: bool = self.thread.hub.switch()
        return woken

    def wake(self) -> None:
        """From any thread."""
        self.thread.post(lambda: self.resume(True))

    def resume(self, woken: bool) -> None:
        if not self.done:
            self.done = True
            self.fiber.switch(woken)


def wake_all(waiting: deque[Wait]) -> None:
    while waiting:
        waiting.popleft().wake()


class Lock:
    """`threading.Lock` for fibers, and for other threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting: deque[Wait] = deque()

    def acquire(self, blocking: bool = True) -> bool:
        if here.fiber_thread is None:
            return self.lock.acquire(blocking)
        while not self.lock.acquire(blocking=False):
            if not blocking:
                return False
            wait = Wait(here.fiber_thread)
            self.waiting.append(wait)
            if self.lock.acquire(blocking=False):  # it was released before another thread could see us waiting
                wait.done = True
                break
            wait.until(None)
        return True

    def release(self) -> None:
        self.lock.release()
        wake_all(self.waiting)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()


class Condition:
    """`threading.Condition` for fibers, and for other threads, with a plain lock that no thread holds while waiting."""

    def __init__(self, lock: threading.Lock) -> None:
        self.lock = lock
        self.condition = threading.Condition(lock)
        self.waiting: deque[Wait] = deque()

    def wait(self, timeout: float | None = None) -> bool:
        if here.fiber_thread is None:
            return self.condition.wait(timeout)
        wait = Wait(here.fiber_thread)
        self.waiting.append(wait)
        self.lock.release()
        try:
            return wait.until(timeout)
        finally:
            self.lock.acquire()

    def notify_all(self) -> None:
        self.condition.notify_all()
        wake_all(self.waiting)


class Event(threading.Event):
    """`threading.Event` for fibers, and for other threads."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: deque[Wait] = deque()

    def set(self) -> None:
        super().set()
        wake_all(self.waiting)

    def wait(self, timeout: float | None = None) -> bool:
        if here.fiber_thread is None:
            return super().wait(timeout)
        wait = Wait(here.fiber_thread)
        self.waiting.append(wait)
        if self.is_set():
            wait.done = True
            return True
        return wait.until(timeout)


class FiberWaits(Waits):
    """The primitives with which fibers wait."""

    Lock = Lock
    Condition = Condition
    Event = Event

"""The event loop that a `Realtime` lives in, and the way there from other threads."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Final, TypeVar

__all__ = ["Home"]

T = TypeVar("T")

GLANCE: Final = 1.0  # seconds after which a thread that waits looks whether the loop is still there

REMEDY: Final = (
    "from another thread or event loop, call publish_sync(), or for all else "
    "asyncio.run_coroutine_threadsafe(rt.disconnect(...), rt.loop)"
)


class Home:
    """The event loop that everything happens in: what others did would come in any order, and break what is there.

    Attributes:
        loop: the event loop, None while there is none.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._time: Callable[[], float] | None = None
        self._mutex = threading.Lock()
        self._waiting: set[Future[Any]] = set()

    def enter(self) -> None:
        """The running loop is the one from now on."""
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._time = self.loop.time

    def time(self) -> float:
        """The time of the loop, or of the one that runs: seconds, never going back."""
        return asyncio.get_running_loop().time() if self._time is None else self._time()

    def leave(self) -> None:
        """There is no loop any more: threads that still wait are told."""
        with self._mutex:
            lost, self.loop, self._time = self.lost, None, None
            waiting, self._waiting = self._waiting, set()
        for future in () if lost else waiting:
            future.cancel()

    @property
    def lost(self) -> bool:
        """Whether the loop was closed without a word."""
        return self.loop is not None and self.loop.is_closed()

    def check(self) -> None:
        """Check that this is the loop.

        Raises:
            RuntimeError: if it is another one.
        """
        if self.loop is not None and not self.lost and asyncio.get_running_loop() is not self.loop:
            raise RuntimeError(f"this Realtime lives in another event loop, in which it was started: {REMEDY}")

    def check_thread(self) -> None:
        """Check that this is the thread of the loop.

        Raises:
            RuntimeError: if it is another one.
        """
        if self.loop is not None and not self.lost and threading.get_ident() != self._thread:
            raise RuntimeError(f"this Realtime lives in an event loop of another thread: {REMEDY}")

    def wait(self, work: Callable[[], Coroutine[Any, Any, T]], timeout: float | None) -> T:
        """Have something done in the loop, by another thread, which waits for it.

        Raises:
            RuntimeError: if this is the thread of the loop, or there is no loop, or none any more.
            TimeoutError: if it isn't done within so many seconds.
        """
        with self._mutex:
            loop = self.loop
            if loop is None or self.lost:
                raise RuntimeError("this Realtime isn't running: start it with `async with rt`, and leave it open")
            if threading.get_ident() == self._thread:
                raise RuntimeError("publish_sync() would wait for the event loop that it is called in: await publish()")
            coroutine = work()
            future = self._send(coroutine, loop)
            self._waiting.add(future)
        try:
            return self._result(future, loop, timeout)
        except CancelledError:
            raise RuntimeError("this Realtime was closed meanwhile: nobody knows whether that was done") from None
        finally:
            self._waiting.discard(future)
            if loop.is_closed():
                coroutine.close()
            else:
                future.cancel()

    def _send(self, coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> Future[T]:
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError:  # the loop was closed just now
            coroutine.close()
            raise

    def _result(self, future: Future[T], loop: asyncio.AbstractEventLoop, timeout: float | None) -> T:
        until = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            try:
                return future.result(max(0.0, min(GLANCE, until - time.monotonic())))
            except TimeoutError:
                if future.done():  # just now, or with this very error
                    return future.result()
            if loop.is_closed():
                raise CancelledError
            if time.monotonic() >= until:
                raise TimeoutError(f"not done within {timeout} seconds; it may still have been done")

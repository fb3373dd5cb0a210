"""Timers of all connections on an event loop.

A timer of the loop costs more memory than anything else that an idle connection has. Deadlines are far away and seldom
met, so those that are close to each other share one. Each is put off by at most 1/32 of the time until it is due.
"""

from __future__ import annotations

import asyncio
import math
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Protocol

__all__ = ["Deadlines", "HasDeadline", "clock_of"]

SHORTEST = 0.001  # seconds; event loops are no more precise


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """The clock of the connections on a loop: seconds, never going back.

    A loop that has a time of its own, as that of `trunkline.testing.memory`, has a method `clock`.
    """
    clock: Callable[[], float] = getattr(loop, "clock", monotonic)
    return clock


class HasDeadline(Protocol):
    """An object that can be called when it is time."""

    def on_due(self, due: float) -> None: ...


class Deadlines:
    """Calls connections back, all of them on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._clock = clock_of(loop)
        self._groups: dict[float, set[HasDeadline]] = {}  # by the time when they are called

    def add(self, connection: HasDeadline, deadline: float) -> float:
        """Have `connection.on_due(due)` called at `deadline`, or a little later.

        Returns:
            `due`: when that will be. Compare it: a call that was taken back too late comes nevertheless.
        """
        now = self._clock()
        _, exponent = math.frexp(max(deadline - now, SHORTEST))  # 2**(exponent - 1) <= time left < 2**exponent
        step = math.ldexp(1.0, exponent - 6)
        due = math.ceil(deadline / step) * step if deadline > now else deadline  # what is late already isn't put off
        group = self._groups.get(due)
        if group is None:
            group = self._groups[due] = set()
            loop = self._loop()
            assert loop is not None, "a connection keeps its loop"
            loop.call_later(max(0.0, due - now), self._call, due)
        group.add(connection)
        return due

    def remove(self, connection: HasDeadline, due: float) -> None:
        """Take back what `add` returned `due` for."""
        group = self._groups.get(due)
        if group is not None:
            group.discard(connection)

    def replace(self, connection: HasDeadline, heir: HasDeadline, due: float) -> None:
        """Have `on_due` of `heir` called in place of that of `connection`, for which `add` returned `due`."""
        group = self._groups.get(due)
        if group is not None:
            group.discard(connection)
            group.add(heir)

    def _call(self, due: float) -> None:
        for connection in self._groups.pop(due):
            try:
                connection.on_due(due)
            except Exception as error:
                context = {"message": "unexpected error at the deadline of a connection", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)

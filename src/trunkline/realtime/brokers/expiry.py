"""Forgets publications whose time is over, also where nothing is published or read any more."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from trunkline.realtime.brokers.local import Stream

__all__ = ["Expiry"]

LATE: Final = 1000  # milliseconds that publications may stay longer, so that those of busy streams go together


class Expiry:
    """One timer for the streams of a broker.

    Args:
        now: milliseconds since 1970.
        emptied: called with the name of a channel that has lost its last publication in this way.
    """

    def __init__(self, now: Callable[[], int], emptied: Callable[[str], None]) -> None:
        self._now = now
        self._emptied = emptied
        self._heap: list[tuple[int, int, str, Stream]] = []
        self._number = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0  # when the timer runs

    def watch(self, channel: str, stream: Stream) -> None:
        """A stream has publications, or a shorter ttl."""
        due = stream.expires_at
        if stream.kept and (stream.due is None or due < stream.due):
            stream.due = due
            heapq.heappush(self._heap, (due, next(self._number), channel, stream))
            self._schedule()

    def run(self, now: int) -> None:
        """Forget what is due. `now`: milliseconds since 1970."""
        while self._heap and self._heap[0][0] <= now:
            due, _, channel, stream = heapq.heappop(self._heap)
            if due != stream.due:
                continue  # there was an earlier entry
            stream.due = None
            stream.expire(now)
            if stream.kept:
                self.watch(channel, stream)
            else:
                self._emptied(channel)

    def start(self) -> None:
        """Run in this event loop."""
        self._schedule()

    def stop(self) -> None:
        """Run no more, until `start` is called."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        if not self._heap or (self._timer is not None and self._due <= self._heap[0][0]):
            return
        self.stop()
        self._due = self._heap[0][0]
        delay = max(self._due - self._now(), LATE)
        self._timer = asyncio.get_running_loop().call_later(delay / 1000, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.run(self._now())
        self._schedule()

"""One timer for the deadlines of all clients: a timer for each would take more memory than the rest of a client."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from trunkline.realtime.client import Client, State

__all__ = ["Deadlines"]

PAUSE = 0.01  # seconds: what isn't done by then is tried again


class Deadlines:
    """Calls when something is due for a client.

    Deadlines mostly move away: an entry that comes too early is cheaper than moving it each time.

    Args:
        on_deadline: called with the client and the time.
        clock: seconds, never going back.
    """

    def __init__(self, on_deadline: Callable[[Client, float], None], clock: Callable[[], float]) -> None:
        self._on_deadline = on_deadline
        self._clock = clock
        self._heap: list[tuple[float, int, Client]] = []
        self._number = itertools.count()
        self._closed = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def watch(self, client: Client) -> None:
        """A client has a deadline, perhaps earlier than before."""
        if self._enter(client):
            self._schedule()

    def _enter(self, client: Client, not_before: float = 0) -> bool:
        deadline = client.deadline()
        if deadline is None or (client.wake_at is not None and client.wake_at <= deadline):
            return False
        client.wake_at = max(deadline, not_before)
        heapq.heappush(self._heap, (client.wake_at, next(self._number), client))
        return True

    def forget(self) -> None:
        """A client was closed: don't keep too many of them."""
        self._closed += 1
        if self._closed > 64 + len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].state is not State.CLOSED]
            heapq.heapify(self._heap)
            self._closed = 0

    def close(self) -> None:
        """Forget all."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        if not self._heap or (self._timer is not None and self._due <= self._heap[0][0]):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = self._heap[0][0]
        self._timer = asyncio.get_running_loop().call_later(max(0.0, self._due - self._clock()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        # A loop may call early by as much as the resolution of its clock.
        now = max(self._clock(), self._due)
        while self._heap and self._heap[0][0] <= now:
            when, _, client = heapq.heappop(self._heap)
            if when != client.wake_at:
                continue  # there is an earlier entry
            client.wake_at = None
            deadline = client.deadline()
            if deadline is not None and deadline <= now:
                self._on_deadline(client, now)
            self._enter(client, now + PAUSE)
        self._schedule()

"""The times at which something is due for a client, for all clients of a node."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

from trunkline.realtime.hub.connected import Client, ClientState

__all__ = ["Schedule"]


class Schedule:
    """Clients by the time at which something is due for them.

    Deadlines mostly move away. An entry that comes too early is cheaper than moving it each time.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Client]] = []
        self._number = itertools.count()
        self._closed = 0

    def __len__(self) -> int:
        """How many entries it has."""
        return len(self._heap)

    @property
    def next(self) -> float | None:
        """When to call `due`; None if there is nothing to wait for."""
        return self._heap[0][0] if self._heap else None

    def enter(self, client: Client, not_before: float = 0) -> bool:
        """Enter a client, whose deadline may be earlier than before. Returns whether it is."""
        deadline = client.deadline()
        if deadline is None or (client.wake_at is not None and client.wake_at <= deadline):
            return False
        client.wake_at = max(deadline, not_before)
        heapq.heappush(self._heap, (client.wake_at, next(self._number), client))
        return True

    def due(self, now: float) -> Iterator[tuple[Client, bool]]:
        """Take out the clients whose time has come, each with whether something is due for it now."""
        while self._heap and self._heap[0][0] <= now:
            when, _, client = heapq.heappop(self._heap)
            if when != client.wake_at:
                continue  # there is an earlier entry
            client.wake_at = None
            deadline = client.deadline()
            yield client, deadline is not None and deadline <= now

    def forget(self) -> None:
        """A client was closed: don't keep too many of them."""
        self._closed += 1
        if self._closed > 64 + len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].state is not ClientState.CLOSED]
            heapq.heapify(self._heap)
            self._closed = 0

    def clear(self) -> None:
        """Forget all."""
        self._heap.clear()

"""One timer for the deadlines of all clients: a timer for each would take more memory than the rest of a client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from trunkline.realtime.hub.connected import Client
from trunkline.realtime.hub.schedule import Schedule

__all__ = ["Deadlines"]

PAUSE: Final = 0.01  # seconds after which a call that didn't do what was due is repeated


class Deadlines:
    """Calls when something is due for a client.

    Args:
        on_deadline: called with the client and the time.
        clock: seconds, never going back.
    """

    def __init__(self, on_deadline: Callable[[Client, float], None], clock: Callable[[], float]) -> None:
        self._on_deadline = on_deadline
        self._clock = clock
        self._schedule = Schedule()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def watch(self, client: Client) -> None:
        """A client has a deadline, perhaps earlier than before."""
        if self._schedule.enter(client):
            self._set_timer()

    def forget(self) -> None:
        """A client was closed."""
        self._schedule.forget()

    def close(self) -> None:
        """Forget all."""
        self._schedule.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        due = self._schedule.next
        if due is None or (self._timer is not None and self._due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due - self._clock()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        # A loop may call early by as much as the resolution of its clock.
        now = max(self._clock(), self._due)
        for client, is_due in self._schedule.due(now):
            if is_due:
                self._on_deadline(client, now)
            self._schedule.enter(client, now + PAUSE)
        self._set_timer()

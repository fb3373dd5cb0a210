"""After a gap, the clients of a channel recover: in portions, within ten seconds or so."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from trunkline.realtime import codes
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.hub.hub import Hub
from trunkline.realtime.hub.subscription import Subscription
from trunkline.realtime.subscriptions.entering import tell_end
from trunkline.realtime.tasks import Tasks

__all__ = ["Gaps"]

TOGETHER: Final = 10  # clients at least in a portion
PAUSE: Final = 0.01  # seconds between two
STEPS: Final = 1000  # portions at most


class Gaps:
    """Asks clients to subscribe again when the broker may have lost publications.

    Args:
        hub: the clients. Of each that must recover, it tells this object.
        clock: seconds, never going back.
        watch: called with a client for which something may be due earlier.
        tasks: those of the node.
    """

    def __init__(self, hub: Hub, clock: Callable[[], float], watch: Callable[[Client], None], tasks: Tasks) -> None:
        self.clock = clock
        self.watch = watch
        self.tasks = tasks
        hub.on_position_lost = self._position_lost
        self.start_over()

    def start_over(self) -> None:
        """Begin anew, in whatever event loop."""
        self._lost: deque[tuple[Client, Subscription]] = deque()
        self._recovering = False

    def _position_lost(self, client: Client, subscription: Subscription) -> None:
        """A client must recover."""
        self._lost.append((client, subscription))
        if not self._recovering:
            self._recovering = True
            self.tasks.spawn(self._let_recover())

    async def _let_recover(self) -> None:
        """Let clients recover some at a time, as each reads the history."""
        together = TOGETHER
        try:
            while self._lost:
                together = max(together, len(self._lost) // STEPS)
                for _ in range(min(together, len(self._lost))):
                    self._ask_to_resume(*self._lost.popleft())
                await asyncio.sleep(PAUSE)
        finally:
            self._recovering = False

    def _ask_to_resume(self, client: Client, subscription: Subscription) -> None:
        """Client libraries subscribe again only where the client had subscribed itself."""
        if client.subscriptions.get(subscription.name) is not subscription:
            return
        if subscription.server_side:
            client.disconnect(codes.INSUFFICIENT_STATE)
            return
        subscription.resuming = True
        until = self.clock() + client.timeouts.resume
        subscription.ends_at = until if subscription.ends_at is None else min(until, subscription.ends_at)
        self.watch(client)
        tell_end(client, subscription.name, codes.POSITION_LOST)

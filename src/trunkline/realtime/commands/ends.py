"""When connections and subscriptions end, unless their tokens are refreshed."""

from __future__ import annotations

from collections.abc import Callable

from trunkline.realtime.hub.connected import Client
from trunkline.realtime.hub.subscription import Subscription

__all__ = ["Ends"]


class Ends:
    """Sets the ends.

    Args:
        clock: seconds, never going back.
        watch: called with a client for which something may be due earlier.
    """

    def __init__(self, clock: Callable[[], float], watch: Callable[[Client], None]) -> None:
        self.clock = clock
        self.watch = watch

    def connection(self, client: Client, ttl: float | None) -> None:
        """The token of a client is good for so many seconds, None for ever. After that it has time to get another."""
        client.ends_at = None if ttl is None else self.clock() + ttl + client.timeouts.expired
        self.watch(client)

    def subscription(self, client: Client, subscription: Subscription, ttl: float | None) -> None:
        """The same for the token of a subscription."""
        subscription.ends_at = None if ttl is None else self.clock() + ttl + client.timeouts.expired
        self.watch(client)

"""Keeps the presence store up to date: when a client enters or leaves a channel, and again before entries expire."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from trunkline.realtime.client import Client
    from trunkline.realtime.hub import Hub
    from trunkline.realtime.presence import Presence
    from trunkline.realtime.publication import ClientInfo

__all__ = ["Attendance"]

logger = logging.getLogger("trunkline.realtime")

AT_ONCE: Final = 64  # entries that are renewed at the same time


class Attendance:
    """Tells the presence store which clients of this node are in which channel.

    Args:
        hub: who is there.
        store: where it is remembered.
    """

    def __init__(self, hub: Hub, store: Presence) -> None:
        self.hub = hub
        self.store = store
        self._renewing: asyncio.Task[None] | None = None
        self._failing = False

    async def update(self, client: Client, name: str) -> None:
        """Let the store say of a client and a channel what holds, also if that changes meanwhile.

        Raises:
            BrokerError: if the store can't.
        """
        while True:
            told = _shown(client, name)
            if told is None:
                await self.store.remove(name, client.id)
            else:
                await self.store.add(name, client.id, told)
            if _shown(client, name) == told:
                return

    # Renewal

    def start(self) -> None:
        """Renew entries in time, if they expire."""
        if self.store.ttl is not None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew(self.store.ttl / 3))

    def stop(self) -> None:
        """Renew no more."""
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None

    async def _renew(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            self._report(await self._renew_all(interval), interval)

    def _report(self, error: Exception | None, interval: float) -> None:
        """Log when the store begins to fail, and when it works again."""
        if error is not None and not self._failing:
            logger.error("presence can't be renewed: %s; trying again every %g s", error, interval)
        elif error is None and self._failing:
            logger.info("presence is renewed again")
        self._failing = error is not None

    async def _renew_all(self, interval: float) -> Exception | None:
        """Renew all entries, some at a time. Returns the last error."""
        entries = self._entries()
        failed: Exception | None = None

        async def work() -> None:
            nonlocal failed
            for client, name in entries:
                try:
                    async with asyncio.timeout(interval):
                        await self.update(client, name)
                except Exception as error:
                    failed = error if str(error) else TimeoutError(f"it doesn't answer within {interval:g} s")

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return failed

    def _entries(self) -> Iterator[tuple[Client, str]]:
        """The clients of this node that others see, each with a channel."""
        for client in list(self.hub.clients.values()):
            for name in list(client.subscriptions):
                if _shown(client, name) is not None:
                    yield client, name


def _shown(client: Client, name: str) -> ClientInfo | None:
    """What the presence of a channel shows of a client; None if nothing."""
    subscription = client.subscriptions.get(name)
    return subscription.info if subscription is not None and subscription.options.presence else None

"""Keeps the presence store up to date: when a client enters or leaves a channel, and again before entries expire."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterator
from typing import Final

from trunkline.realtime.hub.connected import Client
from trunkline.realtime.hub.hub import Hub
from trunkline.realtime.presence.base import Presence, PresenceEntry
from trunkline.realtime.publication import ClientInfo

__all__ = ["Attendance"]

logger = logging.getLogger("trunkline.realtime")

TOGETHER: Final = 64  # entries that are renewed in one call
AT_ONCE: Final = 4  # such calls


class Attendance:
    """Tells the presence store which clients of this node are in which channel.

    Args:
        hub: the clients.
        store: where other nodes, and the program, look.
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
            while some := list(itertools.islice(entries, TOGETHER)):
                try:
                    async with asyncio.timeout(interval):
                        await self._renew_some(some)
                except Exception as error:
                    failed = error if str(error) else TimeoutError(f"it doesn't answer within {interval:g} s")

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return failed

    async def _renew_some(self, clients: list[tuple[Client, str, ClientInfo]]) -> None:
        await self.store.add_many([PresenceEntry(name, client.id, info) for client, name, info in clients])
        for client, name, info in clients:
            if _shown(client, name) != info:  # it left meanwhile, and perhaps was removed before it was added again
                await self.update(client, name)

    def _entries(self) -> Iterator[tuple[Client, str, ClientInfo]]:
        """The clients of this node that others see, each with a channel and the facts that others see."""
        for client in list(self.hub.clients.values()):
            for name in list(client.subscriptions):
                info = _shown(client, name)
                if info is not None:
                    yield client, name, info


def _shown(client: Client, name: str) -> ClientInfo | None:
    """The facts about a client that the presence of a channel shows; None if it doesn't show the client."""
    subscription = client.subscriptions.get(name)
    return subscription.info if subscription is not None and subscription.options.presence else None

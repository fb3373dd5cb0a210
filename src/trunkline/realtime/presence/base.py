"""The contract of presence: it remembers which clients are in which channel."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from trunkline.realtime.publication import ClientInfo

__all__ = ["Presence", "PresenceEntry", "PresenceStats"]


class PresenceEntry(NamedTuple):
    """A client in a channel.

    Attributes:
        channel: name of the channel.
        client: id of the client.
        info: the facts that others see of it.
    """

    channel: str
    client: str
    info: ClientInfo


class PresenceStats(NamedTuple):
    """The numbers of a channel.

    Attributes:
        clients: connections.
        users: distinct users among them.
    """

    clients: int
    users: int


class Presence(ABC):
    """Remembers which clients are in which channel, on all nodes.

    Every implementation keeps these promises, and `trunkline.testing.brokers` checks them:

    Atomicity:
        Each call has its whole effect, or raises. Calls for different clients don't disturb each other.
    Order:
        A call sees the effect of every call of the same node that returned before. Those of other nodes show up within
        seconds.
    Expiry:
        An entry that isn't added again within `ttl` seconds expires. This removes the clients of a node that crashed.
        The node that has a client adds it again in time.

    Attributes:
        ttl: seconds; None if entries stay until they are removed, so that no node needs to add them again.
    """

    ttl: float | None = None

    async def start(self) -> None:  # noqa: B027  # most have nothing to do
        """Connect.

        Raises:
            BrokerError: if that fails.
        """

    async def close(self) -> None:  # noqa: B027
        """Release everything."""

    @abstractmethod
    async def add(self, channel: str, client: str, info: ClientInfo) -> None:
        """A client is in the channel, from now on or still. A later `info` replaces an earlier one."""

    async def add_many(self, entries: Sequence[PresenceEntry]) -> None:
        """Add several clients to their channels, at less cost than by `add`: nodes renew their entries so.

        Unless an implementation has a better way, it calls `add` for all at the same time.

        Raises:
            BrokerError: if an entry can't be added. The others are added nevertheless.
        """
        adding = [self.add(*entry) for entry in entries]
        for result in await asyncio.gather(*adding, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    @abstractmethod
    async def remove(self, channel: str, client: str) -> None:
        """A client isn't in the channel. No harm if it never was."""

    @abstractmethod
    async def get(self, channel: str) -> dict[str, ClientInfo]:
        """The clients in the channel, by their ids, with the facts that others see. The caller may change the dict."""

    @abstractmethod
    async def stats(self, channel: str) -> PresenceStats:
        """The numbers of the channel, at less cost than `get`."""

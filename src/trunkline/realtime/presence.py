"""Who is in a channel."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from trunkline.realtime.limits import check_seconds
from trunkline.realtime.publication import ClientInfo

__all__ = ["MemoryPresence", "Presence", "PresenceStats"]


class PresenceStats(NamedTuple):
    """How many are in a channel.

    Attributes:
        clients: connections.
        users: distinct users among them.
    """

    clients: int
    users: int


class Presence(ABC):
    """Remembers which clients are in which channel, on all nodes.

    What every implementation promises, and `trunkline.testing.brokers` checks:

    Atomicity:
        Each call has its whole effect, or raises. Calls for different clients don't disturb each other.
    Order:
        A call sees the effect of every call of the same node that returned before. Those of other nodes show up within
        seconds.
    Expiry:
        Who isn't added again within `ttl` seconds is gone: so vanish the clients of a node that crashed. The node that
        has a client adds it again in time.

    Attributes:
        ttl: seconds; None if entries stay until they are removed, so that nobody needs to add them again.
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

    @abstractmethod
    async def remove(self, channel: str, client: str) -> None:
        """A client isn't in the channel. No harm if it never was."""

    @abstractmethod
    async def get(self, channel: str) -> dict[str, ClientInfo]:
        """Who is in the channel: client ids with what is known of them. The caller may change the dict."""

    @abstractmethod
    async def stats(self, channel: str) -> PresenceStats:
        """How many are in the channel, at less cost than `get`."""


class MemoryPresence(Presence):
    """Presence in this process, for one node.

    Args:
        ttl: seconds after which an entry that isn't renewed expires; None: never. What removes the members of a node
            that crashed isn't needed where they vanish with the process.
        clock: seconds, never going back.

    Raises:
        TypeError, ValueError: if `ttl` makes no sense.
    """

    def __init__(self, ttl: float | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        if ttl is not None:
            check_seconds("ttl", ttl, positive=True)
        self.ttl = ttl
        self._clock = clock
        self._channels: dict[str, _Members] = {}

    async def add(self, channel: str, client: str, info: ClientInfo) -> None:
        members = self._channels.get(channel)
        if members is None:
            members = self._channels[channel] = _Members()
        members.add(client, info, None if self.ttl is None else self._clock() + self.ttl)

    async def remove(self, channel: str, client: str) -> None:
        members = self._channels.get(channel)
        if members is not None:
            members.remove(client)
            if not members.infos:
                del self._channels[channel]

    async def get(self, channel: str) -> dict[str, ClientInfo]:
        members = self._living(channel)
        return {} if members is None else dict(members.infos)

    async def stats(self, channel: str) -> PresenceStats:
        members = self._living(channel)
        return PresenceStats(0, 0) if members is None else PresenceStats(len(members.infos), len(members.users))

    def _living(self, channel: str) -> _Members | None:
        members = self._channels.get(channel)
        if members is None or self.ttl is None:
            return members
        members.expire(self._clock())
        if not members.infos:
            del self._channels[channel]
            return None
        return members


class _Members:
    """Who is in one channel."""

    __slots__ = ("deadlines", "infos", "users")

    def __init__(self) -> None:
        self.infos: dict[str, ClientInfo] = {}
        self.users: dict[str, int] = {}  # how many clients each user has
        self.deadlines: dict[str, float] = {}  # in the order of time, as the ttl is one for all

    def add(self, client: str, info: ClientInfo, deadline: float | None) -> None:
        self.remove(client)
        self.infos[client] = info
        self.users[info.user] = self.users.get(info.user, 0) + 1
        if deadline is not None:
            self.deadlines[client] = deadline

    def remove(self, client: str) -> None:
        info = self.infos.pop(client, None)
        if info is None:
            return
        self.deadlines.pop(client, None)
        self.users[info.user] -= 1
        if not self.users[info.user]:
            del self.users[info.user]

    def expire(self, now: float) -> None:
        late = []
        for client, deadline in self.deadlines.items():
            if deadline > now:
                break
            late.append(client)
        for client in late:
            self.remove(client)

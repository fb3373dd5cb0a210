"""Presence in the memory of this process."""

from __future__ import annotations

import time
from collections.abc import Callable

from trunkline.realtime.limits import check_seconds
from trunkline.realtime.presence.base import Presence, PresenceStats
from trunkline.realtime.publication import ClientInfo

__all__ = ["MemoryPresence"]


class MemoryPresence(Presence):
    """Presence in this process, for one node.

    Args:
        ttl: seconds after which an entry that isn't renewed expires; None: never. Expiry removes the members of a node
            that crashed, and here they vanish with the process.
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
    """The members of one channel."""

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
        expired = []
        for client, deadline in self.deadlines.items():
            if deadline > now:
                break
            expired.append(client)
        for client in expired:
            self.remove(client)

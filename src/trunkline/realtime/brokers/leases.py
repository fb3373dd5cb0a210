"""The members of channels, on all nodes that share a server.

Each node renews one lease for itself, and none for its members. The nodes that remain remove the members of one whose
lease has ended, and say that they left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

import msgspec

from trunkline.realtime.brokers.base import BrokerError
from trunkline.realtime.presence import Presence, PresenceStats
from trunkline.realtime.publication import ClientInfo

__all__ = ["ID", "LeasedPresence", "Tell", "open_info", "portions"]

T = TypeVar("T")

logger = logging.getLogger("trunkline.realtime")

TOGETHER: Final = 500  # commands for many members that are sent at once
ID: Final = 12  # bytes of the id of a node

_seal: Final = msgspec.msgpack.Encoder().encode
open_info: Final = msgspec.msgpack.Decoder(ClientInfo).decode

Tell = Callable[[str, ClientInfo], Awaitable[None]]


class _User(msgspec.Struct):
    """As much of a `ClientInfo` as is needed to count."""

    user: str = ""


_open_user: Final = msgspec.msgpack.Decoder(_User).decode


class LeasedPresence(Presence):
    """Members stay until they are removed, or their node is gone for the length of its lease.

    A node that others took for dead comes back under another id. A subclass reads and writes.

    Args:
        joined, left: tell every node of a member.
        lease: seconds.
    """

    def __init__(self, joined: Tell, left: Tell, lease: float) -> None:
        self._joined = joined
        self._left = left
        self._lease = lease
        self._id = ""
        self._members: dict[str, dict[str, bytes]] = {}  # of this node, by channel
        self._unsaid: set[tuple[str, str]] = set()  # channels and clients of which the server may not know the truth
        self._beating: asyncio.Task[None] | None = None
        self._beaten = 0.0  # when the lease was renewed
        self._reachable_since = 0.0
        self._server: object = None  # that renewed it

    # The server

    @abstractmethod
    def _present_server(self) -> object:
        """The process that has the data: another one may have lost it."""

    @abstractmethod
    async def _renew(self) -> tuple[bool, list[str]]:
        """Renew the lease. Returns whether it had to be made anew, and the ids of those that have ended."""

    @abstractmethod
    async def _claim(self, id: str) -> str | None:
        """Of a lease that has ended, the node whose members are to be removed by this node; None if another does it."""

    @abstractmethod
    async def _finish(self, id: str) -> None:
        """Remove the lease of a node that has no members any more."""

    @abstractmethod
    async def _write(self, entries: Sequence[tuple[str, str]]) -> None:
        """Let the server know whether these clients are members, by their channels and ids."""

    @abstractmethod
    async def _read(self, channel: str) -> list[tuple[str, bytes]]:
        """The members of a channel: the id of the client, and what `open_info` opens."""

    @abstractmethod
    async def _remove_members(self, id: str) -> None:
        """Remove what a node had added, and say that they left."""

    # Presence

    async def start(self) -> None:
        self._id, self._beaten = _new_id(), 0.0
        await self._beat()
        self._beating = asyncio.get_running_loop().create_task(self._keep_beating())

    async def close(self) -> None:
        if self._beating is None:
            return
        self._beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._beating
        self._beating = None
        with contextlib.suppress(BrokerError):
            await self._remove_members(self._id)
            await self._finish(self._id)
        self._members.clear()
        self._unsaid.clear()

    async def add(self, channel: str, client: str, info: ClientInfo) -> None:
        members = self._members.setdefault(channel, {})
        before = members.get(client)
        members[client] = _seal(info)
        try:
            await self._say(channel, client)
        except BaseException:
            self._undo(channel, client, before)
            raise

    def _undo(self, channel: str, client: str, before: bytes | None) -> None:
        members = self._members.setdefault(channel, {})
        if before is None:
            members.pop(client, None)
        else:
            members[client] = before
        if not members:
            del self._members[channel]

    async def remove(self, channel: str, client: str) -> None:
        self._undo(channel, client, None)
        await self._say(channel, client)

    async def _say(self, channel: str, client: str) -> None:
        """Let the server know whether a client is a member; if that fails, it is told later."""
        self._running()
        told = False
        try:
            await self._write([(channel, client)])
            told = True
        finally:
            if told:
                self._unsaid.discard((channel, client))
            else:
                self._unsaid.add((channel, client))

    async def get(self, channel: str) -> dict[str, ClientInfo]:
        self._running()
        return {client: open_info(info) for client, info in await self._read(channel)}

    async def stats(self, channel: str) -> PresenceStats:
        self._running()
        infos = [info for _, info in await self._read(channel)]
        return PresenceStats(len(infos), len({_open_user(info).user for info in infos}))

    def _running(self) -> None:
        if self._beating is None:
            raise BrokerError(f"this {type(self).__name__} isn't started, or is closed already")

    # The lease

    async def _keep_beating(self) -> None:
        failing = False
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                for id in await self._beat():
                    await self._take_over(id)
                await self._say_again()
                failing = False
            except BrokerError as error:
                if not failing:
                    logger.error("presence can't be renewed: %s; trying again every %g s", error, self._lease / 3)
                failing = True

    async def _beat(self) -> list[str]:
        """Renew the lease. Returns the nodes whose lease has ended, if it is time to believe that."""
        last, server = self._beaten, self._server
        new, ended = await self._renew()
        now, self._server = time.monotonic(), self._present_server()
        if now - last > self._lease * 2 / 3:  # it was away, or this node stood still: other leases may be over, too
            self._reachable_since = now
        self._beaten = now
        if new and last:
            # Others believed that this node had died, and published leaves; or the data is gone, and there were none.
            await self._come_back(said=now - last > self._lease and server == self._server)
        # While the server was away, no node could renew its lease: let all come back first.
        patient = now - self._reachable_since >= self._lease
        return ended if patient else []

    async def _come_back(self, said: bool) -> None:
        """Be another node, with the same members."""
        self._id = _new_id()
        await self._renew()
        members = [(channel, client) for channel, clients in self._members.items() for client in clients]
        for some in portions(members):
            await self._write(some)
            for channel, client in some if said else ():
                if (info := self._members.get(channel, {}).get(client)) is not None:
                    await self._joined(channel, open_info(info))

    async def _say_again(self) -> None:
        """Tell the server what it couldn't be told."""
        for channel, client in list(self._unsaid):
            await self._say(channel, client)

    async def _take_over(self, id: str) -> None:
        """A node is dead: remove its members, unless another node does."""
        gone = await self._claim(id)
        if gone is not None:
            logger.warning("node %s is gone: removing its clients from the presence", gone)
            await self._remove_members(gone)
            await self._finish(id)


def _new_id() -> str:
    return secrets.token_hex(ID // 2)


def portions(entries: Iterable[T]) -> Iterator[list[T]]:
    """Some of them at a time."""
    rest = iter(entries)
    while some := list(islice(rest, TOGETHER)):
        yield some

"""The members of channels, on all nodes that share NATS."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from trunkline.realtime.brokers.leases import LeasedPresence, Tell, open_info, portions
from trunkline.realtime.brokers.nats.connection import Connection
from trunkline.realtime.brokers.nats.jetstream import NAME_IN_USE, JetStream, JetStreamError, api, number_of, time_of
from trunkline.realtime.brokers.nats.link import NatsLink
from trunkline.realtime.brokers.nats.names import Names, untoken
from trunkline.realtime.brokers.nats.protocol import Message

__all__ = ["NatsPresence"]

LIVES: Final = b"+"
ENDS: Final = b"-"  # another node removes its members
GONE: Final = b"Nats-TTL: 1s\r\n"  # of a message that says that a member left; the stream forgets it, too


class NatsPresence(LeasedPresence):
    """Presence in a stream in the memory of NATS, which keeps the newest message of each subject.

    Each member is a message, and so is the lease of each node. The server's clock alone says whether a lease has ended.

    Args:
        link: the connection.
        names: of the stream and its subjects.
        replicas: servers of a cluster that have it.
        patience: seconds until a call gives up.
        joined, left: tell every node of a member.
        lease: seconds.
    """

    def __init__(
        self, link: NatsLink, names: Names, replicas: int, patience: float, joined: Tell, left: Tell, lease: float
    ) -> None:
        super().__init__(joined, left, lease)
        self._link = link
        self._names = names
        self._replicas = replicas
        self._stream = JetStream(link, names.members_stream, patience, self.prepare)
        self._number = 0  # of the message that is our lease
        self._leases: dict[str, int] = {}  # the numbers of those that have ended

    async def prepare(self, connection: Connection) -> None:
        """Make the stream if it isn't there.

        Raises:
            JetStreamError, ConnectionLost, TimeoutError: if that fails.
        """
        wanted: dict[str, Any] = {
            "name": self._names.members_stream,
            "subjects": [self._names.presence_subjects.decode()],
            "storage": "memory",
            "num_replicas": self._replicas,
            "max_msgs_per_subject": 1,
            "discard": "old",
            "allow_direct": True,
            "allow_msg_ttl": True,
        }
        try:
            await api(connection, f"STREAM.CREATE.{self._names.members_stream}", wanted)
        except JetStreamError as error:
            if error.code != NAME_IN_USE:
                raise

    def _present_server(self) -> str:
        connection = self._link.connection
        return "" if connection is None else str(connection.info.get("server_id", ""))

    async def start(self) -> None:
        self._number = 0
        await super().start()

    async def _come_back(self, said: bool) -> None:
        self._number = 0
        await super()._come_back(said)

    async def _renew(self) -> tuple[bool, list[str]]:
        new = not await self._write_lease(self._id, LIVES, self._number)
        leases = {_part(each, -1): each for each in await self._stream.read_from(self._names.leases, 1)}
        mine = leases.pop(self._id, None)
        if mine is None or mine.payload != LIVES:
            return True, []
        if new:  # the answer to a message of our own never came
            self._number = number_of(mine)
        ended = time_of(mine) - self._lease * 1000
        self._leases = {id: number_of(each) for id, each in leases.items() if time_of(each) < ended}
        return False, list(self._leases)

    async def _write_lease(self, id: str, state: bytes, number: int) -> bool:
        """Write a lease, unless it isn't this message any more; 0: unless there is one."""
        headers = b"Nats-Expected-Last-Subject-Sequence: %d\r\n" % number
        try:
            written = await self._stream.append(self._names.lease(id), state, headers, repeat=False)
        except JetStreamError:
            return False
        if id == self._id:
            self._number = written
        return True

    async def _claim(self, id: str) -> str | None:
        return id if await self._write_lease(id, ENDS, self._leases[id]) else None

    async def _finish(self, id: str) -> None:
        await self._stream.request("STREAM.PURGE", {"filter": self._names.lease(id).decode()})

    async def _write(self, entries: Sequence[tuple[str, str]]) -> None:
        await asyncio.gather(*(self._write_member(*entry) for entry in entries))

    async def _write_member(self, channel: str, client: str) -> None:
        info = self._members.get(channel, {}).get(client)
        subject = self._names.member(self._id, channel, client)
        await self._stream.append(subject, info or b"", b"" if info else GONE, repeat=True)

    async def _read(self, channel: str) -> list[tuple[str, bytes]]:
        length = self._lease * 1000
        members, leases = await asyncio.gather(
            self._stream.read_from(self._names.members(channel=channel), 1),
            self._stream.read_from(self._names.leases, 1),
        )
        newest = max(map(time_of, leases), default=0)
        alive = {self._id}
        alive.update(_part(each, -1) for each in leases if each.payload == LIVES and newest - time_of(each) < length)
        return [(_part(each, -1), each.payload) for each in members if each.payload and _part(each, -3) in alive]

    async def _remove_members(self, id: str) -> None:
        members = await self._stream.read_from(self._names.members(node=id), 1)
        for some in portions([each for each in members if each.payload]):
            await asyncio.gather(
                *(self._stream.append(each.header(b"Nats-Subject"), b"", GONE, repeat=True) for each in some)
            )
            for each in some:
                await self._left(_part(each, -2), open_info(each.payload))


def _part(message: Message, index: int) -> str:
    """A part of the subject under which a message is kept."""
    return untoken(message.header(b"Nats-Subject").split(b".")[index])

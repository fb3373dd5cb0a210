"""The members of channels, on all nodes that share a Redis.

Each node renews one lease for itself, and none for its members. The nodes that remain remove the members of one whose
lease has ended, and say that they left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

import msgspec

from trunkline.realtime.brokers.base import BrokerError
from trunkline.realtime.brokers.redis.commands import Commands, Script
from trunkline.realtime.brokers.redis.names import Names
from trunkline.realtime.presence import Presence, PresenceStats
from trunkline.realtime.publication import ClientInfo

__all__ = ["PRESENCE_SCRIPTS", "RedisPresence"]

T = TypeVar("T")

logger = logging.getLogger("trunkline.realtime")

TOGETHER: Final = 500  # commands for many members that are sent at once
ID: Final = 12  # bytes of the id of a node
ENDING: Final = "-"  # before the id of a node whose members are being removed

# KEYS: nodes, a sorted set of ids by when their lease ends, in milliseconds
# ARGV: run_id, id, length of the lease
# Returns: whether the node wasn't known, and the ids whose lease has ended
BEAT: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local new = redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[2])
return {new, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)}
""")

# KEYS: nodes   ARGV: run_id
# Returns: the ids whose lease hasn't ended
ALIVE: Final = Script("""
local time = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), '+inf')
""")

# KEYS: nodes   ARGV: run_id, id, the same with a mark, length of the lease
# Returns: 1 for the one node that has to remove the members; it has until the end of another lease for it
TAKE_OVER: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = redis.call('ZSCORE', KEYS[1], ARGV[2])
if not ends or tonumber(ends) > now then return 0 end
redis.call('ZREM', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[1], now + ARGV[4], ARGV[3])
return 1
""")

PRESENCE_SCRIPTS: Final = (BEAT, ALIVE, TAKE_OVER)

_seal: Final = msgspec.msgpack.Encoder().encode
_open: Final = msgspec.msgpack.Decoder(ClientInfo).decode

Tell = Callable[[str, ClientInfo], Awaitable[None]]


class _User(msgspec.Struct):
    """As much of a `ClientInfo` as is needed to count."""

    user: str = ""


_open_user: Final = msgspec.msgpack.Decoder(_User).decode


class RedisPresence(Presence):
    """Presence in Redis. Members stay until they are removed, or their node is gone for the length of its lease.

    Each channel has a hash of members, whose fields begin with the id of their node. Each node has a set of the
    channels in which it has members. A node that others took for dead comes back under another id.

    Args:
        commands: the connection.
        names: of keys.
        joined, left: tell every node of a member.
        lease: seconds.
    """

    def __init__(self, commands: Commands, names: Names, joined: Tell, left: Tell, lease: float) -> None:
        self._commands = commands
        self._names = names
        self._joined = joined
        self._left = left
        self._lease = lease
        self._id = ""
        self._members: dict[str, dict[str, bytes]] = {}  # of this node, by channel
        self._unsaid: set[tuple[str, str]] = set()  # channels and clients of which Redis may not know the truth
        self._beating: asyncio.Task[None] | None = None
        self._beaten = 0.0  # when the lease was renewed
        self._reachable_since = 0.0
        self._server = b""  # that renewed it

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
            await self._commands.call(b"ZREM", self._names.nodes, self._id.encode())
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
        """Let Redis know whether a client is a member; if that fails, it is told later."""
        self._running()
        told = False
        try:
            await self._commands.call_all(self._writes(self._id, channel, client))
            told = True
        finally:
            if told:
                self._unsaid.discard((channel, client))
            else:
                self._unsaid.add((channel, client))

    def _writes(self, id: str, channel: str, client: str) -> list[tuple[bytes, ...]]:
        """The commands that make it true in Redis."""
        key, field = self._names.key(channel, b"p"), (id + client).encode()
        channels, members = self._names.node_channels(id), self._members.get(channel, {})
        if (info := members.get(client)) is not None:
            return [(b"SADD", channels, channel.encode()), (b"HSET", key, field, info)]
        if members:
            return [(b"HDEL", key, field)]
        return [(b"SREM", channels, channel.encode()), (b"HDEL", key, field)]

    async def get(self, channel: str) -> dict[str, ClientInfo]:
        return {client: _open(info) for client, info in await self._read(channel)}

    async def stats(self, channel: str) -> PresenceStats:
        infos = [info for _, info in await self._read(channel)]
        return PresenceStats(len(infos), len({_open_user(info).user for info in infos}))

    async def _read(self, channel: str) -> list[tuple[str, bytes]]:
        self._running()
        fields, ids = await asyncio.gather(
            self._commands.call(b"HGETALL", self._names.key(channel, b"p")),
            self._commands.run(ALIVE, (self._names.nodes,), ()),
        )
        alive = {self._id.encode(), *ids}
        return [(field[ID:].decode(), info) for field, info in fields.items() if field[:ID] in alive]

    def _running(self) -> None:
        if self._beating is None:
            raise BrokerError("this RedisPresence isn't started, or is closed already")

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
        new, ended = await self._commands.run(
            BEAT, (self._names.nodes,), (self._id.encode(), b"%d" % round(self._lease * 1000))
        )
        now, self._server = time.monotonic(), self._commands.link.run_id
        if now - last > self._lease * 2 / 3:  # Redis was away, or this node stood still: other leases may be over, too
            self._reachable_since = now
        self._beaten = now
        if new and last:
            # Others believed that this node had died, and published leaves; or the data is gone, and there were none.
            await self._come_back(said=now - last > self._lease and server == self._server)
        # While Redis was away, no node could renew its lease: let all come back first.
        patient = now - self._reachable_since >= self._lease
        return [id.decode() for id in ended] if patient else []

    async def _come_back(self, said: bool) -> None:
        """Be another node, with the same members."""
        self._id = _new_id()
        await self._commands.run(BEAT, (self._names.nodes,), (self._id.encode(), b"%d" % round(self._lease * 1000)))
        members = [(channel, client) for channel, clients in self._members.items() for client in clients]
        for some in _portions(members):
            await self._commands.call_all([write for entry in some for write in self._writes(self._id, *entry)])
            for channel, client in some if said else ():
                if (info := self._members.get(channel, {}).get(client)) is not None:
                    await self._joined(channel, _open(info))

    async def _say_again(self) -> None:
        """Tell Redis what it couldn't be told."""
        for channel, client in list(self._unsaid):
            await self._say(channel, client)

    async def _take_over(self, id: str) -> None:
        """A node is dead: remove its members, unless another node does."""
        gone = id.removeprefix(ENDING)
        mine = await self._commands.run(
            TAKE_OVER,
            (self._names.nodes,),
            (id.encode(), (ENDING + gone).encode(), b"%d" % round(self._lease * 1000)),
        )
        if mine:
            logger.warning("node %s is gone: removing its clients from the presence", gone)
            await self._remove_members(gone)
            await self._commands.call(b"ZREM", self._names.nodes, (ENDING + gone).encode())

    async def _remove_members(self, id: str) -> None:
        """Remove what a node had added, and say that they left."""
        channels = self._names.node_channels(id)
        for channel in await self._commands.call(b"SMEMBERS", channels):
            await self._remove_from(channel.decode(), id.encode())
        await self._commands.call(b"DEL", channels)

    async def _remove_from(self, channel: str, id: bytes) -> None:
        key = self._names.key(channel, b"p")
        fields = await self._commands.call(b"HGETALL", key)
        for some in _portions([(field, info) for field, info in fields.items() if field[:ID] == id]):
            removed = await self._commands.call_all([(b"HDEL", key, field) for field, _ in some])
            for (_, info), was_there in zip(some, removed, strict=True):
                if was_there:
                    await self._left(channel, _open(info))


def _new_id() -> str:
    return secrets.token_hex(ID // 2)


def _portions(entries: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(entries)
    while some := list(islice(rest, TOGETHER)):
        yield some

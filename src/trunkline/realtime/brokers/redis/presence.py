"""The members of channels, on all nodes that share a Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from trunkline.realtime.brokers.leases import ID, LeasedPresence, Tell, open_info, portions
from trunkline.realtime.brokers.redis.commands import Commands, Script
from trunkline.realtime.brokers.redis.names import Names

__all__ = ["PRESENCE_SCRIPTS", "RedisPresence"]

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


class RedisPresence(LeasedPresence):
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
        super().__init__(joined, left, lease)
        self._commands = commands
        self._names = names

    def _present_server(self) -> bytes:
        return self._commands.link.run_id

    async def _renew(self) -> tuple[bool, list[str]]:
        new, ended = await self._commands.run(BEAT, (self._names.nodes,), (self._id.encode(), self._length()))
        return bool(new), [id.decode() for id in ended]

    def _length(self) -> bytes:
        return b"%d" % round(self._lease * 1000)

    async def _claim(self, id: str) -> str | None:
        gone = id.removeprefix(ENDING)
        ids = id.encode(), (ENDING + gone).encode()
        return gone if await self._commands.run(TAKE_OVER, (self._names.nodes,), (*ids, self._length())) else None

    async def _finish(self, id: str) -> None:
        gone = id.removeprefix(ENDING)
        await self._commands.call(b"ZREM", self._names.nodes, gone.encode(), (ENDING + gone).encode())

    async def _write(self, entries: Sequence[tuple[str, str]]) -> None:
        await self._commands.call_all([write for entry in entries for write in self._writes(*entry)])

    def _writes(self, channel: str, client: str) -> list[tuple[bytes, ...]]:
        """The commands that make it true in Redis."""
        key, field = self._names.key(channel, b"p"), (self._id + client).encode()
        channels, members = self._names.node_channels(self._id), self._members.get(channel, {})
        if (info := members.get(client)) is not None:
            return [(b"SADD", channels, channel.encode()), (b"HSET", key, field, info)]
        if members:
            return [(b"HDEL", key, field)]
        return [(b"SREM", channels, channel.encode()), (b"HDEL", key, field)]

    async def _read(self, channel: str) -> list[tuple[str, bytes]]:
        fields, ids = await asyncio.gather(
            self._commands.call(b"HGETALL", self._names.key(channel, b"p")),
            self._commands.run(ALIVE, (self._names.nodes,), ()),
        )
        alive = {self._id.encode(), *ids}
        return [(field[ID:].decode(), info) for field, info in fields.items() if field[:ID] in alive]

    async def _remove_members(self, id: str) -> None:
        channels = self._names.node_channels(id)
        for channel in await self._commands.call(b"SMEMBERS", channels):
            await self._remove_from(channel.decode(), id.encode())
        await self._commands.call(b"DEL", channels)

    async def _remove_from(self, channel: str, id: bytes) -> None:
        key = self._names.key(channel, b"p")
        fields = await self._commands.call(b"HGETALL", key)
        for some in portions([(field, info) for field, info in fields.items() if field[:ID] == id]):
            removed = await self._commands.call_all([(b"HDEL", key, field) for field, _ in some])
            for (_, info), was_there in zip(some, removed, strict=True):
                if was_there:
                    await self._left(channel, open_info(info))

"""The history of channels in Redis."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from trunkline.realtime.brokers.base import ID_TTL
from trunkline.realtime.brokers.envelope import CUT, Envelope, open_envelope, seal, seal_publication
from trunkline.realtime.brokers.redis.commands import Commands
from trunkline.realtime.brokers.redis.names import Names
from trunkline.realtime.brokers.redis.scripts import HISTORY, PUBLISH, REMOVE
from trunkline.realtime.brokers.tail import Slice
from trunkline.realtime.publication import Publication, StreamPosition

__all__ = ["Store"]

LARGEST: Final = 1 << 53  # numbers are doubles in Lua


class Store:
    """Appends, reads and removes.

    Args:
        commands: the connection.
        names: of keys.
        idle: milliseconds after which a channel is forgotten.
        clock: seconds since 1970; None for that of Redis.
    """

    def __init__(self, commands: Commands, names: Names, idle: int, clock: Callable[[], float] | None) -> None:
        self._commands = commands
        self._names = names
        self._idle = b"%d" % idle
        self._clock = clock
        self._name = secrets.token_urlsafe(6).encode()
        self._numbers = itertools.count()

    def now(self) -> int:
        """Milliseconds since 1970, as Redis counts them."""
        if self._clock is not None:
            return int(self._clock() * 1000)
        return int(time.time() * 1000) + self._commands.link.ahead

    async def append(
        self, channel: str, publication: Publication, size: int, ttl: int, id: str | None
    ) -> StreamPosition:
        """Append a publication, and let Redis deliver it. `ttl`: milliseconds.

        Raises:
            Uncertain, BrokerError: as `Broker.publish`.
        """
        meta, stream = self._keys(channel)
        offset, epoch, publication.time = await self._commands.run(
            PUBLISH,
            (meta, stream, meta if id is None else self._names.key(channel, b"i:" + id.encode())),
            (
                self._time(),
                b"%d" % size,
                b"%d" % ttl,
                seal_publication(publication, size, ttl),
                self._names.messages(channel),
                self._new_epoch(),
                b"" if id is None else b"%d" % (ID_TTL * 1000),
                self._idle,
            ),
            repeat=id is not None,
        )
        publication.offset = offset
        return StreamPosition(offset, epoch.decode())

    async def read(
        self,
        channel: str,
        since: int | None = None,
        limit: int | None = None,
        reverse: bool = False,
        create: bool = True,
    ) -> Slice:
        """Read publications, the newest first if `reverse`.

        Args:
            channel: its name.
            since, limit, reverse: as for `Broker.history`.
            create: whether the channel shall have an epoch afterwards; otherwise one without has the epoch "".

        Raises:
            BrokerError: if it can't be read.
        """
        if since is not None and not (reverse <= since < LARGEST):  # none is before 0
            since, limit = None, 0
        epoch, top, base, size, ttl, entries = await self._commands.run(
            HISTORY,
            self._keys(channel),
            (
                self._time(),
                b"" if since is None else b"%d" % since,
                b"" if limit is None else b"%d" % limit,
                b"%d" % reverse,
                self._new_epoch(),
                self._idle,
                b"%d" % create,
            ),
        )
        return Slice([_publication(entry) for entry in entries], StreamPosition(top, epoch.decode()), base, size, ttl)

    async def remove(self, channel: str) -> None:
        """Forget publications, and tell every node.

        Raises:
            BrokerError: if it can't be done.
        """
        await self._commands.run(
            REMOVE, self._keys(channel), (self._time(), self._names.messages(channel), seal(Envelope(CUT)))
        )

    def _keys(self, channel: str) -> tuple[bytes, bytes]:
        return self._names.key(channel, b"m"), self._names.key(channel, b"s")

    def _new_epoch(self) -> bytes:
        """One that no other node gives out, and this one only once."""
        return b"%b%x" % (self._name, next(self._numbers))

    def _time(self) -> bytes:
        return b"" if self._clock is None else b"%d" % self.now()


def _publication(entry: Any) -> Publication:
    """An entry of the stream: its id, and its fields."""
    id, (_, time, _, envelope) = entry
    return open_envelope(envelope).publication(int(id.partition(b"-")[0]), int(time))

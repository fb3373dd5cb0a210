"""History in this process, gone with it: `memory://`."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from trunkline.realtime.brokers.base import ID_TTL, History
from trunkline.realtime.brokers.local import LocalBroker, Stream, found, retained
from trunkline.realtime.publication import Publication, StreamPosition

__all__ = ["MemoryBroker"]


class MemoryBroker(LocalBroker):
    """Keeps the newest publications of each channel in a ring, for one node.

    All channels have one epoch, made when the broker is. A channel is forgotten after `idle` seconds without
    subscribers and publications. Its offsets don't start again: channels without a past begin where the longest one
    that was forgotten ended, so that no offset ever means two publications.

    Args:
        idle: seconds.
        clock: seconds since 1970.
    """

    def __init__(self, *, idle: float = 3600, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._clock = clock
        self._idle = round(idle * 1000)
        self._epoch = secrets.token_urlsafe(6)
        self._floor = 0  # offset at which channels begin that aren't in _streams
        self._streams: OrderedDict[str, Stream] = OrderedDict()
        self._ids: OrderedDict[tuple[str, str], tuple[int, StreamPosition]] = OrderedDict()  # in the order of time

    async def publish(
        self,
        channel: str,
        publication: Publication,
        *,
        size: int = 0,
        ttl: float = 0,
        id: str | None = None,
    ) -> StreamPosition:
        self._running()
        now = publication.time = self._now()
        if not retained(size, ttl, id):
            publication.offset = 0
            self._deliver(channel, publication)
            return StreamPosition()
        if id is not None and (first := self._first(channel, id, now)) is not None:
            return first
        stream = self._stream(channel, now)
        publication.offset = stream.top + 1
        stream.append(publication, size, ttl)
        position = StreamPosition(stream.top, self._epoch)
        if id is not None:
            self._ids[channel, id] = now, position
        self._tidy(now)
        self._deliver(channel, publication)
        return position

    async def subscribe(self, channel: str) -> None:
        await super().subscribe(channel)
        now = self._now()
        self._stream(channel, now)
        self._tidy(now)

    async def unsubscribe(self, channel: str) -> None:
        await super().unsubscribe(channel)
        if (stream := self._streams.get(channel)) is not None:
            stream.touched = self._now()

    async def history(
        self,
        channel: str,
        *,
        since: StreamPosition | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> History:
        self._running()
        stream = self._streams.get(channel) or Stream(self._floor)
        stream.expire(self._now())
        publications = stream.read(since and since.offset, limit, reverse)
        return found(publications, StreamPosition(stream.top, self._epoch), stream.base, since, reverse)

    async def remove_history(self, channel: str) -> None:
        self._running()
        if (stream := self._streams.get(channel)) is not None:
            stream.clear()

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _stream(self, channel: str, now: int) -> Stream:
        stream = self._streams.get(channel)
        if stream is None:
            stream = self._streams[channel] = Stream(self._floor, now)
        return stream

    def _first(self, channel: str, id: str, now: int) -> StreamPosition | None:
        """The position of the publication that had this id already."""
        while self._ids:
            oldest = next(iter(self._ids))
            if self._ids[oldest][0] + ID_TTL * 1000 > now:
                break
            del self._ids[oldest]
        known = self._ids.get((channel, id))
        return None if known is None else known[1]

    def _tidy(self, now: int) -> None:
        """Look at one channel, the next time at another; forget what is no longer of use."""
        channel, stream = self._streams.popitem(last=False)
        if channel not in self._subscribed and stream.touched + self._idle <= now:
            stream.expire(now)
            if not stream.kept:
                self._floor = max(self._floor, stream.top)
                return
        self._streams[channel] = stream

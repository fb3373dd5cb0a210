"""History in this process, gone with it: `memory://`."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from trunkline.realtime.brokers.base import ID_TTL, BrokerEvents, History
from trunkline.realtime.brokers.expiry import Expiry
from trunkline.realtime.brokers.local import LocalBroker, Stream, found, milliseconds, retained
from trunkline.realtime.limits import check_count, check_seconds
from trunkline.realtime.publication import Publication, StreamPosition

__all__ = ["MemoryBroker"]


class MemoryBroker(LocalBroker):
    """Keeps the newest publications of each channel in a ring, for one node. They go when their time is over, at most a
    second later.

    All channels have one epoch, made when the broker is. A channel without subscribers and publications is forgotten
    after `idle` seconds, and earlier when more than `channels` of them rest. Its offsets don't start again: channels
    without a past begin where the longest one that was forgotten ended. So no offset ever means two publications.

    Args:
        idle: seconds.
        channels: without subscribers and publications, to remember the positions of.
        clock: seconds since 1970.

    Raises:
        TypeError, ValueError: if `idle` or `channels` makes no sense.
    """

    def __init__(self, *, idle: float = 3600, channels: int = 10_000, clock: Callable[[], float] = time.time) -> None:
        check_seconds("idle", idle)
        check_count("channels", channels)
        super().__init__()
        self._clock = clock
        self._idle = milliseconds(idle)
        self._most = channels
        self._epoch = secrets.token_urlsafe(6)
        self._floor = 0  # offset at which channels begin that aren't in _streams
        self._streams: dict[str, Stream] = {}
        self._resting: OrderedDict[str, int] = OrderedDict()  # without subscribers and publications, and since when
        self._expiry = Expiry(self._now, self._rest)
        self._ids: OrderedDict[tuple[str, str], tuple[int, StreamPosition]] = OrderedDict()  # in the order of time

    async def start(self, events: BrokerEvents) -> None:
        await super().start(events)
        self._expiry.start()

    async def close(self) -> None:
        self._expiry.stop()
        await super().close()
        for channel in list(self._streams):
            self._rest(channel)

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
        self._tidy(now)
        if not retained(size, ttl, id):
            publication.offset = 0
            self._deliver(channel, publication)
            return StreamPosition()
        if id is not None and (known := self._ids.get((channel, id))) is not None:
            return known[1]
        stream = self._wake(channel)
        publication.offset = stream.top + 1
        stream.append(publication, size, ttl)
        self._expiry.watch(channel, stream)
        position = StreamPosition(stream.top, self._epoch)
        if id is not None:
            self._ids[channel, id] = now, position
        self._deliver(channel, publication)
        return position

    async def subscribe(self, channel: str) -> None:
        await super().subscribe(channel)
        self._tidy(self._now())
        self._wake(channel)

    async def unsubscribe(self, channel: str) -> None:
        await super().unsubscribe(channel)
        self._rest(channel)

    async def history(
        self,
        channel: str,
        *,
        since: StreamPosition | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> History:
        self._running()
        now = self._now()
        self._tidy(now)
        stream = self._streams.get(channel) or Stream(self._floor)
        stream.expire(now)
        publications = stream.read(since and since.offset, limit, reverse)
        return found(publications, StreamPosition(stream.top, self._epoch), stream.base, since, reverse)

    async def remove_history(self, channel: str) -> None:
        self._running()
        if (stream := self._streams.get(channel)) is not None:
            stream.clear()
            self._rest(channel)

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _wake(self, channel: str) -> Stream:
        """The stream of a channel that has a use now."""
        self._resting.pop(channel, None)
        stream = self._streams.get(channel)
        if stream is None:
            stream = self._streams[channel] = Stream(self._floor)
        return stream

    def _rest(self, channel: str) -> None:
        """Forget a channel soon if it has neither subscribers nor publications, or now if that makes no difference."""
        stream = self._streams.get(channel)
        if stream is None or stream.kept or channel in self._subscribed:
            return
        if stream.top == self._floor:
            self._forget(channel)
        else:
            self._resting.setdefault(channel, self._now())
            if len(self._resting) > self._most:
                self._forget(next(iter(self._resting)))

    def _forget(self, channel: str) -> None:
        self._resting.pop(channel, None)
        self._floor = max(self._floor, self._streams.pop(channel).top)

    def _tidy(self, now: int) -> None:
        """Forget what is no longer of use."""
        self._expiry.run(now)
        while self._resting:
            channel, since = next(iter(self._resting.items()))
            if since + self._idle > now:
                break
            self._forget(channel)
        while self._ids:
            oldest, (published, _) = next(iter(self._ids.items()))
            if published + ID_TTL * 1000 > now:
                break
            del self._ids[oldest]

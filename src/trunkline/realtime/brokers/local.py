"""The common part of the brokers for a single node: they deliver by a function call."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import TypeVar

from trunkline.realtime.brokers.base import Broker, BrokerError, BrokerEvents, History
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition

__all__ = ["LocalBroker", "Stream", "found", "milliseconds", "retained"]

T = TypeVar("T")

logger = logging.getLogger("trunkline.realtime")


class Stream:
    """The newest publications of a channel, without gaps.

    Args:
        top: offset of the newest publication there was.

    Attributes:
        top: the same, kept up to date.
        whole: whether these are all that are kept anywhere, and not only the newest of them.
        due: when `Expiry` looks at it, in milliseconds since 1970; None if never.
    """

    __slots__ = ("_publications", "_ttl", "due", "top", "whole")

    def __init__(self, top: int) -> None:
        self.top = top
        self.whole = True
        self.due: int | None = None
        self._publications: deque[Publication] | None = None  # many channels never see one, and a deque is large
        self._ttl = 0

    @classmethod
    def of(cls, newest: list[Publication], top: int, ttl: float, base: int) -> Stream:
        """A stream of the newest publications, newest first, of a channel that has those after the offset `base`."""
        stream = cls(top)
        if newest:
            stream._publications = deque(reversed(newest))
        stream._ttl = milliseconds(ttl)
        stream.whole = stream.base <= base
        return stream

    @property
    def kept(self) -> int:
        """Number of publications."""
        return 0 if self._publications is None else len(self._publications)

    @property
    def base(self) -> int:
        """Offset up to which publications are forgotten."""
        return self.top - self.kept

    @property
    def expires_at(self) -> int:
        """When the oldest publication is too old, in milliseconds since 1970; 0 if there is none."""
        return self._publications[0].time + self._ttl if self._publications else 0

    def append(self, publication: Publication, size: int, ttl: float) -> None:
        """Add a publication, whose offset and time are set; forget those beyond `size`, or older than `ttl` seconds."""
        publications = self._publications
        if publications is None or publications.maxlen != size:
            publications = self._publications = deque(publications or (), size)
        if publication.offset != self.top + 1:
            publications.clear()
        publications.append(publication)
        self.top = publication.offset
        self._ttl = milliseconds(ttl)
        self.expire(publication.time)

    def expire(self, now: int) -> None:
        """Forget what is older than the ttl. `now`: milliseconds since 1970."""
        publications = self._publications
        if publications:
            oldest = now - self._ttl
            while publications and publications[0].time <= oldest:
                publications.popleft()

    def clear(self) -> None:
        """Forget the publications."""
        self._publications = None

    def read(self, since: int | None, limit: int | None, reverse: bool) -> list[Publication]:
        """Publications after the offset `since`, or before it if `reverse`; see `Broker.history`."""
        publications = self._publications
        if not publications:
            return []
        kept = self.kept
        if reverse:
            newer = 0 if since is None else min(max(self.top - since + 1, 0), kept)
            stop = None if limit is None else newer + limit
            return list(islice(reversed(publications), newer, stop))
        older = 0 if since is None else min(max(since - self.base, 0), kept)
        if limit is not None and limit < kept - older:
            return list(islice(publications, older, older + limit))
        newest = list(islice(reversed(publications), kept - older))  # a deque is quick at its ends
        newest.reverse()
        return newest


class LocalBroker(Broker):
    """Delivers within this process; a subclass keeps the history."""

    def __init__(self) -> None:
        self._events: BrokerEvents | None = None
        self._subscribed: set[str] = set()

    async def start(self, events: BrokerEvents) -> None:
        self._events = events

    async def close(self) -> None:
        self._events = None
        self._subscribed.clear()

    async def publish_join(self, channel: str, info: ClientInfo) -> None:
        self._tell(channel, self._running().on_join, info)

    async def publish_leave(self, channel: str, info: ClientInfo) -> None:
        self._tell(channel, self._running().on_leave, info)

    async def subscribe(self, channel: str) -> None:
        self._running()
        self._subscribed.add(channel)

    async def unsubscribe(self, channel: str) -> None:
        self._running()
        self._subscribed.discard(channel)

    def _running(self) -> BrokerEvents:
        if self._events is None:
            raise BrokerError(f"this {type(self).__name__} isn't started, or is closed already")
        return self._events

    def _deliver(self, channel: str, *publications: Publication) -> None:
        if self._events is not None:
            self._tell(channel, self._events.on_publications, publications)

    def _tell(self, channel: str, event: Callable[[str, T], None], about: T) -> None:
        if channel in self._subscribed:
            try:
                event(channel, about)
            except Exception:  # what was accepted stays accepted
                logger.exception("delivery in channel %r failed", channel)


def retained(size: int, ttl: float, id: str | None) -> bool:
    """Whether the arguments of `Broker.publish` ask for history.

    Raises:
        ValueError: if there is an id, and they don't.
    """
    if size > 0 and ttl > 0:
        return True
    if id is not None:
        raise ValueError(f"a publication with an id ({id!r}) needs history; give the channel size and ttl")
    return False


def milliseconds(seconds: float) -> int:
    """Seconds in milliseconds, at least one unless there are none; forever is three centuries."""
    return max(round(min(seconds, 1e10) * 1000), 1 if seconds > 0 else 0)


def found(
    publications: list[Publication], position: StreamPosition, base: int, since: StreamPosition | None, reverse: bool
) -> History:
    """The answer of `Broker.history`.

    Args:
        publications: those after `since`, or before it, by its offset.
        position: of the newest publication.
        base: offset up to which publications are forgotten.
    """
    if since is None:
        return History(publications, position, True)
    newest = position.offset + 1 if reverse else position.offset  # "before the next one" is everything
    if since.epoch != position.epoch or since.offset > newest:
        return History([], position, False)
    return History(publications, position, reverse or since.offset >= base)

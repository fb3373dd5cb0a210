"""Where a node stands in a channel, and the newest publications that it delivered; no I/O here.

For brokers whose publications reach the node over a network. The node notices that some are missing, and where it must
read on. Those that arrive meanwhile wait. One ring for each channel also carries a storm of clients that come back.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final, NamedTuple

from trunkline.realtime.brokers.base import History
from trunkline.realtime.brokers.local import found
from trunkline.realtime.publication import Publication, StreamPosition

__all__ = ["RING", "Arrival", "Ring", "Slice", "Tail"]

RING: Final = 300  # publications of a channel in memory
WAITING: Final = 1000  # publications that wait until missing ones are read; with more, all of them are read


class Arrival(NamedTuple):
    """A publication that reached the node.

    Attributes:
        epoch: that of its offset.
        previous: offset of the publication before it; of the newest one that was removed, if the history was.
        offset: its own; if the history was removed, the newest position.
        publication: None if the history was removed.
        size, ttl: publications to keep, and for how many milliseconds.
    """

    epoch: str
    previous: int
    offset: int
    publication: Publication | None
    size: int
    ttl: int


class Slice(NamedTuple):
    """The publications that were read of a channel.

    Attributes:
        publications: in the order of their offsets.
        position: the newest place.
        base: offset up to which publications are forgotten everywhere; any before the offset asked for, if none is
            forgotten after that.
        size, ttl: publications that are kept, and for how many milliseconds.
    """

    publications: list[Publication]
    position: StreamPosition
    base: int
    size: int
    ttl: int


class Ring:
    """The newest publications of a channel, all those after `base`.

    Attributes:
        base: offset.
        top: offset of the newest publication there was.
        whole: whether nothing older is kept anywhere.
        loaded: whether older ones were asked for.
    """

    __slots__ = ("_publications", "_ttl", "base", "loaded", "top", "whole")

    def __init__(self, top: int) -> None:
        self.base = self.top = top
        self.whole = self.loaded = False
        self._publications: deque[Publication] = deque()
        self._ttl = 0

    def append(self, publication: Publication, size: int, ttl: int) -> None:
        """Add the next publication; forget those that aren't kept."""
        publications = self._publications
        publications.append(publication)
        self.top = publication.offset
        self._ttl = ttl
        most = min(size, RING)
        while len(publications) > most:
            self.base = publications.popleft().offset
        self.whole = len(publications) >= size or (self.whole and len(publications) < RING)

    def load(self, newest: Slice, limit: int) -> None:
        """Add older publications, of the newest ones that were read. `limit`: how many of them were asked for."""
        self.loaded = True
        older = newest.publications
        base = newest.base if len(older) < limit else older[0].offset - 1  # there may be gaps between offsets
        if base <= self.base <= newest.position.offset:
            self._publications.extendleft(each for each in reversed(older) if each.offset <= self.base)
            self.base = base
            self.whole = newest.base >= base
            self._ttl = self._ttl or newest.ttl

    def forget(self, base: int) -> None:
        """Publications up to this offset are forgotten everywhere."""
        publications = self._publications
        while publications and publications[0].offset <= base:
            publications.popleft()
        if base >= self.base:
            self.base, self.whole = base, True

    def expire(self, now: int) -> None:
        """Forget what is older than the ttl. `now`: milliseconds since 1970."""
        publications, oldest = self._publications, now - self._ttl
        while publications and publications[0].time <= oldest:
            self.base = publications.popleft().offset

    def read(self, since: int | None, limit: int | None, reverse: bool) -> list[Publication]:
        """Publications after the offset `since`, or before it if `reverse`; see `Broker.history`."""
        newest_first = reversed(self._publications)
        if reverse:
            selected = [each for each in newest_first if since is None or each.offset < since]
        else:
            selected = []
            for each in newest_first:
                if since is not None and each.offset <= since:
                    break
                selected.append(each)
            selected.reverse()
        return selected if limit is None else list(islice(selected, limit))


class Tail:
    """A node's place in a channel that has a history. Without an epoch, it was never told of a publication.

    Attributes:
        epoch: that of the offsets.
        ring: the newest publications that were delivered.
        known: offset that a caller at this node was told.
        healing: whether publications may be missing, which must be read.
    """

    __slots__ = ("_overflown", "_waiting", "epoch", "healing", "known", "ring")

    def __init__(self, position: StreamPosition) -> None:
        self.epoch = position.epoch
        self.ring = Ring(position.offset)
        self.known = 0
        self.healing = False
        self._waiting: list[Arrival] = []
        self._overflown = False

    @property
    def position(self) -> StreamPosition:
        """Everything up to here was delivered."""
        return StreamPosition(self.ring.top, self.epoch)

    def take(self, arrival: Arrival) -> Publication | None:
        """The publication to deliver now, if there is one. If `healing` is true then, some are missing before it."""
        if not self.healing and arrival.epoch == self.epoch and arrival.previous <= self.ring.top:
            return self._accept(arrival)
        if self.healing or arrival.epoch == self.epoch:
            self._wait(arrival)
        self.healing = True  # one of another epoch needn't wait: if that is the newest, all of it is read
        return None

    def _accept(self, arrival: Arrival) -> Publication | None:
        if arrival.publication is None:
            self.ring.forget(arrival.previous)
            self.ring.top = max(self.ring.top, arrival.offset)
            return None
        if arrival.offset <= self.ring.top:
            return None  # it was read before
        self.ring.append(arrival.publication, arrival.size, arrival.ttl)
        return arrival.publication

    def _wait(self, arrival: Arrival) -> None:
        if len(self._waiting) >= WAITING:
            self._waiting.clear()
            self._overflown = True
        if not self._overflown:
            self._waiting.append(arrival)

    def healed(self, read: Slice) -> tuple[bool, list[Publication]]:
        """Everything after `position` was read. Returns whether publications are lost, and those to deliver.

        Those that waited are among them, unless more must be read before them: then `healing` is still true.
        """
        position = read.position
        if self.epoch and position.epoch != self.epoch:
            self._begin_anew(StreamPosition(0, position.epoch))  # whose publications are all new to this node
            return True, []
        if not self.epoch or position.offset < self.ring.top:
            self._begin_anew(self._before_those_that_wait(position))
            return self.ring.top > 0, self._go_on()
        lost = read.base > self.ring.top
        self.ring.forget(read.base)
        for publication in read.publications:
            self.ring.append(publication, read.size, read.ttl)
        self.advance(position.offset)
        return lost, read.publications + self._go_on()

    def advance(self, offset: int) -> None:
        """Nothing that is kept lies between the newest publication and this offset."""
        self.ring.top = max(self.ring.top, offset)

    def _before_those_that_wait(self, position: StreamPosition) -> StreamPosition:
        """A position, or an earlier one, if publications from there on are here."""
        first = next((each.previous for each in self._waiting if each.epoch == position.epoch), position.offset)
        return StreamPosition(min(first, position.offset), position.epoch)

    def _begin_anew(self, position: StreamPosition) -> None:
        self.epoch = position.epoch
        self.known = 0
        self.ring = Ring(position.offset)

    def _go_on(self) -> list[Publication]:
        """Take what waited."""
        waiting, self._waiting = self._waiting, []
        self.healing, self._overflown = self._overflown, False
        return [publication for each in waiting if (publication := self.take(each)) is not None]

    def history(self, since: StreamPosition | None, limit: int | None, reverse: bool, now: int) -> History | None:
        """The answer of `Broker.history`; None if the ring has it not. `now`: milliseconds since 1970."""
        if self.healing or self.known > self.ring.top:
            return None
        self.ring.expire(now)
        if not self._covers(since, limit, reverse):
            return None
        publications = self.ring.read(since and since.offset, limit, reverse)
        return found(publications, self.position, self.ring.base, since, reverse)

    def is_behind(self, since: StreamPosition | None, reverse: bool) -> bool:
        """Whether a position lies beyond what was delivered: another node may have given it out."""
        return since is not None and since.epoch == self.epoch and since.offset > self.ring.top + reverse

    def _covers(self, since: StreamPosition | None, limit: int | None, reverse: bool) -> bool:
        if self.is_behind(since, reverse):
            return False
        if self.ring.whole or (since is None and limit == 0):
            return True
        return since is not None and (since.epoch != self.epoch or (not reverse and since.offset >= self.ring.base))

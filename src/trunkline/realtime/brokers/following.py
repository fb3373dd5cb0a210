"""The channels that a node listens to: in order, without holes, and without asking the broker twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, TypeVar

from trunkline.realtime.brokers.base import BrokerError, BrokerEvents, History
from trunkline.realtime.brokers.envelope import JOIN, LEAVE
from trunkline.realtime.brokers.tail import RING, Arrival, Slice, Tail
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition

__all__ = ["Event", "Following", "Reader"]

logger = logging.getLogger("trunkline.realtime")

T = TypeVar("T")

PAUSE: Final = 1.0  # seconds before what couldn't be read is read again

#: A publication with history, one without, or a join or leave, which reached the node.
Event = Arrival | Publication | tuple[int, ClientInfo]


class Reader(Protocol):
    """Where missing publications are read."""

    async def read(
        self,
        channel: str,
        since: int | None = None,
        limit: int | None = None,
        reverse: bool = False,
        create: bool = True,
    ) -> Slice:
        """Read publications.

        Raises:
            BrokerError: if that fails.
        """


class _Followed:
    """A channel.

    Attributes:
        tail: None if the node was told of no publication with history yet.
        healing: the task that reads what is missing.
        loading: the task that reads what clients may have missed that come back.
    """

    __slots__ = ("channel", "healing", "loading", "tail")

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.tail: Tail | None = None
        self.healing: asyncio.Task[None] | None = None
        self.loading: asyncio.Task[None] | None = None


class Following:
    """Delivers what arrives, reads what is missing, and answers from memory what clients ask that come back.

    Args:
        reader: of the history.
        barrier: returns when everything that the broker has sent up to now has arrived.
        now: milliseconds since 1970, as the broker counts them.
    """

    def __init__(self, reader: Reader, barrier: Callable[[], Awaitable[None]], now: Callable[[], int]) -> None:
        self._reader = reader
        self._barrier = barrier
        self._now = now
        self._events: BrokerEvents | None = None
        self._channels: dict[str, _Followed] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, events: BrokerEvents) -> None:
        """Deliver to a node."""
        self._events = events

    async def close(self) -> None:
        """Deliver no more."""
        self._events = None
        self._channels.clear()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def add(self, channel: str) -> None:
        """Deliver what arrives in a channel."""
        self._channels.setdefault(channel, _Followed(channel))

    def discard(self, channel: str) -> None:
        """Deliver nothing of a channel any more."""
        self._channels.pop(channel, None)

    # Delivery

    def arrived(self, channel: str, events: Sequence[Event]) -> None:
        """Something happened in a channel; several things come together, in their order."""
        followed = self._channels.get(channel)
        if followed is None:
            return
        publications: list[Publication] = []
        for event in events:
            if isinstance(event, Arrival):
                publication = self._take(followed, event)
                if publication is not None:
                    publications.append(publication)
            elif isinstance(event, Publication):
                publications.append(event)
            else:
                self._deliver(channel, publications)
                publications = []
                self._tell_of(channel, *event)
        self._deliver(channel, publications)

    def _take(self, followed: _Followed, arrival: Arrival) -> Publication | None:
        tail = followed.tail
        if tail is None:  # nothing was missed: the broker delivers since the channel was subscribed to
            tail = followed.tail = Tail(StreamPosition(arrival.previous, arrival.epoch))
        publication = tail.take(arrival)
        if tail.healing:
            self._heal(followed)
        return publication

    def _deliver(self, channel: str, publications: Sequence[Publication]) -> None:
        if publications and self._events is not None:
            self._tell(self._events.on_publications, channel, publications)

    def _tell_of(self, channel: str, kind: int, info: ClientInfo) -> None:
        if self._events is not None and kind in (JOIN, LEAVE):
            self._tell(self._events.on_join if kind == JOIN else self._events.on_leave, channel, info)

    def _tell(self, event: Callable[[str, T], None], channel: str, about: T) -> None:
        try:
            event(channel, about)
        except Exception:  # what was accepted stays accepted
            logger.exception("delivery in channel %r failed", channel)

    # Healing

    def heal_all(self) -> None:
        """Everything may have been missed, in every channel."""
        for channel in self._channels:
            self.heal(channel)

    def heal(self, channel: str) -> None:
        """Something may have been missed in a channel."""
        followed = self._channels.get(channel)
        if followed is not None:
            if followed.tail is None:
                followed.tail = Tail(StreamPosition())
            followed.tail.healing = True
            self._heal(followed)

    def tops(self) -> dict[str, int | None]:
        """By channel, the offset up to which everything was delivered; None where the node was told of none."""
        return {name: None if each.tail is None else each.tail.ring.top for name, each in self._channels.items()}

    def _heal(self, followed: _Followed) -> None:
        if followed.healing is None:
            followed.healing = self._spawn(self._read_missing(followed))

    async def _read_missing(self, followed: _Followed) -> None:
        try:
            while (tail := followed.tail) is not None and tail.healing and self._is_followed(followed):
                try:
                    read = await self._reader.read(followed.channel, tail.ring.top, create=bool(tail.epoch))
                except BrokerError as error:
                    logger.warning("what is missing in %r can't be read yet: %s", followed.channel, error)
                    await asyncio.sleep(PAUSE)
                    continue
                if self._is_followed(followed):
                    self._deliver_missing(followed, tail, read)
        finally:
            followed.healing = None

    def _deliver_missing(self, followed: _Followed, tail: Tail, read: Slice) -> None:
        lost, publications = tail.healed(read)
        if not tail.epoch and not tail.healing:
            followed.tail = None  # there is no history
        if lost and self._events is not None:
            self._events.on_gap(followed.channel)
        self._deliver(followed.channel, publications)

    def _is_followed(self, followed: _Followed) -> bool:
        return self._channels.get(followed.channel) is followed

    # History

    def learn(self, channel: str, position: StreamPosition) -> None:
        """A caller at this node knows of a position: what it asks for next must reach up to there."""
        followed = self._channels.get(channel)
        if followed is None or (tail := followed.tail) is None:
            return
        if position.epoch == tail.epoch:
            tail.known = max(tail.known, position.offset)
        else:
            tail.healing = True
            self._heal(followed)

    async def history(
        self, channel: str, since: StreamPosition | None, limit: int | None, reverse: bool
    ) -> History | None:
        """The answer of `Broker.history`, if the newest publications are enough for it; otherwise None."""
        followed = self._channels.get(channel)
        if followed is None:
            return None
        answer = self._from_memory(followed, since, limit, reverse)
        if answer is None and (tail := followed.tail) is not None and tail.is_behind(since, reverse):
            await self._look_ahead(followed, tail)
            return self._from_memory(followed, since, limit, reverse)
        if answer is None and not reverse and (since is not None or limit == 0) and _can_load(followed):
            await self._load(followed)
            answer = self._from_memory(followed, since, limit, reverse)
        return answer

    def _from_memory(
        self, followed: _Followed, since: StreamPosition | None, limit: int | None, reverse: bool
    ) -> History | None:
        return None if followed.tail is None else followed.tail.history(since, limit, reverse, self._now())

    async def _load(self, followed: _Followed) -> None:
        """Read the newest publications, once for all who ask at the same time."""
        if followed.loading is None:
            followed.loading = self._spawn(self._read_newest(followed))
        await asyncio.shield(followed.loading)

    async def _read_newest(self, followed: _Followed) -> None:
        try:
            newest = await self._reader.read(followed.channel, limit=RING, reverse=True)
            if followed.tail is None:
                await self._barrier()  # what was published before the position must be delivered, not skipped
            if followed.tail is None:
                followed.tail = Tail(newest.position)
            newest.publications.reverse()
            if newest.position.epoch == followed.tail.epoch:
                followed.tail.ring.load(newest, RING)
        finally:
            followed.loading = None

    async def _look_ahead(self, followed: _Followed, tail: Tail) -> None:
        """Move on to the newest position of a channel in which nothing happened."""
        top = tail.ring.top
        read = await self._reader.read(followed.channel, top, limit=1)
        unchanged = followed.tail is tail and not tail.healing and tail.ring.top == top
        if unchanged and read.position.epoch == tail.epoch and not read.publications and read.base <= top:
            tail.advance(read.position.offset)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _can_load(followed: _Followed) -> bool:
    tail = followed.tail
    return tail is None or not (tail.healing or tail.ring.loaded or tail.known > tail.ring.top)

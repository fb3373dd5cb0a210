"""Brokers carry publications from the node that accepts them to those whose clients listen, and remember them.

A node is one `Realtime` in one process. All of its clients share one subscription of the node to a channel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from trunkline.exceptions import WebSocketException
from trunkline.realtime.control import Alone, Control
from trunkline.realtime.presence import MemoryPresence, Presence
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition

__all__ = ["ID_TTL", "Broker", "BrokerError", "BrokerEvents", "History", "Uncertain"]

ID_TTL: Final = 300
"""Seconds for which a broker knows the id of a publication again."""


class BrokerError(WebSocketException):
    """A broker can't do what was asked: its message says why, and what to do.

    Raised by `Broker.publish`, it means that the publication isn't in the history, and won't be delivered; but see
    `Uncertain`.
    `__cause__` is what lies underneath, such as the error of a database.
    """


class Uncertain(BrokerError):  # noqa: N818  # no error: perhaps it was done
    """A publication was sent to a server that never answered: it may be in the history, and delivered, or not.

    Only brokers that reach their server over a network raise it. A publication that has an id they repeat themselves.
    """


class History(NamedTuple):
    """What `Broker.history` found.

    Attributes:
        publications: in the order of their offsets, or the reverse if asked for.
        position: the newest place in the channel at that moment.
        complete: whether nothing is missing between the position asked for and the first of `publications`. Then its
            epoch is the current one, and everything published since was kept. In reverse, only whether the epoch
            is the current one. True if no position was asked for.
    """

    publications: list[Publication]
    position: StreamPosition
    complete: bool


class BrokerEvents(Protocol):
    """The events that a broker tells its node, in the event loop, one at a time.

    These methods return soon, and don't raise: no caller could handle it.
    """

    def on_publications(self, channel: str, publications: Sequence[Publication]) -> None:
        """Something was published: one publication, or several in their order, which cost less together.

        The publications are shared: don't change them.
        """

    def on_join(self, channel: str, info: ClientInfo) -> None:
        """A client subscribed."""

    def on_leave(self, channel: str, info: ClientInfo) -> None:
        """A client unsubscribed, or is gone."""

    def on_gap(self, channel: str | None) -> None:
        """Publications in this channel may have been lost on their way to this node; None: in every channel.

        Subscribers who count on all of them must recover from the history.
        """


class Broker(ABC):
    """Delivers publications, and keeps the newest of each channel.

    Every broker keeps these promises, and `trunkline.testing.brokers` checks them:

    Atomicity:
        `publish` appends to the history and delivers, or does neither and raises. A publication that was delivered is
        in the history as long as size and ttl allow, also after a crash if the broker outlives crashes. A client never
        knows an offset that the broker forgot.
    Order:
        One order per channel: that of the offsets, in which every node has the publications delivered. Two calls of
        `publish`, the second made after the first returned, are in that order; calls that overlap may be in any.
        There is no order between channels.
    Delivery:
        Between the return of `subscribe` and the call of `unsubscribe`, each publication with history is delivered to
        the node once. A broker that can lose one on the way notices, and calls `on_gap`. Publications without
        history, joins and leaves arrive at most once.
    History and delivery:
        Ask for the history after subscribing: all publications up to its `position` are in it, and all others are
        delivered. Those up to `position` may be delivered, too, before or after: compare offsets.
    Offsets:
        They grow with each publication that enters the history of a channel, not always by one. Within an epoch, an
        offset is never used for two publications.

    The methods are called in one event loop, in which the broker was started. Cancelling a call leaves open whether it
    had its effect; with `id`, `publish` can be called again without harm.
    """

    @abstractmethod
    async def start(self, events: BrokerEvents) -> None:
        """Connect, open files, start threads.

        Args:
            events: whom to tell.

        Raises:
            BrokerError: if that fails.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let what was accepted come to an end, then release everything. Later calls raise `BrokerError`."""

    @abstractmethod
    async def publish(
        self,
        channel: str,
        publication: Publication,
        *,
        size: int = 0,
        ttl: float = 0,
        id: str | None = None,
    ) -> StreamPosition:
        """Append a publication to the history of its channel, and deliver it to every node that subscribes to it.

        Args:
            channel: name of the channel.
            publication: it belongs to the broker from now on, which writes `offset` and `time` into it.
            size: publications to keep in the channel, this one among them. 0: don't keep it, nor touch the history.
            ttl: seconds to keep them; 0 is as with `size`. The newest call decides for the whole channel.
            id: a second publication with the same id in the same channel within `ID_TTL` isn't published.

        Returns:
            Its position, that of the first in case of a repeated id; (0, "") without history.

        Raises:
            ValueError: if there is an id, and no history to look it up in.
            Uncertain: if it may have been accepted.
            BrokerError: if it wasn't accepted.
        """

    @abstractmethod
    async def publish_join(self, channel: str, info: ClientInfo) -> None:
        """Tell every node that subscribes to the channel that a client joined it."""

    @abstractmethod
    async def publish_leave(self, channel: str, info: ClientInfo) -> None:
        """Tell every node that subscribes to the channel that a client left it."""

    @abstractmethod
    async def subscribe(self, channel: str) -> None:
        """Deliver the channel's events to this node, from the return of this call on. Twice is as good as once."""

    @abstractmethod
    async def unsubscribe(self, channel: str) -> None:
        """Stop delivering the channel's events to this node. No harm if it doesn't subscribe."""

    @abstractmethod
    async def history(
        self,
        channel: str,
        *,
        since: StreamPosition | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> History:
        """Read the publications that were kept.

        A channel without publications has a position, too: a client that knows it misses nothing that follows.

        Args:
            channel: name of the channel.
            since: only publications after this position, or before it if `reverse`: one beyond the newest, they are
                all. A position of another epoch, or one that was never given out, finds nothing, and isn't `complete`.
            limit: at most so many publications; None: all; 0: only look at the position.
            reverse: newest first.

        Raises:
            BrokerError: if it can't be read.
        """

    @abstractmethod
    async def remove_history(self, channel: str) -> None:
        """Forget the channel's publications, not its position: a client that has seen all of them can still recover.

        Raises:
            BrokerError: if it can't be done.
        """

    def control(self) -> Control:
        """The way to tell orders to the other nodes that share this broker. By default there are none.

        It is asked for after `start`, once for each.
        """
        return Alone()

    def presence(self) -> Presence:
        """The members of channels, on all nodes that share this broker. By default they are in memory.

        `Realtime` uses it if it isn't given another one. It is started after the broker, and closed before.
        """
        return MemoryPresence()

"""A channel with its subscribers on this node."""

from __future__ import annotations

from collections.abc import Callable

from trunkline.core.writer import PreparedMessage
from trunkline.realtime.hub.bell import Bell
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.hub.stats import ChannelStats
from trunkline.realtime.hub.subscription import Subscription
from trunkline.realtime.program.channels import Channel
from trunkline.realtime.wire.codecs import Codec

__all__ = ["Room"]

#: Sends to a connection; returns whether it did.
Send = Callable[[PreparedMessage], bool]


class Room:
    """A channel and its subscribers on this node.

    Attributes:
        name: of the channel.
        channel: what is declared for it.
        offset: of the newest publication that was delivered.
        listening: whether the broker delivers to this node (see `subscriptions.listening`).
        audience: subscribers by encoding, each with what sends to its connection.
        starting: subscribers that aren't in `audience` yet: they wait for their reply, or have something that is still
            to be delivered.
        lost: subscribers that must recover before anything is delivered to them.
        full: subscribers whose queue is full, in a channel that makes publishers wait.
        published: publications that came.
        delivered: times that one was sent to a client.
        dropped: times that one was dropped because a client was late.
        slow: subscribers that were disconnected because they were too late.
    """

    __slots__ = (
        "audience", "channel", "delivered", "dropped", "full", "listening", "lost", "name", "offset", "published",
        "slow", "starting", "writable",
    )  # fmt: skip

    def __init__(self, name: str, channel: Channel) -> None:
        self.name = name
        self.channel = channel
        self.offset = 0
        self.listening = False
        self.audience: dict[Codec, dict[Client, Send]] = {}
        self.starting: dict[Client, Subscription] = {}
        self.lost: set[Client] = set()
        self.full: set[Client] = set()
        self.writable: Bell | None = None  # rings when a queue has room again
        self.published = self.delivered = self.dropped = self.slow = 0

    def sent(self, publications: int = 1) -> None:
        """So many publications were sent to a client."""
        self.delivered += publications

    def __len__(self) -> int:
        """How many subscribers it has."""
        here = sum(map(len, list(self.audience.values())))  # the list: other threads may ask
        return here + len(self.starting) + len(self.lost)

    def stats(self) -> ChannelStats:
        """The numbers of the room."""
        return ChannelStats(len(self), self.published, self.delivered, self.dropped, self.slow)

    def clients(self) -> list[Client]:
        """All subscribers."""
        return [client for audience in self.audience.values() for client in audience] + [*self.starting, *self.lost]

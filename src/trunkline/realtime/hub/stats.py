"""The numbers of a node and of its channels."""

from __future__ import annotations

import dataclasses

__all__ = ["ChannelStats", "Stats"]


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelStats:
    """Numbers of a channel since its first subscriber on this node came.

    Attributes:
        subscribers: clients in it.
        published: publications that arrived.
        delivered: times that one was sent to a client. Those that wait for a client that reads slowly aren't among them
            yet.
        dropped: times that one was dropped because a client read too slowly.
        slow: clients that were disconnected because they read too slowly.
    """

    subscribers: int
    published: int
    delivered: int
    dropped: int
    slow: int


@dataclasses.dataclass(frozen=True, slots=True)
class Stats:
    """Numbers of a node.

    Attributes:
        clients: connected clients.
        users: distinct users among them.
        channels: by name, those that have subscribers.
    """

    clients: int
    users: int
    channels: dict[str, ChannelStats]

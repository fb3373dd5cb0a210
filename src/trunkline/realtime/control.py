"""The orders that one node tells the others: a program may reach the clients of every node.

A node carries out an order for its own clients, then tells it to the others through its `Control`. Orders and answers
are facts, which msgspec can encode: names, ids, codes and payloads, never objects of a process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

__all__ = [
    "Alone",
    "Answer",
    "Control",
    "Disconnect",
    "Order",
    "Refresh",
    "Refusal",
    "Send",
    "Subscribe",
    "Unsubscribe",
]

PATIENCE: Final = 1.0
"""Seconds that other nodes have to answer."""


class _Order(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Base of all orders. An order concerns the clients of a user, or one client, or one client if it is the user's.

    Attributes:
        user: id of the user; None if any.
        client: id of the client; None if any.
    """

    user: str | None = None
    client: str | None = None


class Disconnect(_Order, frozen=True):
    """Close the connection.

    Attributes:
        code: a close code.
        reason: text for people; None for the one of the code.
    """

    code: int
    reason: str | None = None


class Subscribe(_Order, frozen=True):
    """Subscribe the client to a channel.

    Attributes:
        channel: its name.
    """

    channel: str


class Unsubscribe(_Order, frozen=True):
    """End the client's subscription to a channel.

    Attributes:
        channel: its name.
    """

    channel: str


class Refresh(_Order, frozen=True):
    """Let the connection go on for another time, as a new token would.

    Attributes:
        ttl: seconds from now on; None for ever.
    """

    ttl: float | None = None


class Send(_Order, frozen=True):
    """Send a message outside of channels.

    Attributes:
        data: the payload, JSON.
    """

    data: bytes


Order = Disconnect | Subscribe | Unsubscribe | Refresh | Send


class Refusal(msgspec.Struct, frozen=True):
    """A client couldn't have what the order said; as in `Refused`."""

    code: int
    message: str
    temporary: bool = False


class Answer(msgspec.Struct, frozen=True):
    """The answer of one node to an order.

    Attributes:
        clients: how many clients of this node the order reached.
        refusal: why the first of them that was refused was refused; None if none was.
    """

    clients: int = 0
    refusal: Refusal | None = None


class Control(ABC):
    """Tells orders to the other nodes, and carries out theirs.

    Every implementation promises:

    Others only:
        The node that tells an order doesn't get it: it has carried it out itself.
    Once:
        Each of the other nodes carries out an order at most once. A node that was away when it was told never does, as
        its clients come back and are seen anew.
    Order:
        Orders of one node, each told after the call for the one before returned, are begun in that order by every node.
        Orders of several nodes may be in any.
    Beside publications:
        There is no order between orders and publications: neither waits for the other.
    Bad orders:
        An order that can't be decoded, such as one of a newer version, is logged and left out.

    The methods are called in one event loop, in which the control was started.
    """

    @abstractmethod
    async def start(self, carry_out: Callable[[Order], Awaitable[Answer]]) -> None:
        """Listen to the other nodes.

        Args:
            carry_out: to call with their orders. The answer goes back. If it raises, the error is logged, and the
                answer is missing.

        Raises:
            BrokerError: if that fails.
        """

    @abstractmethod
    async def close(self) -> None:
        """Listen no more. Later calls of `tell` raise `BrokerError`."""

    @abstractmethod
    async def tell(self, order: Order, *, timeout: float = PATIENCE) -> Mapping[str, Answer]:
        """Tell an order to all other nodes.

        Args:
            order: the facts.
            timeout: seconds that they have to answer.

        Returns:
            Their answers, by the id of the node. Those of nodes that are gone, or too slow, are missing.

        Raises:
            BrokerError: if the order couldn't be sent.
        """


class Alone(Control):
    """The control of a node that is the only one."""

    async def start(self, carry_out: Callable[[Order], Awaitable[Answer]]) -> None:
        pass

    async def close(self) -> None:
        pass

    async def tell(self, order: Order, *, timeout: float = PATIENCE) -> Mapping[str, Answer]:
        return {}

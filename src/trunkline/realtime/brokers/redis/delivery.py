"""The connection on which Redis tells a node what happens in its channels.

https://redis.io/docs/latest/develop/pubsub/
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from trunkline.realtime.brokers.link import HEARTBEAT
from trunkline.realtime.brokers.redis.address import Address
from trunkline.realtime.brokers.redis.connection import Connection
from trunkline.realtime.brokers.redis.link import RedisLink
from trunkline.realtime.brokers.redis.resp import Push
from trunkline.realtime.brokers.wire import ConnectionLost

__all__ = ["Delivery", "Message"]

TOGETHER: Final = 500  # channels in one command


class Message(NamedTuple):
    """A message that reached this node.

    Attributes:
        key: name of the channel, as Redis has it.
        payload: bytes.
    """

    key: bytes
    payload: bytes


class Delivery:
    """Subscribes to channels of Redis, and does so again on each new connection.

    It has a connection of its own: Redis ends that of a node that reads too slowly, which must not harm commands.

    Args:
        address, context, heartbeat: as for `RedisLink`.
        own: channels that this node always listens to. So `start` fails where the user may not subscribe.
        patience: seconds until a call gives up.
        on_messages: called with what came together.
        on_back: called when a connection was lost, and there is another on which every channel is subscribed to.
    """

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext | None = None,
        *,
        own: tuple[bytes, ...],
        patience: float,
        on_messages: Callable[[list[Message]], None],
        on_back: Callable[[], None],
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self.patience = patience
        self.link = RedisLink(
            address, context, prepare=self._resume, on_pushes=self._on_pushes, on_back=on_back, heartbeat=heartbeat
        )
        self._own = own
        self._on_messages = on_messages
        self._connection: Connection | None = None  # it has been told what we listen to
        self._confirmed: dict[bytes, asyncio.Future[None]] = {}  # done when Redis has said that it delivers
        self._confirming: deque[bytes] = deque()  # in the order in which Redis says so
        self._ending: deque[asyncio.Future[None]] = deque()

    async def subscribe(self, key: bytes) -> None:
        """Deliver the messages of a channel, from the return of this call on.

        Raises:
            BrokerError: if Redis can't be reached.
        """
        confirmed = self._confirmed.get(key)
        if confirmed is None:
            confirmed = self._confirmed[key] = asyncio.get_running_loop().create_future()
            if self._connection is not None:
                self._connection.send(b"SUBSCRIBE", key)
                self._confirming.append(key)
        try:
            async with asyncio.timeout(self.patience):
                await asyncio.shield(confirmed)
        except TimeoutError:
            if self._confirmed.get(key) is confirmed:
                del self._confirmed[key]
            raise self.link.away() from None

    async def unsubscribe(self, key: bytes) -> None:
        """Deliver them no more. Messages that were on their way are delivered when it returns."""
        connection = self._connection
        if self._confirmed.pop(key, None) is None or connection is None or connection.lost.done():
            return
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.send(b"UNSUBSCRIBE", key)
        self._ending.append(ended)
        either: list[asyncio.Future[Any]] = [ended, connection.lost]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

    async def barrier(self) -> None:
        """Return when everything that Redis has sent up to now was delivered, or the connection is lost."""
        connection = self.link.connection
        if connection is not None:
            with contextlib.suppress(ConnectionLost):
                await connection.call(b"PING")

    async def _resume(self, connection: Connection) -> None:
        """Listen to everything again, on a new connection."""
        self._connection = connection
        self._ending.clear()
        keys = [*self._own, *self._confirmed]
        self._confirming = deque(keys)
        for start in range(0, len(keys), TOGETHER):
            connection.send(b"SUBSCRIBE", *keys[start : start + TOGETHER])
        await connection.call(b"PING")  # its answer follows all confirmations; or it is the error instead of one

    def _on_pushes(self, pushes: list[Push]) -> None:
        messages = []
        for push in pushes:
            match push:
                case [b"message", key, payload]:
                    messages.append(Message(key, payload))
                case [b"subscribe", *_] if self._confirming:
                    confirmed = self._confirmed.get(self._confirming.popleft())
                    if confirmed is not None and not confirmed.done():
                        confirmed.set_result(None)
                case [b"unsubscribe", *_] if self._ending:
                    ended = self._ending.popleft()
                    if not ended.done():
                        ended.set_result(None)
        if messages:
            self._on_messages(messages)

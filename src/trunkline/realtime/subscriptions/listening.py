"""The node's own subscriptions: the broker delivers the events of a channel as long as a client is in its room."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from trunkline.realtime.brokers.base import Broker
from trunkline.realtime.hub.hub import Hub
from trunkline.realtime.hub.room import Room

__all__ = ["Listening"]


class Listening:
    """Subscribes the node to channels, one call after the other for each channel.

    Args:
        hub: the rooms.
        broker: delivers their events.
    """

    def __init__(self, hub: Hub, broker: Broker) -> None:
        self.hub = hub
        self.broker = broker
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}  # by channel, with how many hold or wait for it

    def start_over(self) -> None:
        """Begin anew, in whatever event loop."""
        self._turns.clear()

    async def begin(self, room: Room) -> None:
        """Have the events of a room delivered, from the return of this call on.

        Raises:
            BrokerError: if the broker can't.
        """
        if room.listening:
            return
        async with self._turn(room.name):
            # The client may have left meanwhile, and then the room is gone, or another one has its name.
            if not room.listening and self.hub.rooms.get(room.name) is room:
                await self.broker.subscribe(room.name)
                room.listening = True

    async def end(self, name: str) -> None:
        """Stop the delivery to a room, and forget the room, if no client is in it.

        Raises:
            BrokerError: if the broker can't; the room is forgotten nevertheless.
        """
        room = self.hub.rooms.get(name)
        if room is None or len(room):
            return
        async with self._turn(name):
            if len(room):
                return
            try:
                if room.listening:
                    room.listening = False
                    await self.broker.unsubscribe(name)
            finally:
                if not len(room) and self.hub.rooms.get(name) is room:
                    del self.hub.rooms[name]

    @contextlib.asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        lock, users = self._turns.get(name) or (asyncio.Lock(), 0)
        self._turns[name] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            _, users = self._turns.get(name, (lock, 1))
            if users > 1:
                self._turns[name] = lock, users - 1
            else:
                self._turns.pop(name, None)

"""The end of subscriptions: presence, subscribers, the broker and the program are told of it.

Many clients may leave at once, and what is told may fail, or take long: the others are told nevertheless. Stores and
brokers are told of some subscriptions at a time, with a limit in time. Hooks of the program take as long as they like.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, Final

from trunkline.realtime.brokers.base import BrokerError
from trunkline.realtime.codes import Disconnected
from trunkline.realtime.hooks import Hook, call

if TYPE_CHECKING:
    from trunkline.realtime.attendance import Attendance
    from trunkline.realtime.brokers.base import Broker
    from trunkline.realtime.client import Client, Subscription
    from trunkline.realtime.hub import Hub
    from trunkline.realtime.tasks import Tasks

__all__ = ["Leaving"]

logger = logging.getLogger("trunkline.realtime")

AT_ONCE: Final = 100  # subscriptions
PATIENCE: Final = 10.0  # seconds for each call of a store or a broker


class Leaving:
    """Takes leave of subscriptions that are over.

    Args:
        hub: who is there.
        broker: tells others.
        attendance: tells the presence store.
        tasks: those of the node.
    """

    def __init__(self, hub: Hub, broker: Broker, attendance: Attendance, tasks: Tasks) -> None:
        self.hub = hub
        self.broker = broker
        self.attendance = attendance
        self.tasks = tasks
        self.start_over()

    def start_over(self) -> None:
        """Begin anew, in whatever event loop."""
        self._places = asyncio.Semaphore(AT_ONCE)
        self._under_way: dict[tuple[Client, str], asyncio.Future[None]] = {}

    def begin(self, client: Client, subscriptions: Iterable[Subscription]) -> list[asyncio.Task[None]]:
        """Tell all that subscriptions are over, one beside the other."""
        return [self.tasks.spawn(self._leave(client, each)) for each in subscriptions]

    async def take_leave(self, client: Client, subscriptions: Iterable[Subscription]) -> None:
        """Tell all that subscriptions are over. It goes on if the caller is cancelled."""
        if leaving := self.begin(client, subscriptions):
            await asyncio.wait(leaving)

    async def see_off(self, client: Client, subscriptions: Iterable[Subscription], hook: Hook | None) -> None:
        """Tell all that a client is gone, at last the program."""
        await self.take_leave(client, subscriptions)
        await self._ask(client, "the disconnect hook failed for client %s: %s", call(hook, client, None, {}))

    async def wait_until_left(self, client: Client, name: str) -> None:
        """Wait until others know that a client's subscription is over, which it is about to begin again."""
        leaving = self._under_way.get((client, name))
        if leaving is not None:
            await asyncio.shield(leaving)

    async def _leave(self, client: Client, subscription: Subscription) -> None:
        key = client, subscription.name
        left = self._under_way[key] = asyncio.get_running_loop().create_future()
        try:
            async with self._places:
                await self._tell_others(client, subscription)
        finally:
            left.set_result(None)
            if self._under_way.get(key) is left:
                del self._under_way[key]
        if subscription.announced:
            hook, parameters = subscription.channel.unsubscribe_hook, subscription.parameters
            text = f"the unsubscribe hook of {subscription.name} failed for client %s: %s"
            await self._ask(client, text, call(hook, client, None, parameters))

    async def _tell_others(self, client: Client, subscription: Subscription) -> None:
        name, options = subscription.name, subscription.options
        if subscription.info is not None:
            if subscription.present:
                await self._try(client, name, self.attendance.update(client, name))
            if options.join_leave and subscription.announced:
                await self._try(client, name, self.broker.publish_leave(name, subscription.info))
        await self._try(client, name, self._stop_listening(name))

    async def _try(self, client: Client, name: str, step: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await step
        except Exception as error:
            known = isinstance(error, (BrokerError, TimeoutError))
            why = str(error) or f"no answer within {PATIENCE:g} s"
            logger.error("client %s left %s untidily: %s", client.id, name, why, exc_info=None if known else error)

    async def _ask(self, client: Client, text: str, hook: Awaitable[object]) -> None:
        try:
            await hook
        except Disconnected as error:
            client.disconnect(error.code, error.reason)
        except Exception as error:
            logger.error(text, client.id, error, exc_info=error)

    async def _stop_listening(self, name: str) -> None:
        room = self.hub.rooms.get(name)
        if room is None or len(room):
            return
        async with room.lock:
            if len(room):
                return
            try:
                if room.listening:
                    room.listening = False
                    await self.broker.unsubscribe(name)
            finally:
                if not len(room) and self.hub.rooms.get(name) is room:
                    del self.hub.rooms[name]

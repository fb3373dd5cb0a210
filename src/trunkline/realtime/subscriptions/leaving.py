"""The end of subscriptions: presence, subscribers, the broker and the program are told of it.

Many clients may leave at once, and a call may fail, or take long: the others are told nevertheless. Stores and brokers
are told of some subscriptions at a time, with a limit in time. Hooks of the program take as long as they like.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from typing import Final

from trunkline.realtime.brokers.base import Broker, BrokerError
from trunkline.realtime.codes import Disconnected
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.hub.hub import Hub
from trunkline.realtime.hub.subscription import Subscription
from trunkline.realtime.program.functions import Functions
from trunkline.realtime.program.hooks import call
from trunkline.realtime.subscriptions.attendance import Attendance
from trunkline.realtime.subscriptions.listening import Listening
from trunkline.realtime.tasks import Tasks

__all__ = ["Leaving"]

logger = logging.getLogger("trunkline.realtime")

AT_ONCE: Final = 100  # subscriptions
PATIENCE: Final = 10.0  # seconds for each call of a store or a broker


class Leaving:
    """Takes leave of subscriptions that are over, and of clients that are gone.

    Args:
        hub: the clients. Of each that is gone, it tells this object.
        broker: tells other nodes.
        attendance: tells the presence store.
        listening: tells the broker that the node needs no more events.
        functions: of the program.
        tasks: those of the node.
    """

    def __init__(
        self,
        hub: Hub,
        broker: Broker,
        attendance: Attendance,
        listening: Listening,
        functions: Functions,
        tasks: Tasks,
    ) -> None:
        self.hub = hub
        self.broker = broker
        self.attendance = attendance
        self.listening = listening
        self.functions = functions
        self.tasks = tasks
        self.start_over()
        hub.on_closed = self._closed

    def start_over(self) -> None:
        """Begin anew, in whatever event loop."""
        self._places = asyncio.Semaphore(AT_ONCE)
        self._under_way: dict[tuple[Client, str], asyncio.Future[None]] = {}

    def leave_rooms(self, client: Client) -> list[Subscription]:
        """Deliver nothing more to a client. Returns the subscriptions that it had."""
        subscriptions, client.subscriptions = list(client.subscriptions.values()), {}
        for subscription in subscriptions:
            self.hub.leave(client, subscription.name)
        return subscriptions

    def _closed(self, client: Client) -> None:
        subscriptions = self.leave_rooms(client)
        if client.was_connected and self.functions.disconnect is not None:
            self.tasks.spawn(self._see_off(client, subscriptions))
        else:
            self.begin(client, subscriptions)

    def begin(self, client: Client, subscriptions: Iterable[Subscription]) -> list[asyncio.Task[None]]:
        """Tell all that subscriptions are over, one beside the other."""
        return [self.tasks.spawn(self._leave(client, each)) for each in subscriptions if self._is_missed(each)]

    def _is_missed(self, subscription: Subscription) -> bool:
        """Whether there is something to tell, to others, to the program or, of the last subscriber, to the broker."""
        if subscription.info is not None and (
            subscription.present or (subscription.options.join_leave and subscription.announced)
        ):
            return True
        if subscription.announced and subscription.channel.unsubscribe_hook is not None:
            return True
        room = self.hub.rooms.get(subscription.name)
        return room is not None and not len(room)

    async def take_leave(self, client: Client, subscriptions: Iterable[Subscription]) -> None:
        """Tell all that subscriptions are over. It goes on if the caller is cancelled."""
        if leaving := self.begin(client, subscriptions):
            await asyncio.wait(leaving)

    async def _see_off(self, client: Client, subscriptions: Iterable[Subscription]) -> None:
        """Tell all that a client is gone, at last the program."""
        await self.take_leave(client, subscriptions)
        leaving = call(self.functions.disconnect, client, None, {})
        await self._ask(client, "the disconnect hook failed for client %s: %s", leaving)

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
        await self._try(client, name, self.listening.end(name))

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

"""Starts a node and closes it, in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from trunkline.realtime.brokers.base import Broker
from trunkline.realtime.control import Alone, Control
from trunkline.realtime.deadlines import Deadlines
from trunkline.realtime.home import Home
from trunkline.realtime.parts import Parts
from trunkline.realtime.presence.base import Presence
from trunkline.realtime.serving import Serving

__all__ = ["Running"]

logger = logging.getLogger("trunkline.realtime")


class Running:
    """Whether a node runs, and where.

    Args:
        home: the event loop.
        parts: of the node.
        broker: carries publications.
        presence: remembers the members of channels.
        deadlines: of all clients.
        serving: the clients.
        limit: seconds that hooks and the like have when the node closes.

    Attributes:
        control: tells other nodes.
    """

    def __init__(
        self,
        home: Home,
        parts: Parts,
        broker: Broker,
        presence: Presence,
        deadlines: Deadlines,
        serving: Serving,
        limit: float,
    ) -> None:
        self._home = home
        self._parts = parts
        self._broker = broker
        self._presence = presence
        self._deadlines = deadlines
        self._serving = serving
        self._limit = limit
        self._starting: asyncio.Task[None] | None = None
        self.control: Control = Alone()

    async def start(self) -> None:
        """Start the broker, the presence store and the control, unless they run. All callers share one attempt.

        Raises:
            BrokerError: if that fails. The next call tries again.
            RuntimeError: if it was started in another event loop.
        """
        if self._home.lost:
            self._start_over()
        self._home.check()
        starting = self._starting
        if starting is None:
            self._home.enter()
            starting = self._starting = asyncio.get_running_loop().create_task(self._start())
        if not starting.done():
            await asyncio.shield(starting)

    def _start_over(self) -> None:
        """Our event loop was closed before we were, and nothing goes on that belonged to it."""
        self._starting = None
        self._serving.start_over()
        self._parts.start_over()
        self._deadlines.close()
        self._home.leave()

    async def _start(self) -> None:
        try:
            async with contextlib.AsyncExitStack() as failing:
                await self._broker.start(self._parts.hub)
                failing.push_async_callback(self._broker.close)
                await self._presence.start()
                failing.push_async_callback(self._presence.close)
                self.control = self._broker.control()
                await self.control.start(self._parts.orders.carry_out)
                failing.pop_all()
        except BaseException:
            self._starting = None
            raise
        self._parts.attendance.start()

    async def close(self) -> None:
        """Disconnect all clients, let what is under way come to its end, then close the broker."""
        self._home.check()
        try:
            await self._serving.disconnect_all()
            self._parts.calling.cancel()
            cancelled = await self._parts.tasks.settle(self._limit)
            if cancelled:
                logger.warning("%d hooks and the like took longer than %g s: cancelled", cancelled, self._limit)
        finally:
            await self._stop()
            self._serving.reopen()
            self._home.leave()

    async def _stop(self) -> None:
        self._deadlines.close()
        self._parts.hub.pace.start_over()
        self._parts.attendance.stop()
        starting, self._starting = self._starting, None
        if starting is None:
            return
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
        async with contextlib.AsyncExitStack() as closing:
            closing.push_async_callback(self._broker.close)
            closing.push_async_callback(self._presence.close)
            closing.push_async_callback(self.control.close)
            self.control = Alone()

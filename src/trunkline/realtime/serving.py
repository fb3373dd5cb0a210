"""The clients that a node serves, from the opening of their connections to the end of their handlers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from trunkline.realtime import codes
from trunkline.realtime.deadlines import Deadlines
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.hub.hub import Hub
from trunkline.realtime.options import Limits, Timeouts
from trunkline.realtime.peer import Peer
from trunkline.realtime.wire.codecs import Codec

__all__ = ["Serving"]

logger = logging.getLogger("trunkline.realtime")

PORTION: Final = 100  # clients that are disconnected before other tasks have their turn


class Serving:
    """Serves clients, each in a task. In the end, commands have a limit: one that hangs would keep the server open.

    A door calls `begin` when a client comes, and `end` when its connection is closed. If the task is cancelled
    meanwhile, the door asks `is_late` whether that was the limit.

    Args:
        hub: where clients are when they are connected.
        deadlines: of all clients.
        limits: of each client.
        clock: seconds, never going back.
        limit: seconds that commands have when their server, or the node, closes.
    """

    def __init__(
        self, hub: Hub, deadlines: Deadlines, limits: Limits, clock: Callable[[], float], limit: float
    ) -> None:
        self._hub = hub
        self._deadlines = deadlines
        self._limits = limits
        self._clock = clock
        self._limit = limit
        hub.on_server_closing = self.limit
        self.start_over()

    def start_over(self) -> None:
        """Begin anew, in whatever event loop."""
        self._tasks: dict[Client, asyncio.Task[Any]] = {}
        self._ending: set[Client] = set()
        self._late: set[Client] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False

    def begin(self, peer: Peer, codec: Codec, timeouts: Timeouts) -> Client:
        """Serve a client in the current task."""
        queue = self._limits.queue
        client = Client(peer, codec, self._hub, self._clock(), timeouts=timeouts, queue_limit=queue)
        self._deadlines.watch(client)
        task = asyncio.current_task()
        assert task is not None, "doors are called by coroutines"
        self._tasks[client] = task
        peer.on_closing = client.peer_left
        peer.on_server_closing = client.server_closing
        if not peer.open:
            client.peer_left()
        if self._closing:
            client.disconnect(codes.SHUTDOWN)
        return client

    def end(self, client: Client) -> None:
        """The connection of a client is closed, and its task ends."""
        task = self._tasks.pop(client)
        if client in self._late:
            self._late.discard(client)
            task.uncancel()  # it may go on with something else
        self._ending.discard(client)
        client.peer.on_server_closing = None  # or only the garbage collector would free them
        client.closed()
        self._deadlines.forget()

    def is_late(self, client: Client) -> bool:
        """Whether the current task, which serves the client, was cancelled because a command took too long."""
        if client not in self._late:
            return False
        logger.warning("a command of client %s took longer than %g s at the end: cancelled", client.id, self._limit)
        return self._tasks[client].cancelling() == 1  # otherwise it was cancelled for something else, too

    async def disconnect_all(self) -> None:
        """Let all clients connect again elsewhere, those that come from now on, too."""
        self._closing = True
        for number, client in enumerate(list(self._tasks), 1):
            self.limit(client)
            client.disconnect(codes.SHUTDOWN)
            if number % PORTION == 0:
                await asyncio.sleep(0)

    def reopen(self) -> None:
        """Serve clients again."""
        self._closing = False

    def limit(self, client: Client) -> None:
        """Cancel the command of a client, if it isn't carried out in time."""
        self._ending.add(client)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._limit, self._cancel)

    def _cancel(self) -> None:
        self._timer = None
        for client in self._ending:
            if client.busy and client in self._tasks:
                self._late.add(client)
                self._tasks[client].cancel()
        self._ending.clear()

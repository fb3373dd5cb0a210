"""The clients that a node serves, from the opening of their connections to the end of their handlers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

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
    """Serves clients. In the end, commands have a limit: a hook that hangs would keep the server from closing.

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
        self.start_over()

    def start_over(self) -> None:
        """Begin anew, in whatever event loop."""
        self._clients: dict[Client, asyncio.Timeout] = {}
        self._ending: set[Client] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False

    def new_client(self, peer: Peer, codec: Codec, timeouts: Timeouts) -> Client:
        """A client came."""
        queue = self._limits.queue
        client = Client(peer, codec, self._hub, self._clock(), timeouts=timeouts, queue_limit=queue)
        self._deadlines.watch(client)
        peer.on_closing = client.peer_left
        if not peer.open:
            client.peer_left()
        return client

    @contextlib.asynccontextmanager
    async def serve(self, client: Client) -> AsyncIterator[None]:
        """Serve a client inside, until its connection is closed."""
        client.peer.on_server_closing = lambda: self.limit(client)
        try:
            async with asyncio.timeout(None) as self._clients[client]:
                if self._closing:
                    client.disconnect(codes.SHUTDOWN)
                yield
        except TimeoutError:
            logger.warning("a command of client %s took longer than %g s at the end: cancelled", client.id, self._limit)
        finally:
            del self._clients[client]
            self._ending.discard(client)
            client.peer.on_server_closing = None  # or only the garbage collector would free them
            client.closed()
            self._deadlines.forget()

    async def disconnect_all(self) -> None:
        """Let all clients connect again elsewhere, those that come from now on, too."""
        self._closing = True
        for number, client in enumerate(list(self._clients), 1):
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
            if client.busy and client in self._clients:
                self._clients[client].reschedule(asyncio.get_running_loop().time())
        self._ending.clear()

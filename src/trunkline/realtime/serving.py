"""The clients that a node serves, from the opening of their connections to the end of their handlers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from trunkline.exceptions import ConnectionClosed
from trunkline.realtime import codes

if TYPE_CHECKING:
    from trunkline.realtime.client import Client
    from trunkline.realtime.deadlines import Deadlines

__all__ = ["Serving"]

logger = logging.getLogger("trunkline.realtime")

PORTION: Final = 100  # clients that are disconnected before other tasks have their turn


class Serving:
    """Who is served. In the end, commands have a limit: a hook that hangs would keep the server from closing.

    Args:
        deadlines: of all clients.
        limit: seconds that commands have when their server, or the node, closes.
    """

    def __init__(self, deadlines: Deadlines, limit: float) -> None:
        self._deadlines = deadlines
        self._limit = limit
        self.start_over()

    def start_over(self) -> None:
        """Begin anew, in whatever event loop."""
        self._clients: dict[Client, asyncio.Timeout] = {}
        self._ending: set[Client] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False

    @contextlib.asynccontextmanager
    async def serve(self, client: Client) -> AsyncIterator[None]:
        """Serve a client inside, until its connection is closed."""
        client.connection.on_server_closing = lambda: self.limit(client)
        try:
            async with asyncio.timeout(None) as self._clients[client]:
                if self._closing:
                    client.disconnect(codes.SHUTDOWN)
                yield
        except ConnectionClosed:
            pass
        except TimeoutError:
            logger.warning("a command of client %s took longer than %g s at the end: cancelled", client.id, self._limit)
        finally:
            del self._clients[client]
            self._ending.discard(client)
            client.connection.on_server_closing = None  # or only the garbage collector would free them
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
        """Cancel what a client has said, if it isn't carried out in time."""
        self._ending.add(client)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._limit, self._cancel)

    def _cancel(self) -> None:
        self._timer = None
        for client in self._ending:
            if client.busy and client in self._clients:
                self._clients[client].reschedule(asyncio.get_running_loop().time())
        self._ending.clear()

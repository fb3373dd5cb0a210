"""The chat room as a server: rooms behind paths, pages and WebSockets on one port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable, Collection
from http import HTTPStatus
from ssl import SSLContext

from trunkline.asyncio.server import Server, ServerConnection, serve
from trunkline.chat import pages
from trunkline.chat.origins import is_welcome
from trunkline.chat.rooms import Limits, Rooms, channel_of
from trunkline.datastructures import MultipleValuesError
from trunkline.http11 import Request, Response
from trunkline.realtime import select_subprotocol, trunkline_js

__all__ = ["ChatServer", "run"]

logger = logging.getLogger("trunkline.chat")

CLOSE_TIMEOUT = 3.0  # seconds: a client that does not answer a Close frame must not hold up the end


class ChatServer:
    """Pages at / and /rooms/NAME, at the same addresses their rooms for plain clients, and the channels of the pages.

    Args:
        limits: what each room puts up with.
        origins: origins of pages that are welcome besides our own.
        store: URL of where the rooms keep what was said; see `trunkline.realtime.Realtime`.
    """

    def __init__(self, limits: Limits | None = None, origins: Collection[str] = (), store: str = "memory://") -> None:
        self.limits = limits or Limits()
        self.origins = origins
        self.rooms = Rooms(self.limits, store)

    @contextlib.asynccontextmanager
    async def open(self, host: str | None, port: int, *, ssl: SSLContext | None = None) -> AsyncIterator[Server]:
        """Serve as long as the context lasts; then close all connections, raw ones with 1001, others with 3001.

        Raises:
            OSError: the address is taken, is not ours, or is not allowed.
            BrokerError: the store cannot be used.
        """
        await self.rooms.realtime.start()
        try:
            async with serve(
                self.talk,
                host,
                port,
                ssl=ssl,
                process_request=self.process_request,
                select_subprotocol=select_subprotocol,
                compression=None,  # chat messages are short, and a thousand compressors are not
                max_size=self.limits.max_size,
                close_timeout=CLOSE_TIMEOUT,
            ) as server:
                yield server
        finally:
            await self.rooms.close()

    def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer plain HTTP requests, and let only those through to a room that may enter."""
        if "websocket" not in ",".join(request.headers.get_all("Upgrade")).lower():
            return trunkline_js(connection, request) or pages.answer(request)
        if not pages.is_channels(request.path) and pages.room_name(request.path) is None:
            return pages.plain(HTTPStatus.NOT_FOUND, "There is no room here. Rooms are at / and at /rooms/NAME.\n")
        # RFC 9112 section 3.2 and RFC 6454 section 7.3: neither field may occur twice.
        try:
            origin, host = request.headers.get("Origin"), request.headers.get("Host", "")
        except MultipleValuesError as error:
            return pages.plain(HTTPStatus.BAD_REQUEST, f"The header field {error} occurs more than once.\n")
        if not is_welcome(origin, host, self.origins):
            logger.warning("refused a page from %s; if it is yours, start with --origin %s", origin, origin)
            return pages.plain(HTTPStatus.FORBIDDEN, f"Pages from {origin} may not connect to this chat room.\n")
        return None

    async def talk(self, connection: ServerConnection) -> None:
        """Serve one connection for as long as it lasts."""
        assert connection.request is not None
        path = connection.request.path
        if pages.is_channels(path):
            await self.rooms.realtime.handler(connection)
        else:
            await self.rooms.serve_plain(connection, channel_of(pages.room_name(path) or ""))


async def run(
    chat: ChatServer,
    host: str | None,
    port: int,
    *,
    ssl: SSLContext | None = None,
    on_open: Callable[[Server], None],
) -> None:
    """Serve until SIGINT or SIGTERM; then close all connections, raw ones with 1001, others with 3001.

    Args:
        chat: the rooms.
        host: name or address to listen on.
        port: 0 for any free port.
        ssl: serves HTTPS and WSS instead of HTTP and WS.
        on_open: called with the server once it listens.

    Raises:
        OSError: the address is taken, is not ours, or is not allowed.
        BrokerError: the store cannot be used.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no signals in asyncio: there Ctrl-C raises KeyboardInterrupt.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(signal_number, stop.set)
    async with chat.open(host, port, ssl=ssl) as server:
        on_open(server)
        await stop.wait()

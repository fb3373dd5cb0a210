"""The chat room as a server: rooms behind paths, pages and WebSockets on one port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from ssl import SSLContext

from trunkline.asyncio.server import Server, ServerConnection, broadcast, serve
from trunkline.chat import pages
from trunkline.chat.envelopes import SUBPROTOCOL
from trunkline.chat.origins import is_welcome
from trunkline.chat.room import Limits, Member, Room
from trunkline.datastructures import MultipleValuesError
from trunkline.exceptions import ConnectionClosed
from trunkline.http11 import Request, Response
from trunkline.typing import Subprotocol

__all__ = ["ChatServer", "run"]

logger = logging.getLogger("trunkline.chat")

CLOSE_TIMEOUT = 3.0  # seconds: whoever does not answer a Close frame must not hold up the end


@dataclass
class ChatServer:
    """Rooms that come into being when somebody enters and vanish when the last one leaves.

    Args:
        limits: what each room puts up with.
        origins: origins of pages that are welcome besides our own.
    """

    limits: Limits = field(default_factory=Limits)
    origins: Collection[str] = ()
    rooms: dict[str, Room] = field(default_factory=dict)

    async def listen(self, host: str | None, port: int, *, ssl: SSLContext | None = None) -> Server:
        """Start serving.

        Raises:
            OSError: the address is taken, is not ours, or is not allowed.
        """
        return await serve(
            self.talk,
            host,
            port,
            ssl=ssl,
            process_request=self.process_request,
            select_subprotocol=select_subprotocol,
            compression=None,  # chat messages are short, and a thousand compressors are not
            max_size=self.limits.max_size,
            close_timeout=CLOSE_TIMEOUT,
        )

    def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer plain HTTP requests, and let only those through to a room that may enter."""
        if "websocket" not in ",".join(request.headers.get_all("Upgrade")).lower():
            return pages.answer(request)
        if pages.room_name(request.path) is None:
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
        with self._membership(connection) as (room, member), contextlib.suppress(ConnectionClosed):
            if member.on_page:
                await connection.send(room.welcome(member), text=True)
            async for data in connection:
                reply = room.receive(member, data)
                if reply is not None:
                    await connection.send(reply, text=True)

    @contextlib.contextmanager
    def _membership(self, connection: ServerConnection) -> Iterator[tuple[Room, Member]]:
        assert connection.request is not None
        name = pages.room_name(connection.request.path) or ""
        if name not in self.rooms:
            call_later = asyncio.get_running_loop().call_later
            self.rooms[name] = Room(name, fan_out=broadcast, call_later=call_later, limits=self.limits)
        room = self.rooms[name]
        member = room.join(connection)
        try:
            yield room, member
        finally:
            room.leave(member)
            if not room.members:
                del self.rooms[name]


def select_subprotocol(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Speak envelopes with those who offer to, and plain text with all others."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


async def run(
    chat: ChatServer,
    host: str | None,
    port: int,
    *,
    ssl: SSLContext | None = None,
    on_open: Callable[[Server], None],
) -> None:
    """Serve until SIGINT or SIGTERM; then close all connections with 1001.

    Args:
        chat: the rooms.
        host: name or address to listen on.
        port: 0 for any free port.
        ssl: serves HTTPS and WSS instead of HTTP and WS.
        on_open: called with the server once it listens.

    Raises:
        OSError: the address is taken, is not ours, or is not allowed.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no signals in asyncio: there Ctrl-C raises KeyboardInterrupt.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(signal_number, stop.set)
    async with await chat.listen(host, port, ssl=ssl) as server:  # leaving closes with 1001, going away
        on_open(server)
        await stop.wait()

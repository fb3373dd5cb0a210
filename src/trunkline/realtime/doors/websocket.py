"""The door for WebSocket connections of asyncio: clients of the protocol, and those without."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from trunkline.asyncio.server import Server, ServerConnection, serve
from trunkline.core.writer import PreparedMessage
from trunkline.exceptions import ConnectionClosed
from trunkline.frames import CloseCode
from trunkline.handshake.hooks import by_offer
from trunkline.http11 import Request
from trunkline.realtime import codes
from trunkline.realtime.brokers.base import BrokerError
from trunkline.realtime.doors.browser import trunkline_js
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.options import Timeouts
from trunkline.realtime.parts import Parts
from trunkline.realtime.peer import Backlog
from trunkline.realtime.program.channels import Channel
from trunkline.realtime.program.pace import Pace
from trunkline.realtime.running import Running
from trunkline.realtime.serving import Serving
from trunkline.realtime.wire.codecs import codec_for, select_subprotocol

__all__ = ["Server", "ServerConnection", "WebSocketDoor", "WebSocketPeer", "listen"]

logger = logging.getLogger("trunkline.realtime")

by_offer(select_subprotocol)

NO_PINGS: Final = Timeouts(ping=None)
SHUTDOWN: Final = codes.SHUTDOWN, codes.DISCONNECTS[codes.SHUTDOWN]


class WebSocketPeer:
    """A WebSocket connection as rooms see it (`Peer`).

    Args:
        connection: the connection.
        scope: of ASGI, with which it came; None without an ASGI server.
    """

    __slots__ = ("connection", "scope", "send_nowait")

    def __init__(self, connection: ServerConnection, scope: Any = None) -> None:
        self.connection = connection
        self.scope = scope
        self.send_nowait: Callable[[PreparedMessage], bool] = connection.send_nowait

    def gather_for(self, pace: Pace) -> None:
        """Let messages wait for those that follow, until the event loop turns or the pace of the program asks."""
        self.send_nowait = self.connection.send_soon
        pace.write = self.connection.shared.write_gathered

    @property
    def request(self) -> Request:
        assert self.connection.request is not None, "the opening handshake is over"
        return self.connection.request

    @property
    def open(self) -> bool:
        return self.connection.open

    @property
    def on_writable(self) -> Callable[[], None] | None:
        return self.connection.on_writable

    @on_writable.setter
    def on_writable(self, call: Callable[[], None] | None) -> None:
        self.connection.on_writable = call

    @property
    def on_closing(self) -> Callable[[], None] | None:
        return self.connection.on_closing

    @on_closing.setter
    def on_closing(self, call: Callable[[], None] | None) -> None:
        self.connection.on_closing = call

    @property
    def on_server_closing(self) -> Callable[[], None] | None:
        return self.connection.on_server_closing

    @on_server_closing.setter
    def on_server_closing(self, call: Callable[[], None] | None) -> None:
        self.connection.on_server_closing = call

    def start_closing(self, code: int, reason: str) -> None:
        self.connection.start_closing(code, reason)

    def backlog(self) -> Backlog:
        session = self.connection.session
        unsent = session.outgoing_size + self.connection.transport.get_write_buffer_size()
        return Backlog(unsent, len(session.inbox), session.inbox.paused)


class WebSocketDoor:
    """Serves connections.

    Args:
        running: starts the node, if it isn't started.
        parts: of the node.
        serving: the clients.
        timeouts: of clients of the protocol.
    """

    def __init__(self, running: Running, parts: Parts, serving: Serving, timeouts: Timeouts) -> None:
        self._running = running
        self._parts = parts
        self._serving = serving
        self._timeouts = timeouts
        self._failure = ""  # why the node couldn't be started

    async def serve_peer(self, peer: WebSocketPeer, identity: tuple[str, Any] | None = None) -> None:
        """Serve a client of the protocol until its connection is closed.

        Args:
            peer: the client.
            identity: its user and what others may know of it, if the door knows them; then it needs no token.
        """
        connection = peer.connection
        if not await self._can_serve(connection):
            return
        client = self._welcome(peer, connection)
        client.known = identity
        take = self._parts.commands.take
        try:
            async for frame in connection:
                rest = take(client, frame)
                if rest is not None:
                    await rest
                if client.over:
                    break
        except ConnectionClosed:
            pass
        except asyncio.CancelledError:
            if not self._serving.is_late(client):
                raise
        finally:
            self._serving.end(client)

    async def _can_serve(self, connection: ServerConnection) -> bool:
        """Start the node, or turn a client away and log why, once."""
        try:
            await self._running.start()
        except BrokerError as error:
            if str(error) != self._failure:
                self._failure = str(error)
                logger.error("clients are turned away until it can be started: %s", error)
            connection.start_closing(codes.SERVER_ERROR, codes.DISCONNECTS[codes.SERVER_ERROR])
            return False
        self._failure = ""
        return True

    def _welcome(self, peer: WebSocketPeer, connection: ServerConnection) -> Client:
        connection.farewell = SHUTDOWN
        if self._timeouts.ping is not None and connection.keepalive_task is not None:
            connection.keepalive_task.cancel()  # one heartbeat is enough, and a client may answer this one only
        peer.gather_for(self._parts.hub.pace)
        codec = codec_for(connection.subprotocol, connection.path or "/")
        return self._serving.begin(peer, codec, self._timeouts)

    async def serve_plain(self, peer: WebSocketPeer, channel: Channel, name: str, user: str, info: Any) -> None:
        """Serve a client without a protocol, in one channel, until its connection is closed."""
        connection = peer.connection
        await self._running.start()
        peer.gather_for(self._parts.hub.pace)
        plain, codec = self._parts.plain, channel.plain
        client = self._serving.begin(peer, codec, NO_PINGS)
        try:
            client.user, client.info = user, info
            await plain.connect(client, name)
            async for message in connection:
                await plain.receive(client, name, codec, message)
        except ConnectionClosed:
            pass
        except codes.Refused as refused:
            connection.start_closing(CloseCode.POLICY_VIOLATION, str(refused))
        except codes.Disconnected as error:
            client.disconnect(error.code, error.reason)
        except asyncio.CancelledError:
            if not self._serving.is_late(client):
                raise
        finally:
            self._serving.end(client)


def listen(
    handler: Callable[[ServerConnection], Awaitable[None]], host: str | None, port: int | None, **kwargs: Any
) -> Server:
    """Create a server for nothing but clients of rooms, with the client for browsers at /trunkline.js."""
    kwargs.setdefault("select_subprotocol", select_subprotocol)
    kwargs.setdefault("process_request", trunkline_js)
    return serve(handler, host, port, **kwargs)

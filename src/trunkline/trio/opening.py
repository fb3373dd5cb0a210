"""A stream that a server has accepted, until it is a WebSocket (RFC 6455 section 4.2)."""

from __future__ import annotations

from typing import Any

import trio

from trunkline.exceptions import InvalidHandshake
from trunkline.http11 import Request, Response
from trunkline.trio.carrier import seconds
from trunkline.trio.stream import StreamIO

__all__ = ["ServerOpening"]


class ServerOpening:
    """Reads the request, and sends the answer.

    Args:
        nursery: where the tasks of the connection will run.
        stream: the stream.
        server: the `Server`.

    Attributes:
        handshake: the `ServerHandshake` that reads the request.
        request: the request, None until it is complete.
    """

    def __init__(self, nursery: trio.Nursery, stream: trio.abc.Stream, server: Any) -> None:
        self.nursery = nursery
        self.stream = stream
        self.io = StreamIO(stream)
        self.server = server
        self.handshake = server.new_handshake(self)
        self.request: Request | None = None
        self.scope = trio.CancelScope()  # of reading and answering the request
        self.made: Any = None

    @property
    def connection(self) -> Any:
        """The connection that comes of it, made when it opens, or earlier for a hook of the program or for the log."""
        if self.made is None:
            self.made = self.server.new_connection(self.nursery, self.stream)
            self.made.request = self.request
        return self.made

    async def run(self) -> Any:
        """Answer the client's request; returns the connection, or None if it isn't opened."""
        response: Response | None = None
        self.scope.deadline = trio.current_time() + seconds(self.server.options.open_timeout)
        if self.server.closing:
            self.hurry()
        with self.scope:
            response = await self._receive_and_answer()
        if self.server.closing and self.scope.cancel_called:
            await self._refuse_unavailable()
            return None
        if response is None:
            if self.scope.cancelled_caught and self.server.logs_info():
                self.connection.log_info("connection handshake timed out")
            return None
        self.server.tell_answer(self, response)
        if not self.server.opens(self, response):
            await self._reject(response)
            return None
        connection, handshake = self.connection, self.handshake
        connection.carrier.send([handshake.serialize(response)], False)
        connection.log_info("connection open")
        connection.start(handshake.subprotocol, handshake.extensions, handshake.remaining)
        return connection

    async def _receive_and_answer(self) -> Response | None:
        """The answer to the request; None if the client goes away before it has sent one."""
        try:
            while self.request is None:
                data = await self.io.receive()
                if not data:
                    return None
                self.request = self.handshake.receive_data(data)
        except InvalidHandshake as error:
            refusal: Response = self.server.refuse(self, error)
            return refusal
        response: Response = await self.server.answer(self, self.request)
        return response

    async def _reject(self, response: Response) -> None:
        """Send an HTTP response instead of opening a connection, and let the client close it."""
        self.server.tell_refusal(self, response)
        with trio.move_on_after(self.server.options.close_timeout or 10):
            await self.stream.send_all(self.handshake.serialize(response))
            # Closing with unread data resets the connection, and the client may never see the response.
            if self.io.can_end():
                await self.io.end()
                while await self.stream.receive_some():
                    pass

    # The end

    def hurry(self) -> None:
        """The server closes: let the handshake finish soon, unless it waits for a hook."""
        if self.request is not None or self.server.is_closed():
            self.scope.cancel()
        else:
            self.scope.deadline = min(self.scope.deadline, trio.current_time() + self.server.grace)

    async def _refuse_unavailable(self) -> None:
        """The server closes, and the handshake hasn't finished."""
        with trio.CancelScope(shield=True):
            await self._reject(self.server.unavailable())

    def tell_lost(self) -> None:
        """No connection was opened: tell a program that waits for its end in a hook, and the log."""
        if self.made is not None or self.server.logs_info():
            self.connection.lose(None)

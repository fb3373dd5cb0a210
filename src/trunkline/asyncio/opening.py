"""A socket that a server has accepted, until it is a WebSocket (RFC 6455 section 4.2)."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from typing import TYPE_CHECKING, Any

from trunkline.asyncio.server_link import ServerLink
from trunkline.asyncio.shared import Shared
from trunkline.exceptions import InvalidHandshake
from trunkline.handshake.server import ServerHandshake
from trunkline.http11 import Request, Response

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
    from trunkline.handshake.fastpath import Upgrade
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

if cython.compiled:
    from cython.cimports.trunkline.core.signature import sign

__all__ = ["ServerOpening"]


@cython.final
@cython.cclass
class ServerOpening:
    """The protocol of an accepted socket: it reads the request, and sends the answer.

    With the 101 it hands the transport over to a connection, and is done. A refused client stays with it to the end.

    Args:
        server: the `Server`.
        shared: what the connections on its event loop have in common.

    Attributes:
        handshake: the `ServerHandshake` that reads the request; None for an ordinary one, which a `FastPath` answers.
        request: the request, None until it is complete.
    """

    def __init__(self, server: Any, shared: Shared) -> None:
        self.server = server
        self.shared = shared
        self.transport: Any = None
        self.handshake: ServerHandshake | None = None
        self.request: Request | None = None
        self.made: ServerLink | None = None
        self.task: asyncio.Task[None] | None = None  # that of the hooks
        self.lost = False
        self.rejected = False
        self.half_closed = False  # the client ended its half before it was answered
        self.asking = False  # it waits for `process_request` or `process_response`
        self.answering = False  # the task of these hooks hasn't ended
        self.due = 0.0  # when `on_due` is called, 0 for never

    @property
    def connection(self) -> ServerLink:
        """The connection that comes of it, made when it opens, or earlier for a hook of the program or for the log."""
        if self.made is None:
            connection: ServerLink = self.server.new_connection()
            connection.connection_made(self.transport)
            connection.request = self.request
            self.made = connection
        return self.made

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.server.track(self)
        timeout = self.server.options.open_timeout
        if timeout is not None and self.due == 0.0:
            self._drop_after(timeout)

    def data_received(self, data: bytes) -> None:
        if self.rejected or (self.handshake is None and self._take_fast_path(data)):
            return
        handshake = self.begin()
        if self.request is not None:
            # Frames before our answer: keep them, but no more of them.
            self.transport.pause_reading()
            handshake.receive_data(data)
            return
        try:
            self.request = handshake.receive_data(data)
        except InvalidHandshake as error:
            self._reject(self.server.refuse(self, error))
            return
        if self.request is not None:
            self._answer(self.request)

    def eof_received(self) -> bool:
        asked = self.request is not None and not self.rejected
        self.half_closed = asked and self.transport.can_write_eof()  # it is answered all the same, as in `nc -N`
        return self.half_closed

    def connection_lost(self, error: BaseException | None) -> None:
        self.lost = True
        if self.answering and self.task is not None and self.due > 0:
            # A hook goes on without the client, and a server that closes waits for it: for the time that it had.
            self.server.get_loop().call_later(max(0.0, self.due - self.shared.clock()), self.task.cancel)
        self._stop_timer()
        try:
            if self.made is not None or self.server.logs_info():
                self.connection.connection_lost(error)
        finally:
            self._forget_when_over()

    def pause_writing(self) -> None:
        """An answer is short: it may wait in the transport."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    # The answer

    def begin(self) -> ServerHandshake:
        """The handshake that reads the request, and answers it."""
        if self.handshake is None:
            self.handshake = self.server.new_handshake(self)
        return self.handshake

    @cython.cfunc
    def _take_fast_path(self, data: bytes) -> cython.bint:
        """Open the connection at once, if the request is an ordinary one, and neither a hook nor a log looks at it."""
        server = self.server
        if server.fast_path is None or server.has_hooks_for_handshakes or server.is_closing():
            return False
        upgrade: Upgrade | None = server.fast_path.answer(data)
        if upgrade is None:
            return False
        connection: ServerLink = self.connection
        if connection.debug or (server.admission is not None and server.admission.enter(connection) is not None):
            return False
        connection.keep_heads(upgrade.head, upgrade.response)
        self._open(connection, upgrade.response, upgrade)
        connection.start_handler(server.context.copy())
        return True

    def _answer(self, request: Request) -> None:
        if not self.server.has_hooks:
            self._respond(self.server.answer_now(self, request))
            return
        assert self.connection is not None, "hooks want it"  # an error of its class ends the client's connection now
        self.asking = self.answering = True
        context = self.server.context.copy()
        task = self.server.get_loop().create_task(self._respond_after_hooks(request), context=context)
        if self.answering:  # an eager task may be done by now
            self.task = task

    async def _respond_after_hooks(self, request: Request) -> None:
        try:
            response = await self.server.answer(self, request)
            self.asking = False
            self._respond(response)
        finally:
            self.answering = False
            self.task = None
            self._forget_when_over()

    def _respond(self, response: Response) -> None:
        if self.lost or self.rejected:
            return
        handshake = self.begin()
        self.server.tell_answer(self, response)
        if not self.server.opens(self, response):
            self._reject(response)
            return
        connection, head = self.connection, handshake.serialize(response)
        if not self.answering:  # no hook has seen them
            connection.keep_heads(handshake.head, head)
        self.transport.resume_reading()
        self._open(connection, head, handshake)
        # The handler sees the context in which the server was started, or that of its hooks, and no other of the loop.
        connection.start_handler(contextvars.copy_context() if self.answering else self.server.context.copy())
        if self.half_closed:
            connection.receive_eof()
        if self.server.is_closing():
            self.server.get_loop().call_soon(self.server.part_with, connection)  # the handler has begun by then

    @cython.cfunc
    def _open(self, connection: ServerLink, head: bytes, agreed: ServerHandshake | Upgrade) -> None:
        """Send the answer, and hand over to the connection."""
        connection.transport.write(head)
        connection.log_info("connection open")
        self.server.opened(self, connection)
        self.transport.set_protocol(connection)
        self.shared.hand_over_deadline(self, connection, self.due)
        connection.due, self.due = self.due, 0.0
        connection.start(agreed.subprotocol, agreed.extensions, agreed.remaining)

    def _reject(self, response: Response) -> None:
        """Send an HTTP response instead of opening a connection, and let the client close TCP."""
        self.rejected = True
        handshake = self.begin()
        self.server.tell_refusal(self, response)
        transport = self.transport if self.made is None else self.made.transport
        transport.write(handshake.serialize(response))
        # Closing with unread data resets the connection, and the client may never see the response: end our half only.
        if transport.can_write_eof() and not self.half_closed:
            with contextlib.suppress(OSError):  # the client has cut the connection: `connection_lost` comes
                transport.write_eof()
            transport.resume_reading()
            self._drop_after(self.server.options.close_timeout or 10)
        else:
            transport.close()

    # Time, and the end

    def _drop_after(self, seconds: float) -> None:
        self.due = self.shared.move_deadline(self, self.due, self.shared.clock() + seconds)

    def _stop_timer(self) -> None:
        self.shared.forget_deadline(self, self.due)
        self.due = 0.0

    def on_due(self, due: float) -> None:
        """The time for the opening handshake, or for a refused client to go, is over."""
        if due != self.due:
            return
        self.due = 0.0
        if not self.rejected:
            if self.server.logs_info():
                self.connection.log_info("connection handshake timed out")
            if self.task is not None:
                self.task.cancel()  # a hook that takes longer
            if self.server.is_closing():
                self.refuse_unavailable()
                return
        self.transport.abort()

    def hurry(self) -> None:
        """The server closes: let the handshake finish soon, unless that is up to a hook."""
        if self.rejected or self.asking:
            self.refuse_unavailable()
        elif self.due == 0 or self.due > self.shared.clock() + self.server.grace:
            self._drop_after(self.server.grace)

    def refuse_unavailable(self) -> None:
        """The server closes, and the handshake hasn't finished."""
        if not self.rejected:
            self._reject(self.server.unavailable())
        self.transport.close()

    def _forget_when_over(self) -> None:
        if self.lost and not self.answering:
            self.server.forget_opening(self)


if cython.compiled:
    sign(ServerOpening, b"server, shared")

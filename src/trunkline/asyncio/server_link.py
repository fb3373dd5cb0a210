"""The server's end of a connection from the first byte to the end of the handler: the compiled half of it."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from trunkline.asyncio.connection import Connection
from trunkline.asyncio.link import Link
from trunkline.core.session import Side, State
from trunkline.endpoint.server import BaseServer
from trunkline.exceptions import InvalidHandshake
from trunkline.frames import CloseCode
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

__all__ = ["ServerLink"]

GOING_AWAY = (CloseCode.GOING_AWAY, "")
CLOSE = Connection.close  # before a test or a tracer puts another in its place


@cython.cclass
class ServerLink(Link):
    """What a `ServerConnection` does when it opens and ends, and what its transport calls."""

    def __init__(self, protocol: Side, server: BaseServer, **limits: Any) -> None:
        # `serve` gives no limits, but a factory may.
        options = dataclasses.replace(server.options, **limits) if limits else server.options
        super().__init__(protocol, options, server.logger)
        self.server: Any = server
        self.handshake: Any = None  # what reads the request, unless it is an ordinary one; None again once it is over
        self.farewell: tuple[CloseCode | int, str] = GOING_AWAY
        self.on_server_closing: Callable[[], None] | None = None
        self.task: asyncio.Task[None] | None = None  # the latest: loops keep only weak references
        self.running = 0  # tasks, of hooks and of the handler
        self.rejected = False
        self.half_closed = False  # the client ended its half before it was answered
        self.asking = False  # it waits for `process_request` or `process_response`

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.server.track(self)
        timeout = self.options.open_timeout
        if timeout is not None:
            self.drop_after(timeout)

    def on_drop(self) -> None:
        if self.session.state is State.CONNECTING and not self.rejected:
            self.log_info("connection handshake timed out")
            if self.task is not None:
                self.task.cancel()  # a hook that takes longer
            if self.server.is_closing():
                self.refuse_unavailable()
                return
        super().on_drop()

    def receive_handshake(self, data: bytes) -> None:
        if self.rejected:
            return
        if self.handshake is None and self._take_fast_path(data):
            return
        if self.request is not None:
            # Frames before our answer: keep them, but no more of them.
            self.transport.pause_reading()
            self.handshake.receive_data(data)
            return
        try:
            self.request = self._opening().receive_data(data)
        except InvalidHandshake as error:
            self._reject(self.server.refuse(self, error))
            return
        if self.request is None:
            return
        if not self.server.has_hooks:
            self._respond(self.server.answer_now(self, self.request))
        else:
            self.running += 1
            task = self.loop.create_task(self._respond_after_hooks(self.request), context=self.server.context.copy())
            if not task.done():  # an eager one may have started the handler
                self.task = task

    def eof_received(self) -> bool:
        if self.session.state is not State.CONNECTING:
            return super().eof_received()
        asked = self.request is not None and not self.rejected
        self.half_closed = asked and self.transport.can_write_eof()  # it is answered all the same, as in `nc -N`
        return self.half_closed

    def connection_lost(self, error: BaseException | None) -> None:
        super().connection_lost(error)
        self.log_closed(self.clock())
        if self.running and self.handshake is not None and self.task is not None and self.drop_at > 0:
            # A hook goes on without the client, and a server that closes waits for it: for the time that it had.
            self.loop.call_later(max(0.0, self.drop_at - self.clock()), self.task.cancel)
        self._forget_when_over()

    # The opening handshake

    def _opening(self) -> Any:
        """The handshake that reads the request, and answers it."""
        if self.handshake is None:
            self.handshake = self.server.new_handshake(self)
        return self.handshake

    def _take_fast_path(self, data: bytes) -> bool:
        """Open the connection at once, if the request is an ordinary one and nobody else looks at it."""
        server = self.server
        if server.fast_path is None or server.has_hooks or self.debug or server.is_closing():
            return False
        upgrade: Upgrade | None = server.fast_path.answer(data)
        if upgrade is None or (server.admission is not None and server.admission.enter(self) is not None):
            return False
        self._request, self._response = upgrade.head, upgrade.response
        self._open(upgrade.response, upgrade)
        self._start_handler()
        return True

    async def _respond_after_hooks(self, request: Request) -> None:
        self.asking = True
        try:
            response = await self.server.answer(self, request)
            self.asking = False
            self._respond(response)
        finally:
            self.running -= 1
            self._forget_when_over()

    def _respond(self, response: Response) -> None:
        if self.lost or self.rejected:
            return
        self.response = response
        self.log_head("<", self.request)
        self.log_head(">", response)
        if response.status_code == 101 and self.handshake.exception is None:
            handshake = self.handshake
            head = handshake.serialize(response)
            if not self.running:  # no hook has seen them
                self._request, self._response = handshake.head, head
            self.handshake = None  # idle connections should be small
            self._open(head, handshake)
            self._start_handler()
            if self.half_closed:
                self.eof_received()
            if self.server.is_closing():
                self.loop.call_soon(self.server.part_with, self)  # the handler has begun by then
        else:
            self._reject(response)

    def _open(self, head: bytes, agreed: ServerHandshake | Upgrade) -> None:
        """Send the answer, and begin with the messages."""
        self.transport.write(head)
        self.drop_at = 0.0
        self.transport.resume_reading()
        self.log_info("connection open")
        self.start(agreed.subprotocol, agreed.extensions, agreed.remaining)

    def _reject(self, response: Response) -> None:
        """Send an HTTP response instead of opening the connection, and let the client close it."""
        self.rejected = True
        self.response = response
        handshake = self._opening()
        self.log_refusal(response, handshake.exception, handshake.accept_called)
        self.transport.write(handshake.serialize(response))
        if self.half_closed:
            self.transport.close()
        else:
            self.end_refused()

    # The handler

    def _start_handler(self) -> None:
        """Run the handler in a task of its own, with nothing around it that each message would have to pass."""
        try:
            handling = self.server.handler(self)
            if not asyncio.iscoroutine(handling):
                handling = _wait_for(handling)
            if not self.is_ours("close", CLOSE):
                handling = self._handle_and_close(handling)
        except Exception as error:
            self._handler_failed(error)
            return
        # Whatever runs on the loop, the handler sees the context in which the server was started, or that of its hooks.
        context = contextvars.copy_context() if self.running else self.server.context.copy()
        self.running += 1
        self.task = self.loop.create_task(handling, context=context)
        self.task.add_done_callback(self._handler_done)

    async def _handle_and_close(self, handling: Awaitable[None]) -> None:
        """Let a subclass close the connection in its own way, also when the handler has ended."""
        try:
            await handling
        except Exception as error:
            self.server.log_failure(self, error)
            await self.close(CloseCode.INTERNAL_ERROR)
        else:
            await self.close()

    def _handler_done(self, task: asyncio.Task[None]) -> None:
        self.task = None
        self.running -= 1
        if task.cancelled():
            # Most likely the event loop is about to stop: tell the peer, but don't wait for it.
            self.start_closing(*self.farewell)
            self.transport.close()
        elif (error := task.exception()) is not None:
            self._handler_failed(error)
        else:
            self.start_closing(CloseCode.NORMAL_CLOSURE, "")
        self._forget_when_over()

    def _handler_failed(self, error: BaseException) -> None:
        self.server.log_failure(self, error)
        self.start_closing(CloseCode.INTERNAL_ERROR, "")

    def _forget_when_over(self) -> None:
        if self.lost and self.running == 0:
            self.server.forget(self)

    def hurry(self) -> None:
        """The server closes during the opening handshake: let it finish soon, unless that is up to a hook."""
        if self.rejected or self.asking:
            self.refuse_unavailable()
        elif self.drop_at == 0 or self.drop_at > self.clock() + self.server.grace:
            self.drop_after(self.server.grace)

    def refuse_unavailable(self) -> None:
        """The server closes, and the opening handshake hasn't finished."""
        if not self.rejected:
            self._reject(self.server.unavailable(self._opening()))
        self.transport.close()


async def _wait_for(awaitable: Awaitable[None]) -> None:
    await awaitable


if cython.compiled:
    sign(ServerLink, b"protocol, server, **limits")

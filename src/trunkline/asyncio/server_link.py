"""The server's end of a connection, and its handler: the compiled half of it."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from trunkline.asyncio.connection import Connection
from trunkline.asyncio.link import Link
from trunkline.core.session import Side
from trunkline.endpoint.server import BaseServer
from trunkline.frames import CloseCode

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
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
    """The part of a `ServerConnection` that runs its handler."""

    def __init__(self, protocol: Side, server: BaseServer, **limits: Any) -> None:
        # `serve` gives no limits, but a factory may.
        options = dataclasses.replace(server.options, **limits) if limits else server.options
        super().__init__(protocol, options, server.logger)
        self.server: Any = server
        self.farewell: tuple[CloseCode | int, str] = GOING_AWAY
        self.on_server_closing: Callable[[], None] | None = None
        self.task: asyncio.Task[None] | None = None  # that of the handler: loops keep only weak references

    def keep_heads(self, request: bytes, response: bytes) -> None:
        """Keep the heads of the opening handshake as they are: objects are ten times as large."""
        self._request, self._response = request, response

    def tell_lost(self) -> None:
        super().tell_lost()
        self.log_closed(self.clock())
        self._forget_when_over()

    # The handler

    def start_handler(self, context: contextvars.Context) -> None:
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
        self.task = self.loop.create_task(handling, context=context)
        self.task.add_done_callback(self._handler_done, context=context)  # a copy for each would cost memory

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
        if self.lost and self.task is None:
            self.server.forget(self)


async def _wait_for(awaitable: Awaitable[None]) -> None:
    await awaitable


if cython.compiled:
    sign(ServerLink, b"protocol, server, **limits")

"""How tasks of asyncio send on a connection, and wait until they can: the compiled half of one.

A `Link` adds to a `Life` the calls of the program that each message passes through, and how they wait. The calls that
receive stand in receiving.py. A link is an `asyncio.Protocol`: transports of the event loop call it themselves.

`send` writes before it returns. Frames wait for others in one case only, see `_wake_for_batch`.
Reading stops when the application doesn't keep up (`max_queue`), and `send` waits when the peer doesn't
(`write_limit`).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from trunkline import json
from trunkline.asyncio.awaitables import Pause, Waiter, mark_coroutine_functions
from trunkline.asyncio.carrier import TransportCarrier
from trunkline.asyncio.coroutines import fail, send_fragments, send_later
from trunkline.asyncio.keepalive import Keepalive
from trunkline.asyncio.receiving import ReceivingLink
from trunkline.asyncio.shared import Shared
from trunkline.core.writer import PreparedMessage
from trunkline.endpoint.carrier import Carrier
from trunkline.endpoint.connection import BaseConnection
from trunkline.endpoint.life import Life
from trunkline.frames import CloseCode
from trunkline.typing import DataLike

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

if cython.compiled:
    from cython.cimports.cpython.pythread import PyThread_get_thread_ident as get_ident
    from cython.cimports.trunkline.asyncio.awaitables import answer_without_raising
    from cython.cimports.trunkline.core.clock import read_clock
    from cython.cimports.trunkline.core.phases import CLOSING, OPEN
    from cython.cimports.trunkline.core.signature import sign
else:
    from threading import get_ident
    from time import monotonic as read_clock

    from trunkline.asyncio.receiving import BUDGET
    from trunkline.core.phases import CLOSING, OPEN

__all__ = ["Link"]

# typing.get_type_hints() looks for these here, and Cython keeps them to itself.
globals().update(PreparedMessage=PreparedMessage)

MOST_WAITING = 1 << 16  # bytes; more leave at once, so that back-pressure is felt
MOST_GATHERED = 1 << 13  # bytes; the same for frames that many connections gather, so that none looks slow


@cython.final
@cython.cclass
class Drain(Waiter):
    """Awaitable of a `send()` that must wait for the peer to read."""

    def __init__(self, connection: Link) -> None:
        self.get_loop = connection.get_loop
        self.connection = connection

    @cython.cfunc
    def step(self) -> object:
        connection: Link = self.connection
        if connection.lost:
            raise connection.session.close_exception()
        if not connection.writing_paused:
            return None
        if connection.drains is None:
            connection.drains = []
        connection.drains.append(self)
        return self.wait()


if cython.compiled:
    answer_without_raising(Drain)


@cython.cclass
class Link(ReceivingLink):
    """The part of a `Connection` that each message on its way out passes, and that transports call."""

    if not cython.compiled:
        # A compiled instance starts with these.
        drains: list[Waiter] | None = None
        on_writable: Callable[[], None] | None = None
        on_closing: Callable[[], None] | None = None
        closed_waiter: asyncio.Future[None] | None = None

    @property
    def transport(self) -> Any:
        """The asyncio transport; None where something else carries the connection."""
        return self.carrier.fact("transport")

    @transport.setter
    def transport(self, transport: Any) -> None:
        if isinstance(transport, Carrier):  # the reactor's
            self.carrier = transport
        else:
            self.carrier = TransportCarrier(self.shared, transport)
            self.carrier.life = self

    @property
    def local_address(self) -> Any:
        """Address of this end, as `socket.getsockname` gives it; None if unknown."""
        return self.carrier.fact("sockname")

    @property
    def remote_address(self) -> Any:
        """Address of the other end, as `socket.getpeername` gives it; None if unknown."""
        return self.carrier.fact("peername")

    # Added by `Connection`

    def close(self, code: CloseCode | int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> Coroutine[Any, Any, None]:
        raise NotImplementedError

    # Sending

    def send(
        self,
        message: DataLike | Iterable[DataLike] | AsyncIterable[DataLike] | PreparedMessage,
        *,
        text: bool | None = None,
        compress: bool | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Send a message: str as text, bytes-like as binary, an iterable of either, sync or async, in fragments.

        It waits while more than `write_limit` bytes are on their way to the peer, or another task sends fragments.
        The message is on its way when the call returns; errors are raised when its result is awaited.

        Args:
            message: what to send; a `PreparedMessage` is sent as it was prepared.
            text: True sends bytes-like data as text (it must be UTF-8), False sends str as binary.
            compress: where compression was negotiated, False doesn't compress this message, True does so if it is
                shorter than 128 characters or bytes, too.

        Raises:
            ConnectionClosed: if the connection is closed.
            TypeError: if `message` is of no such type.
            UnicodeEncodeError: if a str has lone surrogates.
        """
        if self.session.phase != OPEN or self.fragmenting is not None or self.thread != get_ident():
            return send_later(self, functools.partial(Link.send, self, message, text=text, compress=compress))
        try:
            if not BaseConnection.put(self, message, text, compress):  # no look-up in compiled code
                return send_fragments(self, message, text, compress)
        except Exception as error:  # it isn't UTF-8, or an extension failed
            return fail(error)
        return self.leave()  # type: ignore[no-any-return]

    def drain(self) -> Coroutine[Any, Any, None]:
        """Write what waits to leave, and wait while more than `write_limit` bytes are on their way to the peer.

        Raises:
            ConnectionClosed: if the connection is closed.
        """
        Link.flush(self)  # no look-up in compiled code
        return self._when_taken()  # type: ignore[no-any-return]

    @cython.cfunc
    def leave(self) -> Any:
        """Let what was sent leave; the awaitable of `send`."""
        self._flush_unless_held()
        return self._when_taken()

    @cython.cfunc
    def _when_taken(self) -> Any:
        """An awaitable: it waits for the peer to read, if that is necessary."""
        if self.writing_paused:
            return Drain(self)
        self.budget -= 1
        if self.budget < 0:
            self.budget = BUDGET
            return Pause()
        return self.sends.result()

    def send_json(self, obj: Any) -> Coroutine[Any, Any, None]:
        """Send an object as a text message of JSON: whatever msgspec encodes, such as Structs, dataclasses, datetimes.

        Raises:
            TypeError: if `obj` can't be JSON, when the result is awaited.
            ConnectionClosed: if the connection is closed.
        """
        try:
            return self.send(json.encode(obj), text=True)
        except Exception as error:  # an awaitable reports its errors at the await, not at the call
            return fail(error)

    # Keepalive

    def start_keepalive(self) -> None:
        """Send pings from now on; connections made by `connect` and `serve` do from the beginning."""
        self.session.start_keepalive(self.clock())
        self.schedule()

    @property
    def keepalive_task(self) -> Keepalive | None:
        """An object to cancel, so that no more pings are sent; None without pings (a name from websockets)."""
        if self.session.phase != OPEN or self.session.ping_interval is None:
            return None
        return Keepalive(self.session)

    # Called by transports of the event loop

    def connection_made(self, transport: Any) -> None:
        """The connection has a transport from now on; another protocol reads until the opening handshake is done."""
        self.transport = transport
        high, low = self.options.write_marks
        transport.set_write_buffer_limits(high, low)

    def data_received(self, data: bytes) -> None:
        """The transport received bytes."""
        self.receive_data(data)

    def eof_received(self) -> bool:
        """The peer ended its half of the stream.

        Returns:
            Whether the transport may keep our half, so that tasks can still answer: with TLS, it can't.
        """
        keeps = self.session.phase == OPEN and self.carrier.can_half_close()
        self.receive_eof()
        return keeps

    def connection_lost(self, error: BaseException | None) -> None:
        """The transport is gone."""
        self.lose(error)

    # The life of a connection whose tasks wait on an event loop

    @cython.ccall
    def attend(self) -> None:
        Life.attend(self)
        if self.session.phase >= CLOSING and self.on_closing is not None:
            self._tell_closing()

    def _tell_closing(self) -> None:
        on_closing, self.on_closing = self.on_closing, None
        if on_closing is not None:
            on_closing()

    def acknowledge(self, token: asyncio.Future[float], latency: float) -> None:
        if not token.done():
            token.set_result(latency)

    def give_up_ping(self, token: asyncio.Future[float]) -> None:
        if not token.done():
            token.set_exception(self.session.close_exception())
            token.exception()  # the program isn't told that it never retrieved the exception, if it waits for no pong

    def wake_senders(self) -> None:
        drains, self.drains = self.drains, None
        for drain in drains or ():
            drain.wake_soon()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.tell_writable()

    def tell_writable(self) -> None:
        """Tell the program that `send_nowait` will send again."""
        if self.on_writable is not None:
            self.on_writable()

    def lose(self, error: BaseException | None) -> None:
        self.shared.forget_deadline(self, self.due)
        super().lose(error)

    def tell_lost(self) -> None:
        if self.closed_waiter is not None and not self.closed_waiter.done():
            self.closed_waiter.set_result(None)
        self._tell_closing()

    # Frames that wait for those behind them

    @cython.cfunc
    def _flush_unless_held(self) -> object:
        shared: Shared = self.shared
        if shared.holder is not self or self.session.outgoing_size > MOST_WAITING or self._must_leave():
            return Link.flush(self)  # no look-up in compiled code
        return None

    @cython.cfunc
    def _must_leave(self) -> cython.bint:
        """Whether what was sent in a batch can't wait: no message is left to answer, or a frame has waited too long."""
        if self.session.inbox.size() == 0:
            return True
        if not self.shared.waits_too_long(read_clock()):
            return False
        self.quick_batches = 0
        self.shared.release(self)
        return True

    @cython.ccall
    def flush(self) -> object:
        shared: Shared = self.shared
        if shared.holder is self:
            shared.held_since = 0.0
        return Life.flush(self)

    # Sending without waiting

    @cython.ccall
    def send_nowait(self, message: PreparedMessage) -> cython.bint:
        """Send a message if the connection is open and its peer keeps up, so that no `send` would wait.

        Returns:
            Whether it was sent. If not, because more than `write_limit` bytes are on their way, or a message is sent in
            fragments, `on_writable` is called when that has changed.
        """
        if self.session.phase != OPEN or self.writing_paused or self.fragmenting is not None:
            return False
        self.send_now(message)
        return True

    @cython.ccall
    def send_soon(self, message: PreparedMessage) -> cython.bint:
        """`send_nowait` for messages of which many come together: they leave in one write, once the loop turns.

        More than 8 KiB don't wait for that. `shared.write_gathered` writes what waits, on all connections of the loop.
        """
        if self.session.phase != OPEN or self.writing_paused or self.fragmenting is not None:
            return False
        self.session.send_prepared(message)
        if self.session.outgoing_size > MOST_GATHERED:
            self.flush()
        else:
            self.shared.gather(self)
        return True

    @cython.ccall
    def broadcast(self, message: PreparedMessage) -> object:
        return self.deliver(message)

    @cython.cfunc
    def deliver(self, message: PreparedMessage) -> object:
        obstacle: object = self.obstacle()
        return self.send_now(message) if obstacle is None else obstacle

    @cython.cfunc
    def send_now(self, message: PreparedMessage) -> object:
        """Send a message; returns the error, as `flush` does."""
        buffers: list | None  # type: ignore[type-arg]
        if self.shared.holder is not self and not self.lost:
            buffers = self.session.shared_buffers(message)
            if buffers is not None:
                error: Any = self.carrier.carry(buffers, False)
                if error is not None:
                    self.fail_writing(error)
                return error
        self.session.send_prepared(message)
        return self._flush_unless_held()


mark_coroutine_functions(Link.send, Link.send_json, Link.drain)
if cython.compiled:
    sign(Link, b"protocol, options=None, logger=None, **limits")

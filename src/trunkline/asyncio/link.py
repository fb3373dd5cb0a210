"""How tasks of asyncio wait for a connection, and send: the compiled half of one.

A `Link` adds to a `Life` the calls of the program that each message passes through, and how they wait. It is an
`asyncio.Protocol`: transports of the event loop call it themselves.

What is sent has left: `send` writes before it returns. Frames wait for others in one case only, see `_wake_for_batch`.
Reading stops when the application doesn't keep up (`max_queue`), and `send` waits when the peer doesn't
(`write_limit`).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Self

from trunkline import json
from trunkline.asyncio.awaitables import Pause, Waiter, mark_coroutine_functions
from trunkline.asyncio.carrier import TransportCarrier
from trunkline.asyncio.coroutines import fail, fail_streaming, no_more, recv_as, send_fragments, send_later
from trunkline.asyncio.keepalive import Keepalive
from trunkline.asyncio.shared import Shared, shared_on
from trunkline.core.inbox import Fragment
from trunkline.core.session import Session, Side
from trunkline.core.writer import PreparedMessage
from trunkline.endpoint.carrier import Carrier
from trunkline.endpoint.connection import BaseConnection, already_receiving
from trunkline.endpoint.life import Life
from trunkline.endpoint.messages import AsyncMessages
from trunkline.frames import CloseCode
from trunkline.options import Options
from trunkline.sansio.protocol import Protocol
from trunkline.typing import Data, DataLike, LoggerLike

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

if cython.compiled:
    from cython.cimports.cpython.pythread import PyThread_get_thread_ident as get_ident
    from cython.cimports.cpython.ref import Py_REFCNT as refcount
    from cython.cimports.trunkline.asyncio.awaitables import answer_without_raising
    from cython.cimports.trunkline.core.clock import read_clock
    from cython.cimports.trunkline.core.inbox import Inbox
    from cython.cimports.trunkline.core.phases import CLOSING, CONNECTING, OPEN
    from cython.cimports.trunkline.core.signature import sign
else:
    from threading import get_ident
    from time import monotonic as read_clock

    from trunkline.core.phases import CLOSING, CONNECTING, OPEN

__all__ = ["Link"]

# typing.get_type_hints() looks for these here, and Cython keeps them to itself.
globals().update(PreparedMessage=PreparedMessage)

BUDGET = 1024  # messages that a task may receive or send without giving the loop a turn

# When frames may wait for those behind them: see `_wake_for_batch`.
QUICK = 50e-6  # seconds; a task that takes no more for each message of a batch is quick
QUICK_BATCHES = 4  # so many in a row earn the connection that its frames wait
MOST_WAITING = 1 << 16  # bytes; more leave at once, so that back-pressure is felt


@cython.cfunc
def receive(
    connection: Link, iterating: cython.bint = False, fragment: cython.bint = False, event: cython.bint = False
) -> Receive:
    """Make a `Receive`, or use one again; passing by `__init__` saves most of the time."""
    made: Receive | None = spares.take()
    if made is None:
        made = Receive.__new__(Receive)
    made.get_loop = connection.get_loop
    made.connection = connection
    made.iterating = iterating
    made.fragment = fragment
    made.event = event
    return made


@cython.final
@cython.cclass
class Receive(Waiter):
    """Awaitable of `recv()`, of one turn of `async for`, of one fragment, and of one event of `receive_event`."""

    if not cython.compiled:
        connection: Link | None
        iterating: bool
        fragment: bool
        event: bool

    @cython.cfunc
    def step(self) -> object:
        connection: Link | None = self.connection
        inbox: Inbox
        message: object
        if connection is None:
            raise RuntimeError("cannot reuse already awaited recv()")
        inbox = connection.session.inbox
        if connection.receiver is not None and connection.receiver is not self:
            if self.event:
                connection.wait_in_line(self)
                return self.wait()
            raise already_receiving("recv_streaming" if self.fragment else "recv", "coroutine")
        connection.budget -= 1
        if connection.budget < 0:
            return self._wait_a_turn()
        message = inbox.take_fragment() if self.fragment else inbox.take()
        if inbox.paused:
            connection.read_on_if_drained()
        if message is None:
            return self._nothing_there()
        connection.receiver = None
        self.connection = None
        if self.event:
            message = connection.event_of(message)
        spares.put(self)
        return message

    @cython.cfunc
    def has_something(self) -> cython.bint:
        """Whether there is a reason to wake up."""
        connection: Link = self.connection  # type: ignore[assignment]
        session: Session = connection.session
        if self.fragment:
            return session.inbox.size() > 0
        return session.inbox.ready() or (session.phase != OPEN and (self.event or self._loop_ends()))

    @cython.cfunc
    def _loop_ends(self) -> cython.bint:
        """Whether a loop over messages is at its end: with the close frame, not only with TCP. Between them, others
        can't send to this peer.
        """
        connection: Link = self.connection  # type: ignore[assignment]
        return self.iterating and connection.session.phase != OPEN and connection.session.ended_normally()

    @cython.cfunc
    def _wait_a_turn(self) -> object:
        """A task that finds messages all the time lets the others run now and then."""
        connection: Link = self.connection  # type: ignore[assignment]
        connection.budget = BUDGET
        connection.receiver = self
        connection.loop.call_soon(self.resume)
        return self.wait()

    @cython.cfunc
    def _nothing_there(self) -> object:
        connection: Link = self.connection  # type: ignore[assignment]
        if self._loop_ends():
            connection.receiver = None
            raise StopAsyncIteration
        if connection.session.pending_fault is not None:
            connection.session.settle(connection.clock())
            connection.attend()
        if self.event and connection.session.phase != OPEN:
            connection.receiver = None
            return connection.last_event()
        if not connection.lost:
            connection.receiver = self
            return self.wait()
        connection.receiver = None
        raise connection.session.close_exception()

    @cython.cfunc
    def release(self) -> None:
        connection: Link | None = self.connection
        if connection is not None and connection.receiver is self:
            connection.receiver = None
        if connection is not None and self.event:
            connection.call_next_in_line()


@cython.final
@cython.cclass
class Spares:
    """The last `Receive` objects that ended, to be used again: there is one for each message.

    There are two, because a task that was woken asks for the next one while the one that woke it is still in use.
    """

    def __init__(self) -> None:
        self.newer: Receive | None = None
        self.older: Receive | None = None

    @cython.cfunc
    def put(self, ended: Receive) -> None:
        if not cython.compiled:
            return
        ended.phase = 0
        ended.context = ended.cancel_message = ended._asyncio_future_blocking = None
        if self.newer is not None:
            self.older = self.newer
        self.newer = ended

    @cython.cfunc
    def take(self) -> Receive | None:
        """One that nobody else has any more, or None."""
        taken: Receive | None
        if not cython.compiled:
            return None
        taken = self.older
        if taken is not None and refcount(taken) == 2:  # `older` and `taken`
            self.older = None
            return taken
        taken = self.newer
        if taken is not None and refcount(taken) == 2:
            self.newer = None
            return taken
        return None


spares: Spares = Spares()


@cython.final
@cython.cclass
class Messages:
    """What `async for` goes through. It can be ended without the connection, like the generator that programs expect:
    `contextlib.aclosing` must not close what others still use.
    """

    def __init__(self, connection: Link) -> None:
        self.connection: Link | None = connection

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[Data]:
        connection: Link | None = self.connection
        if connection is None:
            return no_more()
        if connection.streaming_broken:
            return fail_streaming()
        return receive(connection, True)

    async def aclose(self) -> None:
        """Give no more messages."""
        self.connection = None


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
    answer_without_raising(Receive)
    answer_without_raising(Drain)


@cython.cclass
class Link(Life):
    """What a `Connection` does for each message, and how its tasks wait."""

    def __init__(
        self,
        protocol: Side | Protocol,
        options: Options | None = None,
        logger: LoggerLike | None = None,
        **limits: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        shared: Shared = shared_on(loop)
        super().__init__(protocol, shared.clock, options, logger, **limits)
        self.loop = loop
        self.thread = get_ident()
        self.shared = shared
        self.get_loop = shared.get_loop
        self.sends = shared.sends
        self.receiver: Receive | None = None
        self.streaming_broken = False
        self.drains: list[Waiter] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.on_closing: Callable[[], None] | None = None
        self.budget = BUDGET
        self.quick_batches = 0
        self.closed_waiter: asyncio.Future[None] | None = None

    @property
    def transport(self) -> Any:
        """The asyncio transport; None where something else carries the connection."""
        return self.carrier.fact("transport")

    @transport.setter
    def transport(self, transport: Any) -> None:
        self.carrier = transport if isinstance(transport, Carrier) else TransportCarrier(self.shared, transport)
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

    def wait_closed(self) -> Coroutine[Any, Any, None]:
        raise NotImplementedError

    # Receiving

    def recv(self, decode: bool | None = None) -> Coroutine[Any, Any, Data]:
        """Receive the next message: str for text, bytes for binary.

        Messages that arrived before the connection closed are still given. Canceling loses nothing.

        Args:
            decode: True gives str, False bytes, whatever the type of the message; None goes by the type.

        Raises:
            ConnectionClosed: if the connection is closed.
            ConcurrencyError: if two tasks receive at the same time.
        """
        if self.streaming_broken:
            return fail_streaming()
        if decode is None:
            return receive(self)
        return recv_as(self, receive(self), decode)

    def receive_fragment(self) -> Coroutine[Any, Any, str | bytes | Fragment]:
        """Receive the next fragment of a message, or a message that has only one."""
        return receive(self, False, True)

    def __aiter__(self) -> AsyncIterator[Data]:
        return Messages(self) if self.is_ours("recv", Link.recv) else AsyncMessages(self)

    def __anext__(self) -> Awaitable[Data]:
        return self.__aiter__().__anext__()

    # For a subclass that hands out events

    @cython.cfunc
    def event_of(self, message: object) -> object:
        """The event that tells of a message."""
        raise NotImplementedError

    @cython.cfunc
    def last_event(self) -> object:
        """The event that tells of the end of the connection."""
        raise NotImplementedError

    @cython.cfunc
    def wait_in_line(self, receiver: Receive) -> None:
        """Another task receives already: wake `receiver` when that one has its event."""
        raise NotImplementedError

    @cython.cfunc
    def call_next_in_line(self) -> None:
        """No task receives any more: wake the next one, if there is one."""
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
        """What can be canceled to send no more pings, None without any (a name that programs on websockets use)."""
        if self.session.phase != OPEN or self.session.ping_interval is None:
            return None
        return Keepalive(self.session)

    # Called by transports of the event loop

    def connection_made(self, transport: Any) -> None:
        """The connection has a transport from now on; its owner reads until the opening handshake is done."""
        self.transport = transport
        high, low = self.options.write_marks
        transport.set_write_buffer_limits(high, low)

    def data_received(self, data: bytes) -> None:
        """The transport received bytes."""
        if self.session.phase == CONNECTING:
            self.receive_handshake(data)
        else:
            self.receive_data(data)

    def receive_handshake(self, data: bytes) -> None:
        """Bytes of the opening handshake; clients and servers differ."""
        raise NotImplementedError

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

    def end_refused(self) -> None:
        """A response that opens no connection was sent: let the client close.

        Closing with unread data resets the connection, and the client may never see the response: end our half only.
        """
        if self.carrier.can_half_close():
            self.carrier.end()
            self.carrier.resume()
            self.drop_after(self.options.close_timeout or 10)
        else:
            self.carrier.end()

    # The life of a connection whose tasks wait on an event loop

    def receive_data(self, data: bytes) -> None:
        self.session.receive_data(data, self.clock())
        if self.session.attention:
            self.attend()
        # The task isn't woken here: it would run in the context of the transport, and a task that runs the loop itself,
        # as with nest_asyncio, would keep the loop from entering that context again.
        shared: Shared = self.shared
        shared.put(self)
        shared.ask_for_turn()

    def receive_eof(self) -> None:
        """Tasks that were started or woken for what came before run first, so that they can answer it."""
        if self.session.phase == OPEN and self.carrier.can_half_close():
            self.loop.call_soon(self._receive_end)
            return
        if self.in_line and asyncio.current_task(self.loop) is None:
            self.shared.note_mode()
            self.shared.wake(self)
        self._receive_end()

    def _receive_end(self) -> None:
        if not self.lost:
            super().receive_eof()

    @cython.cfunc
    def awaken(self) -> cython.bint:
        receiver: Receive | None = self.receiver
        self.budget = BUDGET
        if receiver is None:
            return False
        if not self.lost and not receiver.has_something():
            return True
        if self.lost or not self.shared.may_wake_now:
            receiver.wake_soon()
        elif self.session.inbox.size() < 2:
            receiver.wake_now()
        else:
            self._wake_for_batch(receiver)
        return False

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
        """What kept `send_nowait` from sending has ended."""
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
    def _wake_for_batch(self, receiver: Receive) -> None:
        """Wake the task for messages that came together.

        Here, and nowhere else, frames may wait: as long as there are messages left, so that the answers to them leave
        in one write. A connection earns that by `QUICK_BATCHES` batches in which its task took no more than `QUICK` for
        a message, and loses it by one that took longer.
        """
        shared: Shared = self.shared
        inbox: Inbox = self.session.inbox
        messages: cython.Py_ssize_t = inbox.size()
        if self.quick_batches >= QUICK_BATCHES:
            shared.hold(self)
        began: cython.double = read_clock()
        try:
            receiver.wake_now()
        finally:
            shared.release(self)
            messages -= inbox.size()
            if read_clock() - began > QUICK * max(messages, 1):
                self.quick_batches = 0
            elif self.quick_batches < QUICK_BATCHES:
                self.quick_batches += 1

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

    @cython.cfunc
    def deliver(self, message: PreparedMessage) -> object:
        return Life.broadcast(self, message)

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


mark_coroutine_functions(Link.recv, Link.receive_fragment, Link.send, Link.send_json, Link.drain)
if cython.compiled:
    sign(Link, b"protocol, options=None, logger=None, **limits")

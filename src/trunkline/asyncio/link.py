"""Between a transport and a session: the compiled half of a WebSocket connection on asyncio.

A `Link` is an `asyncio.Protocol`. It moves bytes between a transport and a `Session`, wakes tasks that wait, and
keeps the session's deadline; what the bytes mean is none of its business.

What is sent has left: `send` writes before it returns. Frames wait for others in one case only, see `_wake_for_batch`.
Reading stops when the application doesn't keep up (`max_queue`), and `send` waits when the peer doesn't
(`write_limit`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Self

from trunkline import json
from trunkline.asyncio.awaitables import Pause, Sends, Waiter, mark_coroutine_functions
from trunkline.asyncio.coroutines import fail, fail_streaming, no_more, recv_as, send_fragments, send_later
from trunkline.asyncio.deadlines import Deadlines, clock_of
from trunkline.asyncio.keepalive import Keepalive
from trunkline.core.inbox import Fragment
from trunkline.core.session import Session, Side, State
from trunkline.core.writer import PreparedMessage
from trunkline.endpoint.broadcast import BROADCAST_BACKLOG
from trunkline.endpoint.connection import BaseConnection, already_receiving
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
AT_ONCE = 1 << 16  # bytes; the messages of a larger read are handled while they are in the caches of the CPU

# When frames may wait for those behind them: see `_wake_for_batch`.
QUICK = 50e-6  # seconds; a task that takes no more for each message of a batch is quick
QUICK_BATCHES = 4  # so many in a row earn the connection that its frames wait
LONGEST_WAIT = 200e-6  # seconds; a send that finds an older frame waiting writes it
MOST_WAITING = 1 << 16  # bytes; more leave at once, so that back-pressure is felt

# CVE-2024-12254: here writelines() of asyncio's own transports never calls pause_writing(), so nothing limits memory.
WRITELINES_NEVER_PAUSES = (3, 12) <= sys.version_info < (3, 12, 9) or (3, 13) <= sys.version_info < (3, 13, 2)


@cython.final
@cython.cclass
class Shared:
    """What the connections on one loop have in common, and the order in which their tasks are woken.

    An engine works in two phases. In the first one it receives and parses what all ready sockets have, and puts their
    connections in line. In the second one it wakes their tasks, one behind the other. So answers leave close to each
    other: while others were read in between, the process that receives them would fall asleep again.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.get_loop: Callable[[], Any] = weakref.ref(loop)
        self.sends = Sends(self.get_loop)
        self.clock = clock_of(loop)
        self.deadlines = Deadlines(loop)
        self.connections = 0
        self.may_wake_now = True
        self.line: list[Link] = []  # those whose tasks are to be woken
        self.next = 0  # the first of them that is still to come
        self.turn: Any = None  # handle of `take_turn`, or None
        self.holder: Link | None = None  # the connection whose frames may wait just now
        self.held_since = 0.0  # when the first of them was sent, 0 for none

    @cython.cfunc
    def put_in_line(self, connection: Link) -> None:
        """End the first phase for a connection."""
        if not connection.in_line:
            connection.in_line = True
            self.line.append(connection)

    @cython.ccall
    def note_mode(self) -> None:
        """In its debug mode the loop wakes all tasks, so that its log of slow callbacks names the slow task, not us."""
        self.may_wake_now = not self.get_loop().get_debug()

    @cython.ccall
    def wake_line(self) -> None:
        """The second phase: wake the tasks of all connections in line."""
        if self.next + 1 < len(self.line):
            self.ask_for_turn()
        while self.next < len(self.line):
            connection: Link = self.line[self.next]
            self.next += 1
            self._wake(connection)
        self._forget_line()

    @cython.cfunc
    def wake(self, connection: Link) -> None:
        """Both phases at once."""
        if self.line:
            self.ask_for_turn()
        self._wake(connection)
        self._forget_line()

    @cython.cfunc
    def _forget_line(self) -> None:
        """Forget the line, and the turn, unless connections are still to come."""
        if self.next < len(self.line):
            return
        if self.next > 0:
            self.line.clear()
            self.next = 0
        if self.turn is not None:
            self.turn.cancel()
            self.turn = None

    @cython.cfunc
    def _wake(self, connection: Link) -> None:
        connection.in_line = False
        if connection.lost:  # a task that was woken before it has ended it
            return
        try:
            connection.after_receiving(self.may_wake_now)
        except Exception as error:
            context = {"message": "unexpected error in a connection", "exception": error}
            self.get_loop().call_exception_handler(context)
            connection.transport.abort()

    @cython.cfunc
    def ask_for_turn(self) -> None:
        """Let the loop call us. If a task that we wake runs the loop itself, it must find what we have not done yet."""
        if self.turn is None:
            self.turn = self.get_loop().call_soon(self.take_turn)

    def take_turn(self) -> None:
        self.turn = None
        if self.holder is not None:
            self.holder.flush()
        self.note_mode()
        self.wake_line()


# It refers to its loop: with a strong reference here no loop would ever be freed.
_shared_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[Shared]] = weakref.WeakKeyDictionary()


def shared_on(loop: asyncio.AbstractEventLoop) -> Shared:
    """The one `Shared` of a loop, as long as there are connections."""
    reference = _shared_by_loop.get(loop)
    shared = None if reference is None else reference()
    if shared is None:
        shared = Shared(loop)
        _shared_by_loop[loop] = weakref.ref(shared)
    return shared


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
            connection.resume_if_drained()
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
class Link(BaseConnection):
    """What a `Connection` does for each message, and what its transport calls."""

    if not cython.compiled:
        write_chunks: Any  # the reactor's way to write; C only

    def __init__(
        self,
        protocol: Side | Protocol,
        options: Options | None = None,
        logger: LoggerLike | None = None,
        **limits: Any,
    ) -> None:
        super().__init__(protocol, options, logger, **limits)
        self.loop = asyncio.get_running_loop()
        self.thread = get_ident()
        self.shared = shared_on(self.loop)
        self.get_loop = self.shared.get_loop
        self.sends = self.shared.sends
        self.clock = self.shared.clock
        self.transport: Any = None
        self.receiver: Receive | None = None
        self.streaming_broken = False
        self.drains: list[Waiter] | None = None
        self.fragmenting: asyncio.Future[None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.on_closing: Callable[[], None] | None = None
        self.budget = BUDGET
        self.in_line = False
        self.quick_batches = 0
        self.corked = False  # frames wait for those behind them
        self.writing_paused = False
        self.eof_sent = False
        self.lost = False
        self.closed_waiter: asyncio.Future[None] | None = None
        self.drop_at = 0.0  # when to abort the transport, whatever the session thinks; 0 for never
        self.due = 0.0  # when `on_due` will be called, 0 for never

    @property
    def local_address(self) -> Any:
        """Address of this end, as `socket.getsockname` gives it; None if unknown."""
        return None if self.transport is None else self.transport.get_extra_info("sockname")

    @property
    def remote_address(self) -> Any:
        """Address of the other end, as `socket.getpeername` gives it; None if unknown."""
        return None if self.transport is None else self.transport.get_extra_info("peername")

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

    def resume_if_drained(self) -> None:
        """Read on when the inbox is down to its low water mark."""
        if self.session.inbox.drained():
            self.session.inbox.paused = False
            if not self.lost:
                self.transport.resume_reading()

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
        self.flush()
        return self._when_taken()  # type: ignore[no-any-return]

    @cython.cfunc
    def leave(self) -> Any:
        """Let what was sent leave; the awaitable of `send`."""
        self._flush_unless_corked()
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

    # Closing

    @cython.annotation_typing(False)  # compiled, too, subclasses of str will do
    def start_closing(self, code: CloseCode | int, reason: str) -> None:
        """Send the close frame, if the connection is open."""
        if self.session.phase != OPEN:
            return
        self.begin_closing(code, reason, self.fragmenting is not None, self.clock())
        self.attend()

    def _read_to_the_end(self) -> None:
        """The peer's close frame stands behind its messages, also behind those that nobody reads any more."""
        if self.session.inbox.paused and not self.lost:
            self.session.inbox.paused = False
            self.transport.resume_reading()

    # Opening

    def start(self, subprotocol: Any, extensions: Any, rest: bytes) -> None:
        """The opening handshake is done; `rest` is what came behind it."""
        self.begin(subprotocol, extensions, self.clock())
        self.schedule()
        if rest:
            self.receive_data(rest)

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

    def receive_handshake(self, data: bytes) -> None:
        """Bytes of the opening handshake; clients and servers differ."""
        raise NotImplementedError

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.shared.connections += 1
        high, low = self.options.write_marks
        transport.set_write_buffer_limits(high, low)

    def data_received(self, data: bytes) -> None:
        if self.session.phase == CONNECTING:
            self.receive_handshake(data)
        else:
            self.receive_data(data)

    def receive_data(self, data: bytes) -> None:
        self.session.receive_data(data, self.clock())
        if self.session.attention:
            self.attend()
        # The task isn't woken here: it would run in the context of the transport, and a task that runs the loop itself,
        # as with nest_asyncio, would keep the loop from entering that context again.
        shared: Shared = self.shared
        shared.put_in_line(self)
        shared.ask_for_turn()

    @cython.cfunc
    def after_receiving(self, may_wake_now: cython.bint) -> None:
        """Received bytes went through the session: wake the task that waits for them, and write."""
        session: Session = self.session
        receiver: Receive | None = self.receiver
        self.budget = BUDGET
        if receiver is not None:
            if receiver.has_something():
                self._wake_receiver(receiver, may_wake_now)
            elif session.pending_fault is not None:
                session.settle(session.now)
        if session.inbox.overflows():
            self._pause_reading()
        if session.attention:
            self.attend()
        elif session.outgoing_size > 0:
            self.flush()

    @cython.cfunc
    def _wake_receiver(self, receiver: Receive, may_wake_now: cython.bint) -> None:
        if not may_wake_now:
            receiver.wake_soon()
        elif self.session.inbox.size() < 2:
            receiver.wake_now()
        else:
            self._wake_for_batch(receiver)

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
        if self.quick_batches >= QUICK_BATCHES and shared.holder is None:
            self._cork(shared)
        began: cython.double = read_clock()
        try:
            receiver.wake_now()
        finally:
            self._uncork(shared)
            messages -= inbox.size()
            if read_clock() - began > QUICK * max(messages, 1):
                self.quick_batches = 0
            elif self.quick_batches < QUICK_BATCHES:
                self.quick_batches += 1

    @cython.cfunc
    def _cork(self, shared: Shared) -> None:
        self.corked = True
        shared.holder = self
        shared.held_since = 0.0
        shared.ask_for_turn()

    @cython.cfunc
    def _uncork(self, shared: Shared) -> None:
        self.corked = False
        if shared.holder is self:
            shared.holder = None

    def _pause_reading(self) -> None:
        if self.session.phase != OPEN:
            return  # only the peer's close frame is of interest
        self.session.inbox.paused = True
        self.transport.pause_reading()

    @cython.cfunc
    def flush(self) -> object:
        """Write what the session has to send; an error of the transport ends the connection, and is returned."""
        outgoing: list = self.session.take_outgoing()  # type: ignore[type-arg]
        if self.corked:
            self.shared.held_since = 0.0
        if not outgoing or self.lost:
            return None
        try:
            if cython.compiled and self.write_chunks != cython.NULL:
                self.write_chunks(self.transport, outgoing, self.session.eof_wanted)
                return None
            if WRITELINES_NEVER_PAUSES or len(outgoing) == 1:
                self.transport.write(b"".join(outgoing))
            else:
                self.transport.writelines(outgoing)
        except Exception as error:
            return self._writing_failed(error)
        if self.transport.is_closing() and not self.eof_sent:
            self.writing_paused = True  # it is lost, and drops what it is given until it says so
        return None

    def _writing_failed(self, error: Exception) -> Exception:
        """The transport takes no more, perhaps because somebody else has ended or closed it: the connection is lost."""
        self.session.failure = self.session.failure or error
        self.writing_paused = True  # whoever sends waits for the end, and is told
        self.transport.abort()
        return error

    def attend(self) -> None:
        """Something besides messages happened in the session: pongs, closing, deadlines."""
        session = self.session
        session.attention = False
        if session.acknowledged:
            self._complete_pings()
        if session.phase == CLOSING:
            self._read_to_the_end()
        self.flush()
        if session.expired and not self.lost:
            self.transport.abort()
        elif session.eof_wanted and not self.eof_sent and not self.lost:
            self._end_stream()
        self.schedule()
        if session.phase >= CLOSING and self.on_closing is not None:
            self._tell_closing()

    def _tell_closing(self) -> None:
        on_closing, self.on_closing = self.on_closing, None
        if on_closing is not None:
            on_closing()

    def _complete_pings(self) -> None:
        acknowledged, self.session.acknowledged = self.session.acknowledged, []
        for waiter, latency in acknowledged:
            if not waiter.done():
                waiter.set_result(latency)

    def _end_stream(self) -> None:
        """Half-close, where the transport can; TLS can't (RFC 8446 section 6.1)."""
        self.eof_sent = True
        if self.debug:
            self.logger.debug("> EOF")
            self.logger.debug("x half-closing TCP connection")
        if self.session.eof_received or not self.transport.can_write_eof():
            self.transport.close()
            self._limit_sending_the_rest()
        else:
            self.write_eof()

    def end_refused(self) -> None:
        """A response that opens no connection was sent: let the client close.

        Closing with unread data resets the connection, and the client may never see the response: end our half only.
        """
        if self.transport.can_write_eof():
            self.write_eof()
            self.transport.resume_reading()
            self.drop_after(self.options.close_timeout or 10)
        else:
            self.transport.close()

    def write_eof(self) -> None:
        """End our half of the stream, unless the peer has cut the connection: `connection_lost` comes then."""
        with contextlib.suppress(OSError):
            self.transport.write_eof()

    def _limit_sending_the_rest(self) -> None:
        """A peer that ended its half and doesn't read can't keep the connection: the session is done with it."""
        timeout = self.options.close_timeout
        if self.session.state is not State.CLOSED or timeout is None or self.transport.get_write_buffer_size() == 0:
            return
        self.drop_after(timeout)

    def eof_received(self) -> bool:
        """The peer ended its half of the stream.

        Tasks that were started or woken for what came before run first, so that they can answer it.

        Returns:
            Whether the transport may keep our half: with TLS, it can't.
        """
        if self.session.phase == OPEN and self.transport.can_write_eof():
            self.loop.call_soon(self._receive_end)
            return True
        if self.in_line and asyncio.current_task(self.loop) is None:
            self.shared.note_mode()
            self.shared.wake(self)
        self._receive_end()
        return False

    def _receive_end(self) -> None:
        if not self.lost:
            self.session.receive_eof(self.clock())
            self.attend()

    def connection_lost(self, error: BaseException | None) -> None:
        self.end(error, self.clock())
        self.lost = True
        self.shared.connections -= 1
        if self.due > 0:
            self.shared.deadlines.remove(self, self.due)
            self.due = 0.0
        self._wake_all()
        self._tell_closing()

    def _wake_all(self) -> None:
        if self.receiver is not None:
            self.receiver.wake_soon()
        self.resume_writing()
        for waiter, _ in self.session.pings.values():
            if waiter is not None and not waiter.done():
                waiter.set_exception(self.session.close_exception())
                waiter.exception()  # whoever doesn't wait for a pong isn't told that it was never retrieved
        self.session.pings.clear()
        if self.closed_waiter is not None and not self.closed_waiter.done():
            self.closed_waiter.set_result(None)

    def pause_writing(self) -> None:
        self.writing_paused = True
        self.session.set_backlogged(True)

    def resume_writing(self) -> None:
        self.writing_paused = False
        self.session.set_backlogged(False)
        drains, self.drains = self.drains, None
        for drain in drains or ():
            drain.wake_soon()
        self.flush()
        self.tell_writable()

    def tell_writable(self) -> None:
        """What kept `send_nowait` from sending has ended."""
        if self.on_writable is not None:
            self.on_writable()

    # Deadlines

    def deadline(self) -> float | None:
        """When something is to be done, on our clock; None for never."""
        deadline = self.session.deadline()
        if self.drop_at > 0 and (deadline is None or self.drop_at < deadline):
            return self.drop_at
        return deadline

    def schedule(self) -> None:
        """See to it that `on_due` is called at the deadline; being called too early is cheaper than moving it."""
        deadline = self.deadline()
        if deadline is None or self.lost or 0 < self.due <= deadline:
            return
        if self.due > 0:
            if self.due - deadline <= (deadline - self.clock()) / 64:
                return  # later by no more than any deadline may be put off
            self.shared.deadlines.remove(self, self.due)
        self.due = self.shared.deadlines.add(self, deadline)

    def drop_after(self, seconds: float) -> None:
        """Abort the transport after a while, unless `drop_at` is set to 0 before."""
        self.drop_at = self.clock() + seconds
        self.schedule()

    def on_due(self, due: float) -> None:
        if due != self.due:
            return
        self.due = 0.0
        now = self.clock()
        reached = max(due, now)  # a loop may call us early, by as much as the resolution of its clock
        deadline = self.session.deadline()
        if 0 < self.drop_at <= reached:
            self.drop_at = 0.0
            self.on_drop()
        elif deadline is not None and deadline <= reached:
            self.meet_deadline(now, due)
            self.attend()
        else:
            self.schedule()

    def on_drop(self) -> None:
        self.transport.abort()

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
        self._send_now(message)
        return True

    @cython.ccall
    def broadcast(self, message: PreparedMessage) -> object:
        """Send without waiting; returns why that was not possible, in words or as an exception, or None."""
        return self.deliver(message)

    @cython.cfunc
    def deliver(self, message: PreparedMessage) -> object:
        if self.fragmenting is not None:
            return "sending a fragmented message"
        if self.writing_paused and self.transport.get_write_buffer_size() > BROADCAST_BACKLOG:
            self.skipped_broadcasts += 1
            return "the peer reads too slowly"
        return self._send_now(message)

    @cython.cfunc
    def _send_now(self, message: PreparedMessage) -> object:
        """Send a message; returns the error, as `flush` does."""
        if cython.compiled and not self.corked and not self.lost and self.write_chunks != cython.NULL:
            buffers: list | None = self.session.shared_buffers(message)  # type: ignore[type-arg]
            if buffers is not None:
                try:
                    self.write_chunks(self.transport, buffers, False)
                except Exception as error:
                    return self._writing_failed(error)
                return None
        self.session.send_prepared(message)
        return self._flush_unless_corked()

    @cython.cfunc
    def _flush_unless_corked(self) -> object:
        if not self.corked or self.session.outgoing_size > MOST_WAITING or self._must_leave():
            return self.flush()
        return None

    @cython.cfunc
    def _must_leave(self) -> cython.bint:
        """Whether what was sent in a batch can't wait: no message is left to answer, or a frame has waited too long."""
        shared: Shared = self.shared
        if self.session.inbox.size() == 0:
            return True
        now: cython.double = read_clock()
        if shared.held_since == 0.0:
            shared.held_since = now
        if now - shared.held_since <= LONGEST_WAIT:
            return False
        self.quick_batches = 0
        self._uncork(shared)
        return True


mark_coroutine_functions(Link.recv, Link.receive_fragment, Link.send, Link.send_json, Link.drain)
if cython.compiled:
    sign(Link, b"protocol, options=None, logger=None, **limits")

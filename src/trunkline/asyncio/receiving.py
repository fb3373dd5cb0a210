"""How tasks of asyncio wait for messages of a connection: the compiled half of receiving.

The task that waits is woken when the messages of all sockets that are ready are parsed, see `Line`. Reading stops when
the program doesn't keep up (`max_queue`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import TYPE_CHECKING, Any, Self

from trunkline.asyncio.awaitables import Waiter, mark_coroutine_functions
from trunkline.asyncio.coroutines import fail_streaming, no_more, recv_as
from trunkline.asyncio.shared import Shared, shared_on
from trunkline.core.inbox import Fragment
from trunkline.core.session import Session, Side
from trunkline.endpoint.connection import already_receiving
from trunkline.endpoint.life import Life
from trunkline.endpoint.messages import AsyncMessages
from trunkline.options import Options
from trunkline.sansio.protocol import Protocol
from trunkline.typing import Data, LoggerLike

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
    from cython.cimports.trunkline.core.phases import OPEN
    from cython.cimports.trunkline.core.signature import sign
else:
    from threading import get_ident
    from time import monotonic as read_clock

    from trunkline.core.phases import OPEN

__all__ = ["ReceivingLink"]

BUDGET = 1024  # messages that a task may receive or send without giving the loop a turn

# When frames may wait for those behind them: see `_wake_for_batch`.
QUICK = 50e-6  # seconds; a task that takes no more for each message of a batch is quick
QUICK_BATCHES = 4  # so many in a row earn the connection that its frames wait


@cython.cfunc
def receive(
    connection: ReceivingLink, iterating: cython.bint = False, fragment: cython.bint = False, event: cython.bint = False
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
        connection: ReceivingLink | None
        iterating: bool
        fragment: bool
        event: bool

    @cython.cfunc
    def step(self) -> object:
        connection: ReceivingLink | None = self.connection
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
        connection: ReceivingLink = self.connection  # type: ignore[assignment]
        session: Session = connection.session
        if self.fragment:
            return session.inbox.size() > 0
        return session.inbox.ready() or (session.phase != OPEN and (self.event or self._loop_ends()))

    @cython.cfunc
    def _loop_ends(self) -> cython.bint:
        """Whether a loop over messages is at its end: with the close frame, not only with TCP. Between them, others
        can't send to this peer.
        """
        connection: ReceivingLink = self.connection  # type: ignore[assignment]
        return self.iterating and connection.session.phase != OPEN and connection.session.ended_normally()

    @cython.cfunc
    def _wait_a_turn(self) -> object:
        """A task that finds messages all the time lets the others run now and then."""
        connection: ReceivingLink = self.connection  # type: ignore[assignment]
        connection.budget = BUDGET
        connection.receiver = self
        connection.loop.call_soon(self.resume)
        return self.wait()

    @cython.cfunc
    def _nothing_there(self) -> object:
        connection: ReceivingLink = self.connection  # type: ignore[assignment]
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
        connection: ReceivingLink | None = self.connection
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
        """One to which nothing else refers any more, or None."""
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

    def __init__(self, connection: ReceivingLink) -> None:
        self.connection: ReceivingLink | None = connection

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[Data]:
        connection: ReceivingLink | None = self.connection
        if connection is None:
            return no_more()
        if connection.streaming_broken:
            return fail_streaming()
        return receive(connection, True)

    async def aclose(self) -> None:
        """Give no more messages."""
        self.connection = None


if cython.compiled:
    answer_without_raising(Receive)


@cython.cclass
class ReceivingLink(Life):
    """The part of a `Connection` that each received message passes, and how the task that receives waits."""

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
        self.budget = BUDGET
        self.quick_batches = 0

    # Added by `Connection`

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
        return Messages(self) if self.is_ours("recv", ReceivingLink.recv) else AsyncMessages(self)

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

    # The life of a connection whose tasks wait on an event loop

    def receive_data(self, data: bytes) -> None:
        self.session.receive_data(data, self.clock())
        if self.session.attention:
            self.attend()
        # The task isn't woken here: it would run in the context of the transport. If it runs the loop itself, as with
        # nest_asyncio, the loop could not enter that context again.
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

    @cython.cfunc
    def _wake_for_batch(self, receiver: Receive) -> None:
        """Wake the task for messages that came together.

        Here, and nowhere else, frames may wait: as long as there are messages left, so that the answers to them leave
        in one write. A connection earns that by `QUICK_BATCHES` batches in which its task took no more than `QUICK` for
        a message. One batch that took longer loses it.
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


mark_coroutine_functions(ReceivingLink.recv, ReceivingLink.receive_fragment)
if cython.compiled:
    sign(ReceivingLink, b"protocol, options=None, logger=None, **limits")

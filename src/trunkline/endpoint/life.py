"""The life of an open connection, the same on every driver: what follows from bytes, from deadlines, and from its loss.

A `Life` stands between a `Session`, which knows the protocol, and a `Carrier`, which moves bytes. The driver's
`Connection` adds the calls of the program, and how its tasks or threads wait:

    event                  the life then
    bytes                  wakes the receiver, pauses a reader that is ahead of the program, and attends to the rest
    end of the stream      tells the session, and attends
    a deadline             lets the session send a ping or give up, and attends
    the carrier is gone    ends the session, and tells all that wait

To attend means: report pongs, read on for a close frame, send, end the stream or drop it, set the next deadline.
No I/O and no clock of its own: `clock` is the driver's, and so is the carrier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trunkline.core.session import Session, Side
from trunkline.core.writer import PreparedMessage
from trunkline.endpoint.carrier import Carrier
from trunkline.endpoint.connection import BaseConnection
from trunkline.frames import CloseCode
from trunkline.options import Options
from trunkline.sansio.protocol import Protocol
from trunkline.typing import LoggerLike

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

if cython.compiled:
    from cython.cimports.trunkline.core.phases import CLOSING, OPEN
else:
    from trunkline.core.phases import CLOSING, OPEN


__all__ = ["BROADCAST_BACKLOG", "Life"]

# typing.get_type_hints() looks for these here, and Cython keeps them to itself.
globals().update(Carrier=Carrier, PreparedMessage=PreparedMessage, Session=Session)

BROADCAST_BACKLOG = 1 << 20  # bytes; a peer that reads so late misses what is broadcast
NOWHERE = Carrier()  # that of a connection whose stream isn't there yet


@cython.cclass
class Life(BaseConnection):
    """A connection that lives on a carrier.

    Attributes:
        carrier: its `Carrier`.
        clock: function that gives the time in seconds; it only goes forward.
        fragmenting: None, or what stands for a message of ours that has begun to leave in fragments, and hasn't ended.
        lost: whether the carrier is gone. Nothing can be sent or received any more.
        writing_paused: whether the carrier holds more than the write limit.
    """

    def __init__(
        self,
        protocol: Side | Protocol,
        clock: Callable[[], float],
        options: Options | None = None,
        logger: LoggerLike | None = None,
        **limits: Any,
    ) -> None:
        super().__init__(protocol, options, logger, **limits)
        self.clock = clock
        self.carrier: Carrier = NOWHERE
        self.fragmenting: Any = None
        self.lost = False
        self.writing_paused = False
        self.eof_sent = False
        self.in_line = self.gathered = False  # for `Line`
        self.due = 0.0  # when the carrier calls `on_due`, 0 for never
        self.drop_at = 0.0  # when to abort the carrier whatever the session says, 0 for never

    # To be added by a driver's connection

    def wake_receiver(self) -> bool:
        """Wake the task that waits for a message, if there is something for it.

        Returns:
            Whether a task waits in vain: it has seen all that came.
        """
        return False

    @cython.cfunc
    def awaken(self) -> cython.bint:
        """`wake_receiver` for a compiled driver to override: it saves the look-up."""
        return self.wake_receiver()

    def acknowledge(self, token: Any, latency: float) -> None:
        """A ping was answered; `token` is what `Session.ping` was given."""
        raise NotImplementedError

    def give_up_ping(self, token: Any) -> None:
        """The connection is lost before this ping was answered."""
        raise NotImplementedError

    def wake_senders(self) -> None:
        """Wake the tasks that wait for the peer to read, or for the end of the connection."""

    def tell_lost(self) -> None:
        """Wake all other tasks that wait for the end of the connection."""

    # After bytes

    def start(self, subprotocol: Any, extensions: Any, rest: bytes) -> None:
        """The opening handshake is done; `rest` is what came behind it."""
        self.begin(subprotocol, extensions, self.clock())
        self.schedule()
        if rest:
            self.receive_data(rest)

    def receive_data(self, data: bytes) -> None:
        """The carrier received bytes."""
        self.session.receive_data(data, self.clock())
        self.after_receiving()

    @cython.cfunc
    def after_receiving(self) -> None:
        """Received bytes went through the session."""
        session: Session = self.session
        if self.awaken() and session.pending_fault is not None:
            session.settle(session.now)
        if session.inbox.overflows() and session.phase == OPEN:  # later, only the peer's close frame is of interest
            session.inbox.paused = True
            self.carrier.pause()
        if session.attention:
            self.attend()
        elif session.outgoing_size > 0 and not self.gathered:
            self.flush()

    def receive_eof(self) -> None:
        """The carrier read the end of the peer's half of the stream."""
        self.session.receive_eof(self.clock())
        self.attend()

    @cython.ccall
    def attend(self) -> None:
        """Something besides messages happened in the session: pongs, closing, deadlines."""
        session: Session = self.session
        session.attention = False
        if session.acknowledged:
            self._acknowledge_all()
        if session.phase == CLOSING:
            self._read_to_the_end()
        self.flush()
        if session.expired and not self.lost:
            self.carrier.abort()
        elif session.eof_wanted and not self.eof_sent and not self.lost:
            self._end_stream()
        self.schedule()

    def _acknowledge_all(self) -> None:
        acknowledged, self.session.acknowledged = self.session.acknowledged, []
        for token, latency in acknowledged:
            self.acknowledge(token, latency)

    def _read_to_the_end(self) -> None:
        """The peer's close frame stands behind its messages, also behind those that the program leaves unread."""
        if self.session.inbox.paused and not self.lost:
            self.session.inbox.paused = False
            self.carrier.resume()

    @cython.ccall
    def read_on_if_drained(self) -> None:
        """The program took a message while reading was paused: read on at the low water mark."""
        if self.session.inbox.drained():
            self.session.inbox.paused = False
            if not self.lost:
                self.carrier.resume()

    # Sending

    @cython.ccall
    def flush(self) -> object:
        """Write what the session has to send.

        Returns:
            None, or the exception for which the carrier can't write; the connection ends of it.
        """
        outgoing: list = self.session.take_outgoing()  # type: ignore[type-arg]
        if not outgoing or self.lost:
            return None
        error: Any = self.carrier.carry(outgoing, self.session.eof_wanted)
        if error is not None:
            self.fail_writing(error)
        return error

    def fail_writing(self, error: Exception) -> None:
        """The carrier takes no more: the connection is lost, and a task that sends waits until it is told so."""
        if self.session.failure is None and self.session.phase == OPEN:
            self.session.failure = error
        self.writing_paused = True
        self.carrier.abort()

    @cython.ccall
    def broadcast(self, message: PreparedMessage) -> object:
        """Send without waiting; returns why that was not possible, in words or as an exception, or None."""
        obstacle: object = self.obstacle()
        if obstacle is None:
            self.session.send_prepared(message)
            obstacle = self.flush()
        return obstacle

    @cython.cfunc
    def obstacle(self) -> object:
        """Why the peer misses what is broadcast just now, in words; None if it doesn't."""
        if self.fragmenting is not None:
            return "sending a fragmented message"
        if self.writing_paused and self.carrier.backlog() > BROADCAST_BACKLOG:
            self.skipped_broadcasts += 1
            return "the peer reads too slowly"
        return None

    def pause_writing(self) -> None:
        """The carrier holds more than the write limit."""
        self.writing_paused = True
        self.session.set_backlogged(True)

    def resume_writing(self) -> None:
        """The carrier has room again."""
        self.writing_paused = False
        self.session.set_backlogged(False)
        self.wake_senders()
        self.flush()

    # Closing

    @cython.annotation_typing(False)  # compiled, too, subclasses of str will do
    def start_closing(self, code: CloseCode | int, reason: str) -> None:
        """Send the close frame, if the connection is open.

        Raises:
            ProtocolError: if `code` or `reason` can't be sent.
        """
        if self.session.phase == OPEN:
            self.begin_closing(code, reason, self.fragmenting is not None, self.clock())
            self.attend()

    def _end_stream(self) -> None:
        """End our half behind all that was sent."""
        self.eof_sent = True
        if self.debug:
            self.logger.debug("> EOF")
            self.logger.debug("x half-closing TCP connection")
        self.carrier.end()
        timeout = self.options.close_timeout
        if self.session.eof_received and timeout is not None and self.carrier.backlog() > 0:
            # A peer that ended its half and doesn't read can't keep the connection: the session is done with it.
            self.drop_after(timeout)

    def lose(self, error: BaseException | None) -> None:
        """The carrier is gone, for an error or after the end of both streams."""
        if self.lost:
            return
        self.end(error, self.clock())
        self.lost = True
        self.due = 0.0
        self.awaken()
        self.resume_writing()
        for token, _ in self.session.pings.values():
            if token is not None:
                self.give_up_ping(token)
        self.session.pings.clear()
        self.tell_lost()
        self.carrier.life = None

    # Deadlines

    def deadline(self) -> float | None:
        """When something is to be done, on `clock`; None for never."""
        deadline = self.session.deadline()
        if self.drop_at > 0 and (deadline is None or self.drop_at < deadline):
            return self.drop_at
        return deadline

    def schedule(self) -> None:
        """See to it that `on_due` is called at the deadline; a call that is too early is cheaper than another order."""
        deadline = self.deadline()
        if deadline is None or self.lost or 0 < self.due <= deadline:
            return
        if self.due > 0 and self.due - deadline <= (deadline - self.clock()) / 64:
            return  # later by no more than any deadline may be put off
        self.due = self.carrier.wake_at(deadline)

    def drop_after(self, seconds: float) -> None:
        """Abort the carrier after a while, unless `drop_at` is set to 0 before."""
        self.drop_at = self.clock() + seconds
        self.schedule()

    def on_due(self, due: float) -> None:
        """The carrier calls this at the time that `wake_at` returned."""
        if due != self.due:
            return
        self.due = 0.0
        now = self.clock()
        reached = max(due, now)  # a carrier may call a little early, by the resolution of its clock
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
        """The time of `drop_after` is over."""
        self.carrier.abort()

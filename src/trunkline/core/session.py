"""One WebSocket connection after its opening handshake: messages, pings, deadlines, the closing handshake. No I/O.

A driver moves bytes and keeps the clock; the session holds everything else:

- what came goes in through `receive_data(data, now)` and `receive_eof(now)`; messages appear in `inbox`;
- what must leave appears in `outgoing`, and `eof_wanted` says that the stream ends behind it;
- `deadline()` tells when to call `on_deadline(now, due)`; `expired` tells that waiting for the peer is over: drop the
  connection;
- `attention` is set when something besides messages happened, so that a driver can pass over all the rest while nothing
  did.

Nothing here raises for what a peer did: `receive_data` turns a broken rule into a close code (section 7.1.7, `FAULTS`).
The messages before the fault still count. While the program has not taken them all, the fault is pending, and the
program's answers leave before the close frame. A driver calls `settle(now)` when the program waits and `inbox` is
empty. A program that is too late (`ANSWER_TIMEOUT`) meets its deadline.

The closing handshake (section 7) in one table. "EOF" is the end of our half of the stream; a server sends it first
(7.1.1):

    state     event                   frame sent        EOF sent    next state
    OPEN      close()                 close             no          CLOSING
    OPEN      close frame received    the same, back    by server   CLOSING
    OPEN      fail()                  close             by server   CLOSING
    OPEN      settle() of a fault     close             by server   CLOSING
    OPEN      cut()                   none              yes         CLOSING
    OPEN      end of stream           none              yes         CLOSED
    CLOSING   close frame received    none              by server   CLOSING
    CLOSING   end of stream           none              yes         CLOSED
    CLOSING   close timeout           none              no          CLOSED, by the driver that drops the connection
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from trunkline.core.deflate import SMALLEST, PerMessageDeflate
from trunkline.core.inbox import Inbox
from trunkline.core.reader import FrameSink, Reader
from trunkline.core.writer import write_frame
from trunkline.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    PayloadTooBig,
    ProtocolError,
    TooManyFragments,
)
from trunkline.frames import OK_CLOSE_CODES, Close, CloseCode, Frame, Opcode

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

if cython.compiled:
    from cython.cimports.trunkline.core.kernels import memory
    from cython.cimports.trunkline.core.opcodes import CLOSE, FIRST_CONTROL, PING, PONG
    from cython.cimports.trunkline.core.phases import CLOSED, CLOSING, CONNECTING, OPEN
else:
    from trunkline.core.kernels import memory
    from trunkline.core.opcodes import CLOSE, FIRST_CONTROL, PING, PONG
    from trunkline.core.phases import CLOSED, CLOSING, CONNECTING, OPEN

if TYPE_CHECKING:
    from trunkline.core.deflate import Deflater
    from trunkline.core.writer import PreparedFrame, PreparedMessage
    from trunkline.extensions.base import Extension

__all__ = ["Session", "Side", "State"]


class Side(enum.IntEnum):
    """Which end of a connection this is."""

    SERVER, CLIENT = range(2)


class State(enum.IntEnum):
    """How far a connection is (RFC 6455 sections 4.1, 7.1.3 and 7.1.4)."""

    CONNECTING, OPEN, CLOSING, CLOSED = range(4)


# The members by value: calling an enumeration is far slower than indexing a tuple.
STATES = tuple(State)

FIN, RSV1 = 0x80, 0x40

# Which close code answers which fault of the peer (sections 7.1.7 and 7.4.1).
FAULTS: tuple[tuple[type[Exception], CloseCode], ...] = (
    (ProtocolError, CloseCode.PROTOCOL_ERROR),
    (PayloadTooBig, CloseCode.MESSAGE_TOO_BIG),
    (TooManyFragments, CloseCode.MESSAGE_TOO_BIG),
    (UnicodeDecodeError, CloseCode.INVALID_DATA),
)
FAULT_TYPES = tuple(kind for kind, _ in FAULTS)

ANSWER_TIMEOUT = 1.0  # seconds for the application to answer what came before a fault
NEVER = float("inf")


def describe(fault: Exception) -> str:
    """The reason sent in a close frame."""
    if isinstance(fault, UnicodeDecodeError):
        return f"{fault.reason} at position {fault.start}"
    return "too many fragments" if isinstance(fault, TooManyFragments) else str(fault)


@cython.cclass
class Session(FrameSink):
    """One connection, from 101 to the end.

    Args:
        side: `Side.SERVER` or `Side.CLIENT`; decides on masking and on who ends the stream first.
        max_message, max_frame: limits in bytes of payload, None for no limit.
        high, low: water marks of `inbox`, in frames.
        ping_interval: seconds between keepalive pings, None for none.
        ping_timeout: seconds to wait for the pong, None to wait for ever.
        close_timeout: seconds to wait for the peer in the closing handshake, None to wait for ever.
    """

    def __init__(
        self,
        side: Side,
        *,
        max_message: int | None = None,
        max_frame: int | None = None,
        high: int | None = None,
        low: int | None = None,
        ping_interval: float | None = None,
        ping_timeout: float | None = None,
        close_timeout: float | None = None,
    ) -> None:
        self.client = side == Side.CLIENT
        self.phase = CONNECTING
        self.inbox = Inbox(high, low)
        self.reader = Reader(self, not self.client, max_message, max_frame)
        self.outgoing: list[bytes] = []
        self.outgoing_size = 0
        self.discarded = 0  # messages that came after our close frame and found the inbox full
        self.attention = False
        self.eof_wanted = False
        self.eof_received = False
        self.expired = False
        self.trace: Callable[[bool, Frame], None] | None = None
        self.extensions: Sequence[Extension] = ()  # those that see frames
        self.deflater: Deflater | None = None  # where compression was negotiated
        self.deflating = False  # the message that is sent in fragments is a compressed one
        self.plain = True  # neither extensions nor a trace look at frames
        self.close_rcvd: Close | None = None
        self.close_sent: Close | None = None
        self.close_rcvd_then_sent: bool | None = None
        self.failure: BaseException | None = None  # what ended the connection, if it was not a closing handshake
        self.unlogged: Exception | None = None  # a failure that is ours, or an extension's
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.close_timeout = close_timeout
        self._pings: dict[bytes, tuple[Any, float]] | None = None
        self._acknowledged: list[tuple[Any, float]] | None = None
        self.latency = 0.0
        self.backlogged = False
        self.owed_pong: bytes | None = None
        self.now = 0.0
        self.ping_at = self.pong_due = self.close_due = self.fault_due = NEVER
        self.pending_fault: Exception | None = None

    # State

    @property
    def side(self) -> Side:
        return Side.CLIENT if self.client else Side.SERVER

    @property
    def state(self) -> State:
        return STATES[self.phase]

    @property
    def pings(self) -> dict[bytes, tuple[Any, float]]:
        """Pings that wait for their pongs, in order: payload -> (token of the caller, when sent)."""
        return {} if self._pings is None else self._pings

    @property
    def acknowledged(self) -> list[tuple[Any, float]]:
        """(token, latency) of pings that were answered, until the driver sets it to []."""
        return [] if self._acknowledged is None else self._acknowledged

    @acknowledged.setter
    def acknowledged(self, acknowledged: list[tuple[Any, float]]) -> None:
        self._acknowledged = acknowledged or None

    def open(self, now: float, extensions: Sequence[Extension] = ()) -> None:
        """The opening handshake is done."""
        self.phase = OPEN
        self.now = now
        self.plain = self.trace is None and not extensions
        inflater = None
        if extensions:
            *others, nearest_to_the_wire = extensions
            if type(nearest_to_the_wire) is PerMessageDeflate:  # a subclass may do something else
                # It works on payloads: only what stands before it has to see frames.
                self.deflater, inflater = nearest_to_the_wire.deflater, nearest_to_the_wire.inflater
                extensions = others
        extensions = tuple(extensions)  # an empty one is the same for all: it takes no memory, and stays in caches
        self.extensions = extensions
        self.reader.open(extensions, inflater, None if self.trace is None else self._trace_received)
        self.start_keepalive(now)

    def start_keepalive(self, now: float) -> None:
        """Send pings from now on, if there is a `ping_interval`."""
        if self.ping_interval is not None:
            self.ping_at = now + self.ping_interval

    def stop_keepalive(self) -> None:
        self.ping_at = self.pong_due = NEVER

    def keeps_alive(self) -> bool:
        """Whether a ping is due some time, or the pong to one."""
        return min(self.ping_at, self.pong_due) < NEVER

    def ended_normally(self) -> bool:
        """Whether close frames were exchanged, with codes that mean no error: no message will come any more."""
        rcvd, sent = self.close_rcvd, self.close_sent
        return rcvd is not None and sent is not None and rcvd.code in OK_CLOSE_CODES and sent.code in OK_CLOSE_CODES

    @property
    def close_code(self) -> int | None:
        """Code received, 1006 if there was none (section 7.1.5), None before the end of the connection."""
        if self.phase != CLOSED and not self.ended_normally():
            return None
        return CloseCode.ABNORMAL_CLOSURE if self.close_rcvd is None else self.close_rcvd.code

    @property
    def close_reason(self) -> str | None:
        """Reason received, "" if there was none, None before the end of the connection."""
        if self.phase != CLOSED and not self.ended_normally():
            return None
        return "" if self.close_rcvd is None else self.close_rcvd.reason

    def close_exception(self) -> ConnectionClosed:
        """The exception that calls on a closed connection raise."""
        rcvd, sent = self.close_rcvd, self.close_sent
        normal = rcvd is not None and sent is not None and {rcvd.code, sent.code} <= OK_CLOSE_CODES
        kind = ConnectionClosedOK if normal else ConnectionClosedError
        exception = kind(rcvd, sent, self.close_rcvd_then_sent)
        exception.__cause__ = self.failure
        return exception

    # Receiving

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the peer, in any split; `now` is the time in seconds, of any clock that only goes forward."""
        self.now = now
        self.receive_memory(memory(data), len(data))

    @cython.cfunc
    def receive_memory(self, data: cython.pointer[cython.const[cython.uchar]], n: cython.Py_ssize_t) -> None:
        """`receive_data` for a driver that has the bytes in memory of its own."""
        try:
            self.reader.feed(data, n)
        except FAULT_TYPES as fault:
            self._receive_fault(fault)
        except Exception as error:
            self.parser_failed(error)

    if cython.compiled:

        @cython.cfunc
        def receive_direct(self, n: cython.Py_ssize_t) -> None:
            """`n` bytes were received into the memory that the reader offered."""
            try:
                self.reader.direct_received(n)
            except FAULT_TYPES as fault:
                self._receive_fault(fault)
            except Exception as error:
                self.parser_failed(error)

    def _receive_fault(self, fault: Exception) -> None:
        if self.phase != OPEN or not self.inbox.unanswered():
            self.fault(fault, self.now)
            return
        self.reader.stop()
        self.attention = True
        self.failure = self.pending_fault = fault.with_traceback(None)
        self.fault_due = self.now + (
            ANSWER_TIMEOUT if self.close_timeout is None else min(self.close_timeout, ANSWER_TIMEOUT)
        )

    def parser_failed(self, error: Exception) -> None:
        """An extension is at fault, not the peer, which learns no details; the driver logs the error."""
        self.unlogged = error
        self.fail(CloseCode.INTERNAL_ERROR, "", self.now, error)

    def settle(self, now: float) -> None:
        """All that came before a pending fault is answered, or will never be: fail the connection."""
        if self.pending_fault is not None:
            fault, self.pending_fault = self.pending_fault, None
            self.fault(fault, now)

    def fault(self, fault: Exception, now: float) -> None:
        """The peer broke a rule: fail the connection with the code for it."""
        fault.__traceback__ = None  # as long as it is known, what was received would be kept in its frames
        code = next(code for kind, code in FAULTS if isinstance(fault, kind))
        self.fail(code, describe(fault), now, fault)

    def receive_eof(self, now: float) -> None:
        """The peer ended the stream, or the connection is lost."""
        self.settle(now)  # if the connection is only half closed, the peer still learns why
        self.now = now
        self.eof_received = True
        self.attention = True
        if self.phase != CLOSED and self.failure is None and not self.reader.stopped:
            self.failure = EOFError(self.reader.describe_end())
        self.reader.stop()
        self.phase = CLOSED
        self.eof_wanted = True
        self.close_due = self.ping_at = self.pong_due = NEVER

    @cython.ccall
    def message(self, payload: object) -> None:
        # After the first gap nothing is kept: fragments of different messages must not be joined.
        if self.phase == CLOSING and (self.discarded > 0 or self.inbox.overflows()):
            self.discarded += 1
        else:
            self.inbox.put(payload)

    @cython.ccall
    def fragment(self, fragment: object) -> None:
        self.message(fragment)

    @cython.ccall
    def control(self, opcode: cython.int, payload: bytes) -> None:
        self.attention = True
        if opcode == PING:
            self._receive_ping(payload)
        elif opcode == PONG:
            self._receive_pong(payload)
        else:
            self._receive_close(payload)

    def _receive_ping(self, payload: bytes) -> None:
        if self.backlogged:
            # Section 5.5.3: answering only the latest ping is enough. A peer that sends pings and doesn't read costs
            # nothing.
            self.owed_pong = payload
        elif self.phase != CLOSED:  # section 5.5.2: our own close frame doesn't end this duty, the peer's does
            self.send(PONG, payload)

    def _receive_pong(self, payload: bytes) -> None:
        if self._pings is None or payload not in self._pings:
            return  # unsolicited: section 5.5.3 expects no response
        for sent_payload in list(self._pings):
            token, sent_at = self._pings.pop(sent_payload)
            self.latency = self.now - sent_at
            if token is None:
                self._keepalive_answered(sent_at)
            else:
                self._acknowledge(token)
            if sent_payload == payload:
                break
        if not self._pings:
            self._pings = None

    def _acknowledge(self, token: object) -> None:
        if self._acknowledged is None:
            self._acknowledged = []
        self._acknowledged.append((token, self.latency))

    def note_close(self, payload: bytes) -> None:
        """Keep what a close frame says."""
        self.close_rcvd = Close.parse(payload)
        self.close_rcvd_then_sent = self.close_sent is None

    def _receive_close(self, payload: bytes) -> None:
        self.note_close(payload)
        self.reader.stop()  # also between the fragments of a message, where section 5.4 allows control frames
        if self.close_sent is None:
            # Section 5.5.1: "the endpoint typically echos the status code it received"
            self.close_sent = self.close_rcvd
            self._enter_closing(payload)
        self._await_end_of_stream()

    # Sending

    @cython.ccall
    def send(self, opcode: cython.int, payload: bytes | str, fin: cython.bint = True, compress: object = None) -> None:
        """Put a frame on `outgoing`; payload is bytes, or str for its UTF-8.

        `compress` is for the first frame of a message, where compression was negotiated: None leaves short ones alone.
        """
        first: cython.int = opcode | (FIN if fin else 0)
        if not self.plain:
            if self.extensions or self.trace is not None:
                first, payload = self._encode(opcode, payload, fin)
            if self.deflater is not None and opcode < FIRST_CONTROL:
                first, payload = self._deflate(first, payload, compress)
        self.outgoing_size += write_frame(self.outgoing, first, payload, self.client)

    @cython.ccall
    def send_prepared(self, message: PreparedMessage) -> None:
        """Put a `PreparedMessage` on `outgoing`."""
        if self.extensions or self.trace is not None:
            self.send(message.opcode, message.payload, True, message.compress)
        else:
            self.outgoing_size += self._shared_frame(message).write(self.outgoing, self.client)

    @cython.cfunc
    def shared_buffers(self, message: PreparedMessage) -> list | None:  # type: ignore[type-arg]
        """`send_prepared` for a driver that can send buffers shared with other connections at once; it must not change
        the list. None, and nothing done, if something is ahead of the message or it can't be the same for all.
        """
        if self.client or self.outgoing_size > 0 or self.extensions or self.trace is not None:
            return None
        return self._shared_frame(message).buffers

    @cython.cfunc
    def _shared_frame(self, message: PreparedMessage) -> PreparedFrame:
        return message if self.deflater is None else message.deflated(self.deflater)

    def _encode(self, opcode: int, payload: bytes | str, fin: bool) -> tuple[int, bytes]:
        """Show a frame to `trace` and pass it through the extensions, first one first (section 9.1)."""
        frame = Frame(Opcode(opcode), payload.encode() if isinstance(payload, str) else payload, fin)
        if self.trace is not None:
            self.trace(True, frame)
        for extension in self.extensions:
            frame = extension.encode(frame)
        bits = frame.fin << 7 | frame.rsv1 << 6 | frame.rsv2 << 5 | frame.rsv3 << 4
        return bits | frame.opcode, bytes(frame.data)

    @cython.cfunc
    def _deflate(self, first: cython.int, payload: bytes | str, compress: object) -> tuple:  # type: ignore[type-arg]
        """First byte and payload of a frame of data where compression was negotiated (RFC 7692 section 6.1)."""
        fin: cython.bint = (first & FIN) != 0
        starts: cython.bint = (first & 0x0F) != 0
        data: bytes | None
        assert self.deflater is not None, "negotiated"
        if starts and fin:
            if not self.deflater.wants(len(payload), compress):
                return first, payload
            data = self.deflater.message(payload.encode() if isinstance(payload, str) else payload, compress is False)
            return (first, payload) if data is None else (first | RSV1, data)
        if starts:
            self.deflating = self.deflater.wants(SMALLEST, compress)  # in fragments, a message is likely to be long
        if not self.deflating:
            return first, payload
        data = self.deflater.fragment(payload.encode() if isinstance(payload, str) else payload, fin, compress is False)
        return first | RSV1 if starts else first, data

    def _trace_received(self, frame: Frame) -> None:
        if self.trace is not None:
            self.trace(False, frame)

    @cython.ccall
    def take_outgoing(self) -> list:  # type: ignore[type-arg]
        """Everything that must leave now, in order."""
        outgoing: list = self.outgoing  # type: ignore[type-arg]
        self.outgoing = []
        self.outgoing_size = 0
        return outgoing

    def set_backlogged(self, backlogged: bool) -> None:
        """Tell whether more is waiting to leave than the write limit allows."""
        self.backlogged = backlogged
        if not backlogged and self.owed_pong is not None:
            if self.phase == OPEN or (self.phase == CLOSING and not self.eof_wanted):
                self.send(PONG, self.owed_pong)
            self.owed_pong = None

    # Pings

    def ping(self, payload: bytes | None, token: object, now: float) -> None:
        """Send a ping; its `token` comes back in `acknowledged` with the latency. `payload=None` draws a fresh one.

        Raises:
            ValueError: if a ping with the same payload is waiting for its pong.
        """
        if payload is None:
            payload = self._fresh_ping_payload()
        elif payload in self.pings:
            raise ValueError("already waiting for a pong with the same data")
        self.send(PING, payload)
        if self._pings is None:
            self._pings = {}
        self._pings[payload] = (token, now)

    def _fresh_ping_payload(self) -> bytes:
        payload = _random_payload()
        while payload in self.pings:
            payload = _random_payload()
        return payload

    def _keepalive(self, now: float) -> None:
        assert self.ping_interval is not None, "without it no ping is due"
        self.ping(None, None, now)
        if self.ping_timeout is None:
            self.ping_at = now + self.ping_interval
        else:
            self.ping_at = NEVER
            self.pong_due = now + self.ping_timeout

    def _keepalive_answered(self, sent_at: float) -> None:
        if self.pong_due < NEVER:
            assert self.ping_interval is not None, "without it no pong is due"
            self.pong_due = NEVER
            self.ping_at = max(self.now, sent_at + self.ping_interval)

    # Closing

    @cython.annotation_typing(False)  # compiled, too, subclasses of str will do
    def close(self, code: int | None, reason: str, now: float) -> None:
        """Start the closing handshake (section 7.1.2); does nothing unless the connection is open.

        Raises:
            ProtocolError: if `code` may not be sent, or `reason` is longer than 123 bytes.
        """
        if self.phase != OPEN:
            return
        if self.pending_fault is not None:
            self.settle(now)
            return
        close = Close(CloseCode.NO_STATUS_RCVD, "") if code is None else Close(code, reason)
        payload = b"" if code is None else close.serialize()
        self.now = now
        self.close_sent = close
        self._enter_closing(payload)

    def fail(self, code: int, reason: str, now: float, cause: BaseException | None = None) -> None:
        """Fail the connection (section 7.1.7): say why, and listen no more. A pending fault is why, then.

        Raises:
            ProtocolError: if `code` may not be sent.
        """
        if self.pending_fault is not None:
            self.settle(now)
            return
        close = Close(code, shorten(reason))
        payload = close.serialize() if self.phase == OPEN else b""
        self.now = now
        self.failure = self.failure or cause
        self.reader.stop()
        if self.phase == OPEN:
            self.close_sent = close
            self._enter_closing(payload)
        self._await_end_of_stream()

    def cut(self, now: float) -> None:
        """End the stream without a close frame, and listen no more; the peer's code is 1006 (section 7.1.5)."""
        if self.phase != OPEN:
            return
        if self.pending_fault is not None:
            self.settle(now)
            return
        self.now = now
        self.reader.stop()
        self.phase = CLOSING
        self.stop_keepalive()
        self._start_close_timeout()
        self.eof_wanted = self.attention = True

    def _enter_closing(self, payload: bytes) -> None:
        self.attention = True
        self.send(CLOSE, payload)
        self.phase = CLOSING
        self.stop_keepalive()
        self._start_close_timeout()

    def _await_end_of_stream(self) -> None:
        """Both close frames are exchanged, or the peer is not listened to any more."""
        self.attention = True
        if not self.client:
            # Section 7.1.1: "the underlying TCP connection [...] SHOULD be closed first by the server"
            self.eof_wanted = True

    def _start_close_timeout(self) -> None:
        if self.close_timeout is not None:
            self.close_due = self.now + self.close_timeout

    # Deadlines

    def deadline(self) -> float | None:
        """When `on_deadline` wants to be called, on the clock of `now`; None for never."""
        due: cython.double = NEVER
        if self.pending_fault is not None:
            due = self.fault_due
        elif self.phase == OPEN:
            due = min(self.ping_at, self.pong_due)
        elif self.phase == CLOSING:
            due = self.close_due
        return None if due == NEVER else due

    def on_deadline(self, now: float, due: float = 0.0) -> None:
        """Do what is due: a keepalive ping, failing a connection whose pong did not come, giving up on a peer that does
        not close.

        Args:
            now: the time.
            due: when the call was ordered for; timers may be early, by as much as the resolution of their clock.
        """
        self.now = now
        reached = max(now, due)
        if self.pending_fault is not None:
            if reached >= self.fault_due:
                self.settle(now)
        elif self.phase == CLOSING and reached >= self.close_due:
            self.expired = self.attention = True
            self.close_due = NEVER
            self.failure = self.failure or TimeoutError("timed out while closing connection")
        elif self.phase == OPEN and reached >= self.pong_due:
            self._pong_missing(now)
        elif self.phase == OPEN and reached >= self.ping_at:
            self._keepalive(now)

    def _pong_missing(self, now: float) -> None:
        if self.inbox.paused:
            assert self.ping_timeout is not None, "without it no pong is due"
            # The pong may stand behind messages that our own application leaves unread: the peer is not to blame.
            self.pong_due = now + self.ping_timeout
        else:
            self.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout", now, TimeoutError("keepalive ping timeout"))


def _random_payload() -> bytes:
    return random.getrandbits(32).to_bytes(4, "big")


def shorten(reason: str) -> str:
    """A reason that fits a close frame: 123 bytes of UTF-8 (section 5.5)."""
    return reason.encode("utf-8", "replace")[:123].decode("utf-8", "ignore")

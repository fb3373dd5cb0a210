"""A WebSocket connection without I/O, for programs that bring a network layer of their own.

Feed it what comes from the network, and after every call write what it has to send::

    protocol.receive_data(data)             # receive_eof() at the end of the stream
    for data in protocol.data_to_send():
        transport.write(data) if data else transport.write_eof()
    for event in protocol.events_received():
        ...                                 # a Request or a Response first, then frames
    if protocol.close_expected():
        ...                                 # close the transport if the peer doesn't, soon

Events are frames as they came: what to do with fragments is up to the caller. Pings are answered, close frames echoed,
and text is checked to be UTF-8. `ClientProtocol` and `ServerProtocol` add the opening handshake.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from typing import Any, Self

from trunkline.core.inbox import Fragment
from trunkline.core.session import FAULT_TYPES, Session, Side, State
from trunkline.core.writer import as_payload
from trunkline.exceptions import ConnectionClosed, InvalidState, ProtocolError
from trunkline.extensions.base import Extension
from trunkline.frames import BINARY, CONT, TEXT, Close, CloseCode, Frame, Opcode
from trunkline.http11 import Request, Response
from trunkline.options import Limit, Options
from trunkline.typing import BytesLike, LoggerLike, Origin, Subprotocol

__all__ = [
    "CLIENT", "CLOSED", "CLOSING", "CONNECTING", "OPEN", "SEND_EOF", "SERVER", "Protocol", "Side", "State",
]  # fmt: skip

Event = Request | Response | Frame
"""What ``events_received()`` returns."""

SEND_EOF = b""
"""Last item of ``data_to_send()``: end our half of the stream."""

CLIENT, SERVER = Side.CLIENT, Side.SERVER
CONNECTING, OPEN, CLOSING, CLOSED = State

NOW = 0.0  # no deadline depends on it: keepalive and timeouts are the caller's


class FrameSession(Session):
    """A session that finds frames instead of messages."""

    def __init__(self, side: Side, max_message: int | None, max_frame: int | None) -> None:
        super().__init__(side, max_message=max_message, max_frame=max_frame)
        self.frames: list[Frame] = []
        self.continued = False

    def message(self, payload: object) -> None:
        if isinstance(payload, str):
            self.frames.append(Frame(Opcode.TEXT, payload.encode()))
        else:
            assert isinstance(payload, bytes), "messages are text or binary"
            self.frames.append(Frame(Opcode.BINARY, payload))

    def fragment(self, fragment: object) -> None:
        assert isinstance(fragment, Fragment), "frames of a fragmented message are Fragments"
        first = Opcode.TEXT if fragment.text else Opcode.BINARY
        self.frames.append(Frame(Opcode.CONT if self.continued else first, fragment.data, fragment.fin))
        self.continued = not fragment.fin

    def control(self, opcode: int, payload: bytes) -> None:
        if opcode == Opcode.CLOSE and self.continued:  # legal, but programs expect what `websockets` says of it
            self.note_close(payload)
            raise ProtocolError("incomplete fragmented message")
        super().control(opcode, payload)  # raises for a close frame that breaks a rule
        self.frames.append(Frame(Opcode(opcode), payload))

    def parser_failed(self, error: Exception) -> None:
        raise error  # the protocol logs it at once


class Protocol:
    """One side of a connection.

    Args:
        side: ``Side.CLIENT`` or ``Side.SERVER``.
        state: ``State.OPEN`` to start after the opening handshake, else ``State.CONNECTING``.
        max_size: limit of a received message in bytes, or (message, frame); None for none.
        logger: logger, by default ``websockets.client`` or ``websockets.server``.

    Attributes:
        id: a :class:`uuid.UUID`, to tell connections apart in logs.
        logger: logger of this connection; may be set.
        debug: whether frames are logged.
        side: ``Side.CLIENT`` or ``Side.SERVER``.
        origin: the value of the Origin header, or None.
        subprotocol: the subprotocol agreed on, or None.
        handshake_exc: why the opening handshake failed, or None.
        max_message_size, max_fragment_size: limits in bytes, or None.
    """

    def __init__(
        self,
        side: Side,
        *,
        state: State = OPEN,
        max_size: Limit = 2**20,
        logger: LoggerLike | None = None,
    ) -> None:
        self._prepare(side, max_size, logger)
        if state is not CONNECTING:
            self.state = state
        elif self.debug:
            self.logger.debug("= connection is CONNECTING")

    def _prepare(self, side: Side, max_size: Limit, logger: LoggerLike | None) -> None:
        """All that a new protocol and one of a connection have in common."""
        self.id = uuid.uuid4()
        self.logger: LoggerLike = logging.getLogger(f"websockets.{side.name.lower()}") if logger is None else logger
        self.debug = self.logger.isEnabledFor(logging.DEBUG)
        self.side = side
        self.origin: Origin | None = None
        self.subprotocol: Subprotocol | None = None
        self._extensions: list[Extension] = []
        self.handshake_exc: Exception | None = None
        self.max_message_size, self.max_fragment_size = Options(max_size=max_size).message_and_frame_size
        self._events: list[Event] = []
        self._joined = False
        self._sending_fragments = False
        self._eof_sent = self._eof_logged = self._failed = False
        self._session: Any = FrameSession(side, self.max_message_size, self.max_fragment_size)
        if self.debug:
            self._session.trace = self._log_frame

    @classmethod
    def of(cls, connection: Any) -> Self:
        """The protocol of a connection that moves its bytes itself, to look at.

        Its frames leave together with the next frames of the connection. It has no events.
        """
        protocol = cls.__new__(cls)
        protocol._prepare(connection.session.side, None, connection.logger)
        protocol.id = connection.id
        protocol.subprotocol = connection.subprotocol
        protocol._extensions = list(connection.extensions)
        protocol.max_message_size, protocol.max_fragment_size = connection.options.message_and_frame_size
        protocol._session = connection.session
        protocol._joined = True
        return protocol

    def join(self, connection: Any) -> None:
        """Go on in a connection that moves its bytes itself. A subclass still sees the frames received.

        If this protocol is open already, so is the connection, without keepalive.
        """
        session = connection.session
        if type(self).recv_frame is not Protocol.recv_frame:
            log = session.trace

            def show(sent: bool, frame: Frame) -> None:
                if log is not None:
                    log(sent, frame)
                if not sent:
                    self.recv_frame(frame)

            session.trace = show
        if self.state is OPEN:
            connection.begin(self.subprotocol, self.extensions, NOW)
            session.stop_keepalive()
        self._session = session
        self._joined = True

    @property
    def extensions(self) -> list[Extension]:
        """The extensions agreed on, in order; may be set, also while the connection is open."""
        return self._extensions

    @extensions.setter
    def extensions(self, extensions: Sequence[Extension]) -> None:
        self._extensions = list(extensions)
        if self.state is OPEN:
            self._session.open(NOW, self._extensions)

    # State

    @property
    def state(self) -> State:
        """How far the connection is (RFC 6455 sections 4.1, 7.1.3 and 7.1.4)."""
        state: State = self._session.state
        return state

    @state.setter
    def state(self, state: State) -> None:
        if state is OPEN:
            self._session.open(NOW, self.extensions)
        else:
            self._session.phase = int(state)
        if self.debug:
            self.logger.debug("= connection is %s", state.name)

    @property
    def close_rcvd(self) -> Close | None:
        """Close frame received, or None."""
        close: Close | None = self._session.close_rcvd
        return close

    @property
    def close_sent(self) -> Close | None:
        """Close frame sent, or None."""
        close: Close | None = self._session.close_sent
        return close

    @property
    def close_rcvd_then_sent(self) -> bool | None:
        """Whether the peer's close frame came before ours was sent; None unless there are both."""
        order: bool | None = self._session.close_rcvd_then_sent
        return order

    def _has_ended(self) -> bool:
        """Whether it is known how the connection ended.

        A connection that moves its bytes itself knows it once the loop over its messages ends, without TCP.
        """
        return self.state is CLOSED or (self._joined and bool(self._session.ended_normally()))

    @property
    def close_code(self) -> int | None:
        """Close code received (RFC 6455 section 7.1.5), 1006 if there was none, None until the connection is closed."""
        return self._session.close_code if self._has_ended() else None

    @property
    def close_reason(self) -> str | None:
        """Close reason received (RFC 6455 section 7.1.6), "" if there was none, None until the connection is closed."""
        return self._session.close_reason if self._has_ended() else None

    @property
    def close_exc(self) -> ConnectionClosed:
        """The exception to raise for calls on the closed connection.

        Raises:
            InvalidState: while the connection isn't closed.
        """
        if not self._has_ended():
            raise InvalidState("connection isn't closed yet")
        exception: ConnectionClosed = self._session.close_exception()
        return exception

    @property
    def parser_exc(self) -> BaseException | None:
        """The fault of the peer, an :exc:`EOFError` if the stream ended without a close frame, or None."""
        failure: BaseException | None = self._session.failure
        return failure

    # Receiving

    def receive_data(self, data: bytes | bytearray) -> None:
        """Take bytes from the network, in any split. If they break a rule the connection fails; nothing is raised.

        Raises:
            EOFError: if the stream has ended.
        """
        if self._session.eof_received:
            raise EOFError("stream ended")
        if self.state is CONNECTING:
            self._receive_handshake(as_payload(data))
        else:
            self._receive_frames(as_payload(data))

    def _receive_frames(self, data: bytes) -> None:
        try:
            self._session.receive_data(data, NOW)
            frames, self._session.frames = self._session.frames, []
            for frame in frames:
                self.recv_frame(frame)
        except FAULT_TYPES as fault:  # raised by a subclass
            self._session.fault(fault, NOW)
        except Exception as error:  # an extension or a subclass is at fault, not the peer, which learns no details
            self.logger.error("parser failed", exc_info=True)
            self._session.fail(CloseCode.INTERNAL_ERROR, "", NOW, error)
        if self.debug:
            self._log_eof_if_wanted()

    def recv_frame(self, frame: Frame) -> None:
        """Called for each frame received; makes it an event. Subclasses may override it, and call it."""
        if not self._joined:
            self._events.append(frame)

    def receive_eof(self) -> None:
        """The peer ended the stream, or the connection is lost."""
        if self.state is CLOSED:
            return
        listening = not self._failed and self.close_rcvd is None and self.parser_exc is None
        if self.debug and listening and self.state is not CONNECTING:
            self.logger.debug("< EOF")  # which comes as no surprise otherwise
        if self.state is CONNECTING and not self._session.eof_wanted:
            self._receive_handshake_eof()
        self._session.receive_eof(NOW)
        if self.debug:
            self._log_eof()
            self.logger.debug("= connection is CLOSED")
        if self.side is SERVER:
            self.logger.info("connection closed")

    def _receive_handshake(self, data: bytes) -> None:
        """Bytes of the opening handshake; clients and servers differ."""
        raise NotImplementedError

    def _receive_handshake_eof(self) -> None:
        raise NotImplementedError

    def _end_handshake(self) -> None:
        """There will be no connection, and later bytes don't matter."""
        self._session.reader.stop()
        self._session.eof_wanted = True

    def events_received(self) -> list[Event]:
        """The events since the last call: a request or response, then frames. Call it after ``receive_...``."""
        events, self._events = self._events, []
        return events

    # Sending

    def send_text(self, data: BytesLike, fin: bool = True) -> None:
        """Send a Text frame: a message, or its first fragment (RFC 6455 section 5.6).

        Args:
            data: the payload, in UTF-8.
            fin: False if fragments follow.

        Raises:
            InvalidState: if the connection isn't open.
            ProtocolError: if a fragmented message is in progress.
        """
        self._start_message(Opcode.TEXT, data, fin)

    def send_binary(self, data: BytesLike, fin: bool = True) -> None:
        """Send a Binary frame: a message, or its first fragment (RFC 6455 section 5.6).

        Raises:
            InvalidState: if the connection isn't open.
            ProtocolError: if a fragmented message is in progress.
        """
        self._start_message(Opcode.BINARY, data, fin)

    def _start_message(self, opcode: Opcode, data: BytesLike, fin: bool) -> None:
        if self._sending_fragments:
            raise ProtocolError("expected a continuation frame")
        if self._session.state is not OPEN:
            self._check_state(OPEN)
        self.send_frame(Frame(opcode, data, fin))
        self._sending_fragments = not fin

    def send_frame(self, frame: Frame) -> None:
        """Called for each frame sent through the methods above and below; pongs and close frames that answer the peer
        aren't. Subclasses may override it, and call it.

        Raises:
            ProtocolError: if it breaks a rule of RFC 6455 section 5.2 or 5.5.
        """
        opcode = frame.opcode
        is_data = opcode is TEXT or opcode is BINARY or opcode is CONT  # comparing them otherwise takes longer
        if not is_data or frame.rsv1 or frame.rsv2 or frame.rsv3:
            frame.check()
        self._session.send(opcode, as_payload(frame.data), frame.fin)

    def send_continuation(self, data: BytesLike, fin: bool) -> None:
        """Send the next fragment of a message (RFC 6455 section 5.4).

        Args:
            data: the payload.
            fin: whether it is the last one.

        Raises:
            InvalidState: if the connection isn't open.
            ProtocolError: if no fragmented message is in progress.
        """
        if not self._sending_fragments:
            raise ProtocolError("unexpected continuation frame")
        if self._session.state is not OPEN:
            self._check_state(OPEN)
        self.send_frame(Frame(Opcode.CONT, data, fin))
        self._sending_fragments = not fin

    def send_ping(self, data: BytesLike) -> None:
        """Send a ping (RFC 6455 section 5.5.2) with a payload of at most 125 bytes.

        Raises:
            InvalidState: if the connection isn't open.
            ProtocolError: if ``data`` is too long.
        """
        self._send_control(Opcode.PING, data)

    def send_pong(self, data: BytesLike) -> None:
        """Send a pong (RFC 6455 section 5.5.3) with a payload of at most 125 bytes. Pings are answered without it.

        Raises:
            InvalidState: if the connection isn't open.
            ProtocolError: if ``data`` is too long.
        """
        self._send_control(Opcode.PONG, data)

    def _send_control(self, opcode: Opcode, data: BytesLike) -> None:
        self._check_state(OPEN, CLOSING)
        self.send_frame(Frame(opcode, data))

    def send_close(self, code: CloseCode | int | None = None, reason: str = "") -> None:
        """Start the closing handshake (RFC 6455 section 7.1.2).

        Args:
            code: why; None sends an empty close frame.
            reason: at most 123 bytes in UTF-8.

        Raises:
            InvalidState: if the connection isn't open.
            ProtocolError: if the code may not be sent, or the reason is too long or without a code.
        """
        self._check_state(OPEN)
        if code is None and reason:
            raise ProtocolError("cannot send a reason without a code")
        self._session.close(code, reason, NOW)

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        """Fail the connection (RFC 6455 section 7.1.7): send a close frame if it is open, and listen no more.

        Args:
            code: why; 1006 sends no close frame.
            reason: at most 123 bytes in UTF-8.

        Raises:
            ProtocolError: if the code may not be sent.
        """
        if code == CloseCode.ABNORMAL_CLOSURE:
            self._session.reader.stop()
            self._session.eof_wanted = self._session.eof_wanted or self.side is SERVER
        else:
            self._session.fail(code, reason, NOW)
        self._failed = True
        if self.debug:
            self._log_eof_if_wanted()

    def _check_state(self, *allowed: State) -> None:
        if self.state not in allowed:
            raise InvalidState(f"connection is {self.state.name.lower()}")

    def data_to_send(self) -> list[bytes]:
        """The bytes to write to the network, in order; an empty item (``SEND_EOF``) means to end the stream.

        Call it after every ``receive_...``, ``send_...`` and ``fail``.
        """
        data: list[bytes] = self._session.take_outgoing()
        if self._session.eof_wanted and not self._eof_sent:
            self._eof_sent = True
            data.append(SEND_EOF)
            if self.debug:
                self._log_eof()
        return data

    def close_expected(self) -> bool:
        """Whether the TCP connection should end soon: then close it after a timeout if the peer doesn't."""
        return self.state is CLOSING or (self.state is not CLOSED and self._session.eof_wanted)

    def _log_eof_if_wanted(self) -> None:
        """At once: some programs close the transport then, and ask no more for data to send."""
        if self._session.eof_wanted:
            self._log_eof()

    def _log_eof(self) -> None:
        if not self._eof_logged:
            self._eof_logged = True
            self.logger.debug("> EOF")

    def _log_frame(self, sent: bool, frame: Frame) -> None:
        self.logger.debug("%s %s", ">" if sent else "<", frame)
        if sent and frame.opcode is Opcode.CLOSE:
            self.logger.debug("= connection is CLOSING")

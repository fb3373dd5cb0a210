"""A connection as every driver shows it: attributes, what can be sent, how it opens and ends. No I/O, no clock.

`BaseConnection` holds a `Session` and answers questions about it. `Life` adds how it lives on a carrier.
"""

from __future__ import annotations

import logging
import uuid
import weakref
from types import MethodType
from typing import TYPE_CHECKING, Any

from trunkline.core.session import Session, Side, State
from trunkline.core.writer import PreparedMessage, as_payload
from trunkline.endpoint import log
from trunkline.exceptions import ConcurrencyError, ConnectionClosed, ProtocolError
from trunkline.extensions.base import Extension
from trunkline.frames import MAX_CONTROL_PAYLOAD, CloseCode, Frame, Opcode
from trunkline.handshake.head import path_of, request_of, response_of
from trunkline.handshake.log import log_fault, log_head
from trunkline.http11 import Request, Response
from trunkline.options import Options, Timeout, check_timeout
from trunkline.sansio.protocol import Protocol
from trunkline.typing import DataLike, LoggerLike, Subprotocol

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

if cython.compiled:
    from cython.cimports.trunkline.core.opcodes import BINARY, TEXT
    from cython.cimports.trunkline.core.phases import OPEN
else:
    from trunkline.core.opcodes import BINARY, TEXT
    from trunkline.core.phases import OPEN


__all__ = ["STREAMING_BROKEN", "BaseConnection", "already_receiving", "control_payload"]

# typing.get_type_hints() looks for these here, and Cython keeps them to itself.
globals().update(PreparedMessage=PreparedMessage)

STREAMING_BROKEN = "recv_streaming() was left before the end of its message: close the connection"


@cython.cclass
class BaseConnection:
    """A WebSocket connection, open or closed.

    Attributes:
        options: its `Options`.
        session: its `Session`.
        extensions: those agreed on, in order.
        request, response: the opening handshake (`Request`, `Response`), or None.
    """

    def __init__(
        self,
        protocol: Side | Protocol,
        options: Options | None = None,
        logger: LoggerLike | None = None,
        **limits: Any,
    ) -> None:
        self._protocol: Protocol | None = None
        if isinstance(protocol, Side):  # as drivers do it
            side = protocol
            options = options or Options()
        else:
            side, logger, self._protocol = protocol.side, protocol.logger, protocol
            options = Options(max_size=(protocol.max_message_size, protocol.max_fragment_size), **limits)
        self.options = options
        if logger is None:
            logger = logging.getLogger(f"websockets.{side.name.lower()}")
        self.base_logger: LoggerLike = logger
        self.debug = self.base_logger.isEnabledFor(logging.DEBUG)
        max_message, max_frame = options.message_and_frame_size
        high, low = options.queue_marks
        self.session = Session(
            side,
            max_message=max_message,
            max_frame=max_frame,
            high=high,
            low=low,
            ping_interval=options.ping_interval,
            ping_timeout=options.ping_timeout,
            close_timeout=options.close_timeout,
        )
        if self.debug:
            self.session.trace = self._log_frame
            self.base_logger.debug("= connection is CONNECTING")
        self._id: uuid.UUID | None = None
        self._logger: LoggerLike | None = None
        # Their heads as bytes until the program asks: objects are ten times as large, and most are never looked at.
        self._request: Request | bytes | None = None
        self._response: Response | bytes | None = None
        self.negotiated_subprotocol: Subprotocol | None = None
        self.extensions: tuple[Extension, ...] = ()
        self.skipped_broadcasts = 0
        self.opened_at = 0.0
        if self._protocol is not None:
            self._protocol.join(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.session.state.name} {self.remote_address}>"

    # Attributes

    @property
    def id(self) -> uuid.UUID:
        """Identifier of the connection, in logs."""
        if self._id is None:
            self._id = uuid.uuid4()
        return self._id

    @property
    def logger(self) -> LoggerLike:
        """Logger whose records carry the connection as `websocket` (a weak reference)."""
        if self._logger is None:
            self._logger = logging.LoggerAdapter(self.base_logger, {"websocket": weakref.proxy(self)})
        return self._logger

    @logger.setter
    def logger(self, logger: LoggerLike) -> None:
        self._logger = logger

    @property
    def protocol(self) -> Protocol:
        """The protocol without I/O, to look at (a name that programs on websockets use)."""
        if self._protocol is None:
            from trunkline.sansio.client import ClientProtocol
            from trunkline.sansio.server import ServerProtocol

            kind = ClientProtocol if self.session.client else ServerProtocol
            self._protocol = kind.of(self)
        return self._protocol

    @property
    def request(self) -> Request | None:
        """Request of the opening handshake, None before it."""
        if isinstance(self._request, bytes):
            self._request = request_of(self._request)
        return self._request

    @request.setter
    def request(self, request: Request | None) -> None:
        self._request = request

    @property
    def response(self) -> Response | None:
        """Response of the opening handshake, None before it."""
        if isinstance(self._response, bytes):
            self._response = response_of(self._response)
        return self._response

    @response.setter
    def response(self, response: Response | None) -> None:
        self._response = response

    @property
    def local_address(self) -> Any:
        """Address of this end, as `socket.getsockname` gives it; None if unknown."""
        return None

    @property
    def remote_address(self) -> Any:
        """Address of the other end, as `socket.getpeername` gives it; None if unknown."""
        return None

    @property
    def state(self) -> State:
        """`State.CONNECTING`, `OPEN`, `CLOSING` or `CLOSED`; it can change at any time: catch exceptions."""
        return self.session.state

    @property
    def subprotocol(self) -> Subprotocol | None:
        """Subprotocol agreed on, or None."""
        return self.negotiated_subprotocol

    @property
    def latency(self) -> float:
        """Seconds that the last ping took; 0.0 before the first pong."""
        return self.session.latency

    @property
    def close_code(self) -> int | None:
        """Close code received (RFC 6455 section 7.1.5), 1006 if the connection was cut, None while it isn't closed."""
        return self.session.close_code

    @property
    def close_reason(self) -> str | None:
        """Close reason received (section 7.1.6), None while the connection isn't closed."""
        return self.session.close_reason

    @property
    def open(self) -> bool:
        """Whether the connection is open (a name from older versions of websockets)."""
        return self.session.state is State.OPEN

    @property
    def closed(self) -> bool:
        """Whether the connection is closed (a name from older versions of websockets)."""
        return self.session.state is State.CLOSED

    @property
    def path(self) -> str | None:
        """Path of the request, with its query (a name from older versions of websockets)."""
        if isinstance(self._request, bytes):
            return path_of(self._request)
        return None if self._request is None else self._request.path

    @property
    def request_headers(self) -> Any:
        """`Headers` of the request (a name from older versions of websockets)."""
        return None if self.request is None else self.request.headers

    @property
    def response_headers(self) -> Any:
        """`Headers` of the response (a name from older versions of websockets)."""
        return None if self.response is None else self.response.headers

    @property
    def close_exc(self) -> ConnectionClosed:
        """The exception that calls on the closed connection raise."""
        return self.session.close_exception()

    @property
    def ping_interval(self) -> float | None:
        """Seconds between keepalive pings, None for none; a change counts from the next ping on."""
        return self.session.ping_interval

    @ping_interval.setter
    def ping_interval(self, seconds: Timeout) -> None:
        self.session.ping_interval = check_timeout("ping_interval", seconds)

    @property
    def ping_timeout(self) -> float | None:
        """Seconds to wait for the answer to a keepalive ping, None for ever."""
        return self.session.ping_timeout

    @ping_timeout.setter
    def ping_timeout(self, seconds: Timeout) -> None:
        self.session.ping_timeout = check_timeout("ping_timeout", seconds)

    @property
    def close_timeout(self) -> float | None:
        """Seconds to wait for the closing handshake, None for ever."""
        return self.session.close_timeout

    @close_timeout.setter
    def close_timeout(self, seconds: Timeout) -> None:
        self.session.close_timeout = check_timeout("close_timeout", seconds)

    def is_ours(self, name: str, method: object) -> bool:
        """Whether a method is `method` of ours: a subclass, a test or a tracer may have put another in its place."""
        bound = getattr(self, name)
        return type(bound) is MethodType and bound.__func__ is method  # proxies, as of wrapt, say that they are ours

    # From the opening handshake to the end

    def begin(self, subprotocol: Any, extensions: Any, now: float) -> None:
        """The opening handshake is done."""
        self.negotiated_subprotocol = subprotocol
        self.extensions = tuple(extensions)
        self.opened_at = now
        self.session.open(now, extensions)
        if self.debug:
            self.logger.debug("= connection is OPEN")

    @cython.annotation_typing(False)  # compiled, too, subclasses of str will do
    def begin_closing(self, code: CloseCode | int, reason: str, fragmenting: bool, now: float) -> None:
        """Send a close frame, if the connection is open; `fragmenting` tells that a message of ours is incomplete.

        Raises:
            ProtocolError: if `code` or `reason` can't be sent.
        """
        if fragmenting:
            self.session.fail(CloseCode.INTERNAL_ERROR, "close during fragmented message", now)
        else:
            self.session.close(code, reason, now)

    def meet_deadline(self, now: float, due: float = 0.0) -> None:
        """The session's deadline has come: ping the peer, or give it up."""
        pings = len(self.session.pings)
        self.session.on_deadline(now, due)
        if self.debug and len(self.session.pings) > pings:
            self.logger.debug("% sent keepalive ping")

    def end(self, error: BaseException | None, now: float) -> None:
        """The connection is lost, by an error or after the end of both streams: nothing is sent any more."""
        session: Session = self.session
        if error is not None and session.phase == OPEN and session.failure is None:
            session.failure = error
        session.receive_eof(now)
        session.take_outgoing()
        if session.unlogged is not None:
            self.logger.error("parser failed", exc_info=session.unlogged)
            session.unlogged = None
        session.trace = None  # it refers to us: without the cycle we are freed with the last reference of a program
        if self.debug:
            self.logger.debug("= connection is CLOSED")

    # Sending

    @cython.ccall
    def put(self, message: object, text: object, compress: object) -> cython.bint:
        """Put a whole message on its way to the peer; False if it is no such thing, but perhaps its fragments.

        Raises:
            UnicodeEncodeError: if a str has lone surrogates.
        """
        if isinstance(message, str):
            self.session.send(TEXT if text is None or text else BINARY, message, True, compress)
        elif isinstance(message, bytes):
            self.session.send(TEXT if text else BINARY, message, True, compress)
        elif isinstance(message, PreparedMessage):
            self.session.send_prepared(message)
        elif isinstance(message, bytearray | memoryview):
            self.session.send(TEXT if text else BINARY, as_payload(message), True, compress)
        else:
            return False
        return True

    @cython.ccall
    def broadcast(self, message: PreparedMessage) -> object:
        """Send without waiting; returns why that was not possible, in words or as an exception, or None."""
        raise NotImplementedError

    @cython.cfunc
    def deliver(self, message: PreparedMessage) -> object:
        """`broadcast` for the function of that name; a compiled driver saves the look-up."""
        return self.broadcast(message)

    def log_info(self, event: str, *arguments: object, detail: str = "") -> None:
        """Log an event of this connection, but make no logger unless its records are wanted."""
        if not self.base_logger.isEnabledFor(logging.INFO):
            return
        if log.DETAILED:
            request = request_of(self._request) if isinstance(self._request, bytes) else self._request
            origin = log.describe_origin(self.remote_address, request)
            event, arguments = f"{event}: %s%s", (*arguments, origin, detail and f", {detail}")
        elif detail:
            event, arguments = f"{event}: %s", (*arguments, detail)
        self.logger.info(event, *arguments)

    def log_closed(self, now: float) -> None:
        """Log the end of this connection, and of one that never opened."""
        opened = log.DETAILED and self.opened_at > 0
        self.log_info(
            "connection closed",
            detail=log.describe_end(self.session.close_code, now - self.opened_at) if opened else "",
        )

    def log_head(self, direction: str, head: Request | Response | None) -> None:
        """Log the head of the opening handshake, ">" for sent, "<" for received."""
        if self.debug and head is not None:
            log_head(self.logger, direction, head)

    def log_refusal(self, response: Response, error: Exception | None, attempted: bool = False) -> None:
        """Log a response that opens no connection.

        `error` is what was wrong with the request, if anything; otherwise `attempted` tells whether it asked for a
        connection, as far as is known: what `process_request` answers is a page like any other.
        """
        if self.debug and error is not None:
            log_fault(self.logger, error)
        what = "connection rejected" if attempted or error is not None else "HTTP response sent"
        self.log_info("%s (%d %s)", what, response.status_code, response.reason_phrase)

    def _log_frame(self, sent: bool, frame: Frame) -> None:
        self.logger.debug("%s %s", ">" if sent else "<", frame)
        if sent and frame.opcode is Opcode.CLOSE:
            self.logger.debug("= connection is CLOSING")


def already_receiving(call: str, who: str) -> ConcurrencyError:
    """The exception for a second task or thread (`who`) that receives."""
    return ConcurrencyError(f"cannot call {call} while another {who} is already running recv or recv_streaming")


def control_payload(data: DataLike) -> bytes:
    """The payload of a ping or pong (section 5.5).

    Raises:
        TypeError: if `data` is neither str nor bytes-like.
        ProtocolError: if it is too long.
    """
    payload = data.encode() if isinstance(data, str) else as_payload(data)
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise ProtocolError(f"control frame too long: {len(payload)} bytes, and at most {MAX_CONTROL_PAYLOAD} fit")
    return payload

"""A WebSocket connection for threads, once it is open: the same for clients and servers.

`Connection` adds to a `Life` the calls of the program, and how threads wait in them. Its `SocketCarrier` moves the
bytes, and has the locks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, NoReturn, Self

from trunkline import json
from trunkline.core.opcodes import PONG
from trunkline.core.phases import CLOSING, OPEN
from trunkline.core.writer import PreparedMessage
from trunkline.endpoint.broadcast import broadcast
from trunkline.endpoint.connection import control_payload
from trunkline.endpoint.fragments import FragmentedMessage
from trunkline.endpoint.life import BROADCAST_BACKLOG
from trunkline.exceptions import ConcurrencyError
from trunkline.frames import CloseCode
from trunkline.sync.receiving import ReceivingConnection
from trunkline.sync.stream import here
from trunkline.typing import DataLike

__all__ = ["Connection", "broadcast"]


class Connection(ReceivingConnection):
    """A WebSocket connection, open or closed. Made by `connect` and `serve`.

    Attributes:
        id: a `UUID`, to tell connections apart in logs.
        logger: logger with `websocket` in its extra data.
        request, response: the opening handshake (`Request`, `Response`), or None.
        socket: the socket; where there is TLS, the one below it, which also tells what `ssl.SSLSocket` tells, such as
            `getpeercert()` and `version()`.

    Iterate over it to receive messages until the peer closes the connection normally::

        for message in websocket:
            ...

    Any number of threads may send; one at a time may receive.
    """

    # The life; with `mutex`

    def attend(self) -> None:
        super().attend()
        if self.session.phase == CLOSING:
            self.carrier.note()  # the program may never call us again
        self.carrier.notify()

    def flush(self) -> Exception | None:
        """Send without waiting, unless another thread is about to."""
        session, carrier = self.session, self.carrier
        while (session.outgoing_size or carrier.has_work()) and not self.lost:
            if not carrier.writing.acquire(blocking=False):
                return None
            try:
                error = carrier.send(session.take_outgoing(), False)
            finally:
                carrier.writing.release()
            if error is not None:
                self.fail_writing(error)
                return error
            if carrier.full:
                return None
        return None

    def acknowledge(self, token: tuple[threading.Event, bool], latency: float) -> None:
        event, _ = token
        event.set()

    def give_up_ping(self, token: tuple[threading.Event, bool]) -> None:
        event, ack_on_close = token
        if ack_on_close:
            event.set()

    # Sending

    def send(
        self,
        message: DataLike | Iterable[DataLike] | PreparedMessage,
        *,
        text: bool | None = None,
        compress: bool | None = None,
    ) -> None:
        """Send a message: str as text, bytes-like as binary, an iterable of either in fragments.

        It waits while the peer doesn't read.

        Args:
            message: what to send; a `PreparedMessage` is sent as it was prepared.
            text: True sends bytes-like data as text (it must be UTF-8), False sends str as binary.
            compress: where compression was negotiated, False doesn't compress this message, True does so if it is
                shorter than 128 characters or bytes, too.

        Raises:
            ConnectionClosed: if the connection is closed.
            ConcurrencyError: while a message is sent in fragments, by another thread or by what gives the fragments.
            TypeError: if `message` is of no such type.
            UnicodeEncodeError: if a str has lone surrogates.
        """
        self._before_use()
        session = self.session
        try:
            with self.carrier.writing:
                with self.mutex:
                    if session.phase != OPEN or self.fragmenting is not None:
                        self._refuse_to_send()
                    whole = self.put(message, text, compress)
                    chunks = session.take_outgoing()
                self._write(chunks)
        finally:
            if session.outgoing_size or session.eof_wanted or self.lost:
                self._done_writing()
        if not whole:
            self._send_fragments(message, text, compress)

    def _refuse_to_send(self) -> NoReturn:
        """With both locks; others must be able to take them while this waits for the end of the connection.

        Raises:
            ConcurrencyError: if a message is sent in fragments: no other may come between them (section 5.4).
            ConnectionClosed: if the connection is closed.
        """
        if self.session.phase == OPEN:
            raise ConcurrencyError("cannot call send while another thread is already running send")
        self.carrier.writing.release()
        try:
            self._wait_for_end(None)
        finally:
            self.mutex.release()
            self.carrier.writing.acquire()
            self.mutex.acquire()
        raise self.session.close_exception()

    def _write(self, chunks: list[bytes]) -> None:
        """With `writing`, without `mutex`: send, and wait until the network took it all."""
        try:
            self.carrier.write_all(chunks)
        except OSError as error:
            raise self._write_failed(error) from error

    def _write_failed(self, error: OSError) -> Exception:
        """Hear all that the peer said before it went away: it may tell why."""
        with self.mutex:
            self.fail_writing(error)
            while not self.lost:
                self.carrier.wait(None)
            return self.session.close_exception()

    def _done_writing(self) -> None:
        """Without `writing`: other threads may have left something to us."""
        with self.mutex:
            self.flush()
            if self.lost:
                self.carrier.close_socket()

    def _send_fragments(self, message: Any, text: bool | None, compress: bool | None) -> None:
        FragmentedMessage.check(message)
        sending = FragmentedMessage(self.session, text, compress)
        with self.carrier.writing, self.mutex:
            if self.session.phase != OPEN or self.fragmenting is not None:
                self._refuse_to_send()
            self.fragmenting = sending
        try:
            for fragment in message:
                self._send_part(sending.add, fragment)
            self._send_part(sending.finish)
        except BaseException as error:
            with self.mutex:
                if sending.abandon(error, monotonic()):
                    self.attend()
            raise
        finally:
            self.fragmenting = None

    def _send_part(self, put: Callable[..., Any], *arguments: Any) -> None:
        """Send what may stand between fragments: the next one, or a control frame (section 5.4)."""
        try:
            with self.carrier.writing:
                with self.mutex:
                    put(*arguments)
                    chunks = self.session.take_outgoing()
                self._write(chunks)
        finally:
            self._done_writing()

    def send_json(self, obj: Any) -> None:
        """Send an object as a text message of JSON: whatever msgspec encodes, such as Structs, dataclasses, datetimes.

        Raises:
            TypeError: if `obj` can't be JSON.
            ConnectionClosed: if the connection is closed.
        """
        self.send(json.encode(obj), text=True)

    def ping(self, data: DataLike | None = None, *, ack_on_close: bool = False) -> threading.Event:
        """Send a ping (RFC 6455 section 5.5.2).

        Args:
            data: payload of at most 125 bytes, None for a random one.
            ack_on_close: whether the end of the connection sets the event, too.

        Returns:
            An event that is set by the pong, also by that of a later ping; `latency` tells how long it took.

        Raises:
            ConnectionClosed: if the connection is closed.
            ConcurrencyError: if a ping with the same data waits for its pong.
        """
        self._before_use()
        payload = None if data is None else control_payload(data)
        event = here.waits.Event()
        try:
            self._send_control(self.session.ping, payload, (event, ack_on_close), monotonic())
        except ValueError as error:
            raise ConcurrencyError(str(error)) from None
        with self.mutex:
            self.carrier.hear()
        return event

    def pong(self, data: DataLike = b"") -> None:
        """Send an unsolicited pong (section 5.5.3).

        Raises:
            ConnectionClosed: if the connection is closed.
        """
        self._before_use()
        self._send_control(self.session.send, PONG, control_payload(data))

    def _send_control(self, put: Callable[..., Any], *arguments: Any) -> None:
        def put_if_open() -> None:
            if self.session.phase != OPEN:
                raise self.session.close_exception()
            put(*arguments)

        with self.mutex:
            if self.session.phase != OPEN:
                self._wait_for_end(None)
        self._send_part(put_if_open)

    def broadcast(self, message: PreparedMessage) -> object:
        """Send without waiting; returns why that was not possible, in words or as an exception, or None."""
        with self.mutex:
            if self.session.phase != OPEN:
                return None
            if self.fragmenting is not None:
                return "sending a fragmented message"
            if self.session.outgoing_size > BROADCAST_BACKLOG:
                self.skipped_broadcasts += 1
                return "the peer reads too slowly"
            self.session.send_prepared(message)
            return None if self.session.backlogged else self.flush()

    # Closing

    def close(self, code: CloseCode | int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Do the closing handshake (section 7.1.2), and wait until the connection is closed.

        A peer that doesn't answer within `close_timeout` is dropped. Closing a closed connection does nothing.

        Args:
            code: 1000 to 1014 but those reserved, or 3000 to 4999.
            reason: at most 123 bytes in UTF-8.

        Raises:
            ProtocolError: if `code` or `reason` can't be sent.
        """
        self._before_use()
        with self.mutex:
            super().start_closing(code, reason)
            self._wait_for_end(None)

    def start_closing(self, code: CloseCode | int, reason: str) -> None:
        """Send the close frame, if the connection is open, and don't wait."""
        with self.mutex:
            super().start_closing(code, reason)

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until the connection is closed, TCP included.

        Args:
            timeout: seconds to wait, None for no limit.

        Returns:
            Whether it is closed.
        """
        with self.mutex:
            if self.session.phase == OPEN and not self.lost:
                self.carrier.note()
            return self._wait_for_end(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        self.close(CloseCode.NORMAL_CLOSURE if kind is None else CloseCode.INTERNAL_ERROR)

    # Opening

    def start(self, subprotocol: Any, extensions: Any, rest: bytes) -> None:
        """The opening handshake is done; `rest` is what came behind it."""
        with self.mutex:
            super().start(subprotocol, extensions, rest)
            self.carrier.note()

    def abort(self) -> None:
        """Drop the connection."""
        with self.mutex:
            self.carrier.lose(None)
            self.carrier.close_socket()  # if it was lost before, another thread may have been using it

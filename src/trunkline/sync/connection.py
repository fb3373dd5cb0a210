"""A WebSocket connection for threads, once it is open: the same for clients and servers.

Any number of threads may send, one at a time may receive. Three locks, taken in this order where one thread needs two:

- `writing` belongs to the thread that sends bytes. An application that sends more than the peer reads waits with it.
- `mutex` guards session and inbox. It is never held while waiting: whoever waits has released it.
- the lock of the watcher, inside of it.

A thread that receives reads the socket itself; `reading` says that one does. Others that wait for something that the
peer does, such as `close()`, are told through `changed`. When nobody reads, the watcher does, in its own thread.
Whoever finds `writing` taken leaves what must be sent to the thread that holds it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from selectors import EVENT_READ, EVENT_WRITE
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn, Self

from trunkline import json
from trunkline.core.inbox import convert
from trunkline.core.session import Side
from trunkline.core.writer import PreparedMessage
from trunkline.endpoint.connection import (
    BROADCAST_BACKLOG,
    STREAMING_BROKEN,
    BaseConnection,
    FragmentDecoder,
    FragmentedMessage,
    already_receiving,
    broadcast,
    control_payload,
)
from trunkline.exceptions import ConcurrencyError
from trunkline.frames import CloseCode
from trunkline.options import Options
from trunkline.sync.stream import Readable, SecureSocket, Stream, TLSStream, here, shut_down, wait_for
from trunkline.sync.watcher import Watcher, watcher

if TYPE_CHECKING:
    from trunkline.typing import Data, DataLike, LoggerLike

__all__ = ["Connection", "broadcast"]


class Connection(BaseConnection):
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

    def __init__(self, stream: Stream, side: Side, options: Options, logger: LoggerLike | None = None) -> None:
        super().__init__(side, options, logger)
        self.stream = stream
        self.readable = Readable(stream.sock)
        self.watcher: Watcher = watcher()
        self.mutex = threading.Lock()
        self.changed = here.waits.Condition(self.mutex)
        self.writing = here.waits.Lock()
        self.receiving = False  # a thread is in recv()
        self.reading = False  # a thread waits for the socket
        self.waiting = 0  # threads that wait for `changed`
        self.turns = 0  # how often a thread was done with reading
        self.turns_seen = 0
        self.noted = False  # the watcher looks at `turns`
        self.watched = 0  # events that the watcher waits for
        self.cancel_deadline: Callable[[], None] | None = None
        self.deadline = 0.0
        self.fragmenting = False  # whether a message is sent in fragments
        self.streaming_broken = False
        self.eof_sent = False
        self.lost = False
        self._local_address = address_of(stream.sock.getsockname)
        self._remote_address = address_of(stream.sock.getpeername)

    @property
    def socket(self) -> Any:
        """The socket, which tells of TLS, too, if there is any."""
        stream = self.stream
        return SecureSocket(stream.sock, stream.object) if isinstance(stream, TLSStream) else stream.sock

    @property
    def local_address(self) -> Any:
        """Address of this end, as `socket.getsockname` gives it; None if unknown."""
        return self._local_address

    @property
    def remote_address(self) -> Any:
        """Address of the other end, as `socket.getpeername` gives it; None if unknown."""
        return self._remote_address

    # Receiving

    def recv(self, timeout: float | None = None, decode: bool | None = None) -> Data:
        """Receive the next message: str for text, bytes for binary.

        Messages that arrived before the connection closed are still given. A timeout loses nothing.

        Args:
            timeout: seconds to wait, None for no limit; 0 gives a message only if it is there already.
            decode: True gives str, False bytes, whatever the type of the message; None goes by the type.

        Raises:
            TimeoutError: if no message comes in time.
            ConnectionClosed: if the connection is closed.
            ConcurrencyError: if two threads receive at the same time.
        """
        self._before_use()
        message = self._receive(timeout)
        try:
            return convert(message, decode)
        except UnicodeDecodeError as fault:
            raise self._fail_undecodable(fault) from fault

    def __iter__(self) -> Iterator[Data]:
        """Receive messages until the peer closes the connection normally.

        Raises:
            ConnectionClosedError: if the connection ends in another way.
            ConcurrencyError: if two threads receive at the same time.
        """
        self._before_use()
        while (message := self._receive(None, iterating=True)) is not None:
            yield message

    def recv_streaming(self, decode: bool | None = None) -> Iterator[Data]:
        """Receive the next message in its fragments, as they come (RFC 6455 section 5.4).

        Leaving the loop before the end of the message makes the connection useless for receiving: close it.

        Args:
            decode: True gives str, False bytes; None goes by the type of the message.

        Raises:
            ConnectionClosed: if the connection is closed.
            ConcurrencyError: if two threads receive at the same time.
        """
        self._before_use()
        if self.streaming_broken:
            raise ConcurrencyError(STREAMING_BROKEN)
        decoder = FragmentDecoder(decode)
        while not decoder.done:
            item = self._receive(None, fragment=True)
            try:
                data = decoder.convert(item)
            except UnicodeDecodeError as fault:
                raise self._fail_undecodable(fault) from fault
            self.streaming_broken = not decoder.done
            yield data

    def recv_json(self, type: Any = None, *, timeout: float | None = None) -> Any:
        """Receive the next message and decode its JSON.

        Args:
            type: what it must be: any type that msgspec knows, such as a Struct, a dataclass or a TypedDict; None takes
                any value.
            timeout: seconds to wait, None for no limit.

        Raises:
            InvalidJSON: if it isn't JSON or not of that type; the connection stays usable.
            TimeoutError: if no message comes in time.
            ConnectionClosed: if the connection is closed.
        """
        return json.decode(self.recv(timeout), type)

    def _receive(self, timeout: float | None, fragment: bool = False, iterating: bool = False) -> Any:
        """The next message, or fragment of one; None at the normal end, if `iterating`."""
        if self.streaming_broken and not fragment:
            raise ConcurrencyError(STREAMING_BROKEN)
        due = None if timeout is None else monotonic() + timeout
        inbox = self.session.inbox
        with self.mutex:
            if self.receiving:
                raise already_receiving("recv_streaming" if fragment else "recv", "thread")
            self.receiving = True
            try:
                while True:
                    item = inbox.take_fragment() if fragment else inbox.take()
                    if inbox.paused and inbox.drained():
                        inbox.paused = False
                        self._note()
                    if item is not None or (iterating and self._ended_normally()):
                        return item
                    if self.session.pending_fault is not None:
                        self.session.settle(monotonic())
                        self._attend()
                    if self.lost:
                        raise self.session.close_exception()
                    if not self._wait(due):
                        raise TimeoutError(f"timed out in {timeout:.1f}s")
            finally:
                self.receiving = False

    def _ended_normally(self) -> bool:
        """The loop over messages ends with the close frame, not only with TCP."""
        return self.session.phase != 1 and self.session.ended_normally()

    def _fail_undecodable(self, fault: UnicodeDecodeError) -> Exception:
        with self.mutex:
            self.session.fault(fault, monotonic())
            self._attend()
            self._wait_for_end(None)
            return self.session.close_exception()

    # Reading; with `mutex`

    def _wait(self, due: float | None) -> bool:
        """Wait until something comes from the peer, or happens in another thread; False if that takes too long."""
        remaining = None if due is None else max(0.0, due - monotonic())
        if self.reading:
            return self._wait_for_change(remaining)
        self.reading = True
        self.mutex.release()
        ready = False
        try:
            ready = self.readable.wait(remaining)
        finally:
            self.mutex.acquire()
            self.reading = False
            self.turns += 1
            self._note()
            if not ready:
                self._reading_left()
        if ready:
            self._read()
            self._reading_left()
        return ready

    def _wait_for_change(self, timeout: float | None) -> bool:
        self.waiting += 1
        try:
            return bool(self.changed.wait(timeout))
        finally:
            self.waiting -= 1

    def _reading_left(self) -> None:
        """Another thread that waits may read on, or find what it waits for."""
        if self.waiting:
            self.changed.notify_all()
        if self.lost:
            self._close_socket()

    def _read(self) -> None:
        """Read what came."""
        if self.lost:
            return
        try:
            data = self.stream.read()
        except OSError as error:
            self._lose(error)
            return
        if data is not None:
            self._take(data)
        if data and self.stream.at_end:
            self._take(b"")  # nothing else comes that would wake a thread for it

    def _take(self, data: bytes) -> None:
        if data:
            self.session.receive_data(data, monotonic())
        else:
            self.session.receive_eof(monotonic())
        if self.session.attention:
            self._attend()
        elif self.session.outgoing_size:
            self._flush()
        if not data:
            self._lose(None)

    def _attend(self) -> None:
        """Something besides messages happened in the session: pongs, closing, deadlines."""
        session = self.session
        session.attention = False
        for (event, _), _latency in session.acknowledged:
            event.set()
        session.acknowledged = []
        if session.phase == 2:
            session.inbox.paused = False  # the peer's close frame stands behind its messages
        self._flush()
        if session.expired and not self.lost:
            shut_down(self.stream.sock)
        self._schedule()
        if session.phase == 2:
            self._note()  # nobody may ever call us again
        if self.waiting:
            self.changed.notify_all()

    def _lose(self, error: BaseException | None) -> None:
        """The connection is over. Its socket is closed as soon as no thread uses it."""
        if self.lost:
            return
        self.end(error, monotonic())
        self.lost = True
        shut_down(self.stream.sock)
        for event, ack_on_close in [token for token, _ in self.session.pings.values() if token is not None]:
            if ack_on_close:
                event.set()
        self.session.pings.clear()
        if self.cancel_deadline is not None:
            self.cancel_deadline()
        self.watcher.forget(self)
        self.changed.notify_all()
        self._close_socket()

    def _close_socket(self) -> None:
        """Close it, unless a thread waits for it."""
        if self.reading or not self.writing.acquire(blocking=False):
            return  # whoever uses it will come by
        try:
            if self.watched:
                self.watcher.close(self)
            else:
                self.stream.sock.close()
        finally:
            self.writing.release()

    # For the watcher

    def _note(self) -> None:
        if not self.noted:
            self.noted = True
            self.watcher.note(self)

    def is_in_use(self) -> bool:
        """Whether threads come and go; else it is left to them, or watched from now on."""
        with self.mutex:
            if self.turns != self.turns_seen and not self.lost:
                self.turns_seen = self.turns
                return True
            self.noted = False
            if not self.lost:
                self._watch()
            return False

    def _watch(self) -> None:
        """In the thread of the watcher: let it wait for what nobody else waits for."""
        inbox = self.session.inbox
        if inbox.overflows() and self.session.phase == 1:
            inbox.paused = True
        wanted = self.watched & EVENT_WRITE
        if not self.reading and not inbox.paused:
            wanted |= EVENT_READ
        self.watcher.wait_for(self, wanted)

    def on_ready(self, events: int) -> None:
        """Called by the watcher when the socket can be read or written."""
        with self.mutex:
            if events & EVENT_WRITE:
                self.watcher.wait_for(self, self.watched & ~EVENT_WRITE)
                self._flush(self.session.backlogged)
            if events & EVENT_READ and not self.reading:
                self._read()
                if self.waiting:
                    self.changed.notify_all()
            if not self.lost:
                self._watch()

    def on_watch(self, events: int) -> None:
        """Called by the watcher: wait for `events`, too."""
        with self.mutex:
            if not self.lost:
                self.watcher.wait_for(self, self.watched | events)

    def _schedule(self) -> None:
        """Keep a timer for the session's deadline; one that fires too early is cheaper than moving it."""
        deadline = self.session.deadline()
        if (
            deadline is None
            or self.session.expired
            or self.lost
            or (self.cancel_deadline is not None and self.deadline <= deadline)
        ):
            return
        if self.cancel_deadline is not None:
            self.cancel_deadline()
        self.deadline = deadline
        self.cancel_deadline = self.watcher.schedule(self, deadline)

    def on_deadline(self) -> None:
        """Called by the watcher."""
        with self.mutex:
            self.cancel_deadline = None
            deadline = self.session.deadline()
            now = max(monotonic(), self.deadline)
            if deadline is None or self.lost or deadline > now:
                self._schedule()
                return
            self.meet_deadline(now)
            self._attend()

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
            with self.writing:
                with self.mutex:
                    if session.phase != 1 or self.fragmenting:
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
        if self.session.phase == 1:
            raise ConcurrencyError("cannot call send while another thread is already running send")
        self.writing.release()
        try:
            self._wait_for_end(None)
        finally:
            self.mutex.release()
            self.writing.acquire()
            self.mutex.acquire()
        raise self.session.close_exception()

    def _write(self, chunks: list[bytes]) -> None:
        """With `writing`, without `mutex`: send, and wait until the network took it all."""
        try:
            self.stream.write(chunks)
            if not self.stream.push():
                self._wait_for_peer()
        except OSError as error:
            raise self._write_failed(error) from error
        if self.session.backlogged:
            with self.mutex:
                self.session.set_backlogged(False)

    def _wait_for_peer(self) -> None:
        """It doesn't read. Meanwhile, the watcher hears what it says."""
        with self.mutex:
            self.session.set_backlogged(True)
            self._note()
        while not self.stream.push():
            wait_for(self.stream.sock, True, None)

    def _write_failed(self, error: OSError) -> Exception:
        """What the peer said before it went away may tell why: hear all of it."""
        with self.mutex:
            self._fail(error)
            while not self.lost:
                self._wait(None)
            return self.session.close_exception()

    def _done_writing(self) -> None:
        """Without `writing`: others may have left something to us."""
        with self.mutex:
            self._flush()
            if self.lost:
                self._close_socket()

    def _flush(self, backlogged: bool = False) -> OSError | None:
        """With `mutex`: send what the session has to send without waiting, unless another thread is about to.

        Returns what failed, if anything did; the connection ends of it.
        """
        session = self.session
        while (session.outgoing_size or backlogged or self._must_end()) and not self.lost:
            if not self.writing.acquire(blocking=False):
                return None
            try:
                self.stream.write(session.take_outgoing())
                done = self.stream.push()
                if done and self._must_end():
                    self._end_stream()
            except OSError as error:
                self._fail(error)
                self._note()
                return error
            finally:
                self.writing.release()
            if session.backlogged == done:
                session.set_backlogged(not done)
            backlogged = False
            if not done:
                self.watcher.watch(self, EVENT_WRITE)
                return None
        return None

    def _fail(self, error: OSError) -> None:
        """Nothing can be sent any more. Whoever reads finds what came before, and the end."""
        if self.session.failure is None and self.session.phase == 1:
            self.session.failure = error
        shut_down(self.stream.sock)

    def _must_end(self) -> bool:
        return self.session.eof_wanted and not self.eof_sent

    def _end_stream(self) -> None:
        self.eof_sent = True
        if self.debug:
            self.logger.debug("x half-closing TCP connection")
        self.stream.end_writing()

    def _send_fragments(self, message: Any, text: bool | None, compress: bool | None) -> None:
        FragmentedMessage.check(message)
        sending = FragmentedMessage(self.session, text, compress)
        with self.writing, self.mutex:
            if self.session.phase != 1 or self.fragmenting:
                self._refuse_to_send()
            self.fragmenting = True
        try:
            for fragment in message:
                self._send_part(sending.add, fragment)
            self._send_part(sending.finish)
        except BaseException as error:
            with self.mutex:
                if sending.abandon(error, monotonic()):
                    self._attend()
            raise
        finally:
            self.fragmenting = False

    def _send_part(self, put: Callable[..., Any], *arguments: Any) -> None:
        """Send what may stand between fragments: the next one, or a control frame (section 5.4)."""
        try:
            with self.writing:
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
            if not self.reading and not self.lost:
                self.watcher.watch(self, EVENT_READ)  # the caller may wait for the event
        return event

    def pong(self, data: DataLike = b"") -> None:
        """Send an unsolicited pong (section 5.5.3).

        Raises:
            ConnectionClosed: if the connection is closed.
        """
        self._before_use()
        self._send_control(self.session.send, 10, control_payload(data))

    def _send_control(self, put: Callable[..., Any], *arguments: Any) -> None:
        def put_if_open() -> None:
            if self.session.phase != 1:
                raise self.session.close_exception()
            put(*arguments)

        with self.mutex:
            if self.session.phase != 1:
                self._wait_for_end(None)
        self._send_part(put_if_open)

    def broadcast(self, message: PreparedMessage) -> object:
        """Send without waiting; returns why that was not possible, in words or as an exception, or None."""
        with self.mutex:
            if self.session.phase != 1:
                return None
            if self.fragmenting:
                return "sending a fragmented message"
            if self.session.outgoing_size > BROADCAST_BACKLOG:
                self.skipped_broadcasts += 1
                return "the peer reads too slowly"
            self.session.send_prepared(message)
            return None if self.session.backlogged else self._flush()

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
            self._start_closing(code, reason)
            self._wait_for_end(None)

    def start_closing(self, code: CloseCode | int, reason: str) -> None:
        """Send the close frame, if the connection is open, and don't wait."""
        with self.mutex:
            self._start_closing(code, reason)

    def _start_closing(self, code: CloseCode | int, reason: str) -> None:
        if self.session.phase == 1:
            self.begin_closing(code, reason, self.fragmenting, monotonic())
            self._attend()

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until the connection is closed, TCP included.

        Args:
            timeout: seconds to wait, None for no limit.

        Returns:
            Whether it is closed.
        """
        with self.mutex:
            if self.session.phase == 1 and not self.lost:
                self._note()
            return self._wait_for_end(timeout)

    def _wait_for_end(self, timeout: float | None) -> bool:
        """With `mutex`: as long as messages may come, reading is left to whoever receives them, or to the watcher."""
        due = None if timeout is None else monotonic() + timeout
        while not self.lost:
            if self.session.phase == 1:
                remaining = None if due is None else max(0.0, due - monotonic())
                if not self._wait_for_change(remaining):
                    return False
            elif not self._wait(due):
                return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        self.close(CloseCode.NORMAL_CLOSURE if kind is None else CloseCode.INTERNAL_ERROR)

    def _before_use(self) -> None:
        """For a subclass that cares how it is used."""

    # Opening

    def start(self, subprotocol: Any, extensions: Any, rest: bytes) -> None:
        """The opening handshake is done; `rest` is what came behind it."""
        with self.mutex:
            self.begin(subprotocol, extensions, monotonic())
            if rest:
                self.session.receive_data(rest, monotonic())
                self._attend()
            self._schedule()
            self._note()

    def abort(self) -> None:
        """Drop the connection."""
        with self.mutex:
            self._lose(None)
            self._close_socket()  # if it was lost before, somebody may have been using it


def address_of(ask: Callable[[], Any]) -> Any:
    """What a socket tells of an address, as long as it is connected."""
    try:
        return ask()
    except OSError:
        return None

"""A WebSocket connection on trio, once it is open: the same for clients and servers, over any stream.

`Connection` moves bytes between a `trio.abc.Stream` and a `Session`, wakes tasks that wait, and keeps the session's
deadline. Its tasks are one that reads, one that keeps the time, and, only while the peer reads too slowly, one that
writes. They raise nothing.

Every asynchronous method is a checkpoint, also when it needn't wait. What is cancelled before it did anything hasn't
done anything; a message on its way leaves as a whole.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, Self

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled

from trunkline import json
from trunkline.core.inbox import Fragment, convert
from trunkline.core.session import Side
from trunkline.endpoint.connection import (
    BROADCAST_BACKLOG,
    STREAMING_BROKEN,
    BaseConnection,
    FragmentDecoder,
    FragmentedMessage,
    already_receiving,
    control_payload,
)
from trunkline.endpoint.connection import broadcast as broadcast_now
from trunkline.exceptions import ConcurrencyError
from trunkline.frames import CloseCode
from trunkline.options import Options
from trunkline.trio.stream import StreamIO

if TYPE_CHECKING:
    from trunkline.core.writer import PreparedMessage
    from trunkline.typing import Data, DataLike, LoggerLike

__all__ = ["Connection", "broadcast"]

LOST = (trio.BrokenResourceError, trio.ClosedResourceError)


class Connection(BaseConnection, trio.abc.AsyncResource):
    """A WebSocket connection, open or closed. Made by `connect` and `serve`.

    Attributes:
        id: a `UUID`, to tell connections apart in logs.
        logger: logger with `websocket` in its extra data.
        request, response: the opening handshake (`Request`, `Response`), or None.
        stream: the `trio.abc.Stream`.

    Iterate over it to receive messages until the peer closes the connection normally::

        async for message in websocket:
            ...

    Any number of tasks may send; one at a time may receive.
    """

    def __init__(
        self,
        nursery: trio.Nursery | None,
        stream: trio.abc.Stream,
        side: Side,
        options: Options,
        logger: LoggerLike | None = None,
    ) -> None:
        super().__init__(side, options, logger)
        self.stream = stream
        self.io = StreamIO(stream)
        self.high, self.low = options.write_marks
        self.spawn: Callable[..., object] = trio.lowlevel.spawn_system_task if nursery is None else nursery.start_soon
        self.receiver: trio.lowlevel.Task | None = None  # the task that waits for a message
        self.receiving = False
        self.streaming_broken = False
        self.fragmenting: trio.Event | None = None
        self.backlog: list[bytes] = []  # what could not be written at once
        self.backlog_size = 0
        self.writing = False
        self.drained: trio.Event | None = None  # that of `send` calls which wait for the peer to read
        self.resumed: trio.Event | None = None  # that of the reader, while the application doesn't keep up
        self.reading = trio.CancelScope()
        self.timer: trio.CancelScope | None = None
        self.eof_sent = False
        self.aborted = False
        self.lost = False
        self.closed_event = trio.Event()

    # Attributes

    @property
    def local_address(self) -> Any:
        """Address of this end, as `socket.getsockname` gives it; None if unknown."""
        return self.io.local_address

    @property
    def remote_address(self) -> Any:
        """Address of the other end, as `socket.getpeername` gives it; None if unknown."""
        return self.io.remote_address

    # Receiving

    async def recv(self, decode: bool | None = None) -> Data:
        """Receive the next message: str for text, bytes for binary.

        Messages that arrived before the connection closed are still given. Cancelling loses nothing.

        Args:
            decode: True gives str, False bytes, whatever the type of the message; None goes by the type.

        Raises:
            ConnectionClosed: if the connection is closed.
            ConcurrencyError: if two tasks receive at the same time.
        """
        message: Data = await self._receive()
        if decode is None:
            return message
        try:
            return convert(message, decode)
        except UnicodeDecodeError as error:
            fault = error
        await self._fail_undecodable(fault)

    async def _receive(self, iterating: bool = False, fragment: bool = False) -> Any:
        """The next message or fragment."""
        await checkpoint_if_cancelled()
        if self.receiving:
            raise already_receiving("recv_streaming" if fragment else "recv", "coroutine")
        if self.streaming_broken and not fragment:
            raise ConcurrencyError(STREAMING_BROKEN)
        item = self._take(fragment)
        if item is not None or self.session.phase != 1:  # there may be nothing to wait for
            await cancel_shielded_checkpoint()
        self.receiving = True
        try:
            while item is None:
                if iterating and self.session.phase != 1 and self.session.ended_normally():
                    # The loop over messages ends with the close frame, not only with TCP.
                    raise StopAsyncIteration
                if self.session.pending_fault is not None:
                    self.session.settle(trio.current_time())
                    self._attend()
                if self.lost:
                    raise self.session.close_exception()
                await self._wait_for_more()
                item = self._take(fragment)
        finally:
            self.receiving = False
        return item

    def _take(self, fragment: bool) -> Any:
        inbox = self.session.inbox
        item = inbox.take_fragment() if fragment else inbox.take()
        if inbox.paused and inbox.drained():
            self._resume_reading()
        return item

    async def _wait_for_more(self) -> None:
        def abort(raise_cancel: object) -> trio.lowlevel.Abort:
            self.receiver = None
            return trio.lowlevel.Abort.SUCCEEDED

        self.receiver = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    def _wake_receiver(self) -> None:
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            trio.lowlevel.reschedule(receiver)

    async def _fail_undecodable(self, fault: UnicodeDecodeError) -> NoReturn:
        self.session.fault(fault, trio.current_time())
        self._attend()
        await self.wait_closed()
        raise self.session.close_exception() from fault

    def __aiter__(self) -> AsyncIterator[Data]:
        return Messages(self)

    async def __anext__(self) -> Data:
        message: Data = await self._receive(iterating=True)
        return message

    async def recv_streaming(self, decode: bool | None = None) -> AsyncIterator[Data]:
        """Receive the next message in its fragments, as they come (RFC 6455 section 5.4).

        Leaving the loop before the end of the message makes the connection useless for receiving: close it.

        Args:
            decode: True gives str, False bytes; None goes by the type of the message.

        Raises:
            ConnectionClosed: if the connection is closed.
            ConcurrencyError: if two tasks receive at the same time.
        """
        if self.streaming_broken:
            raise ConcurrencyError(STREAMING_BROKEN)
        decoder = FragmentDecoder(decode)
        while not decoder.done:
            item: Data | Fragment = await self._receive(fragment=True)
            try:
                data = decoder.convert(item)
            except UnicodeDecodeError as error:
                fault = error
            else:
                self.streaming_broken = not decoder.done
                yield data
                continue
            await self._fail_undecodable(fault)

    async def recv_json(self, type: Any = None) -> Any:
        """Receive the next message and decode its JSON.

        Args:
            type: what it must be: any type that msgspec knows, such as a Struct, a dataclass or a TypedDict; None takes
                any value.

        Raises:
            InvalidJSON: if it isn't JSON or not of that type; the connection stays usable.
            ConnectionClosed: if the connection is closed.
        """
        return json.decode(await self.recv(), type)

    # Sending

    async def send(
        self,
        message: DataLike | Iterable[DataLike] | AsyncIterable[DataLike] | PreparedMessage,
        *,
        text: bool | None = None,
        compress: bool | None = None,
    ) -> None:
        """Send a message: str as text, bytes-like as binary, an iterable of either, sync or async, in fragments.

        It waits while more than `write_limit` bytes are on their way to the peer, or another task sends fragments.

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
        await checkpoint_if_cancelled()
        while self.fragmenting is not None:
            await self.fragmenting.wait()
        if self.session.phase != 1:
            await self._raise_closed()
        if not self.put(message, text, compress):
            FragmentedMessage.check(message)
            await self._send_fragments(message, FragmentedMessage(self.session, text, compress))
            return
        self._flush()
        if self.backlog_size > self.high or self.aborted:
            await self._wait_until_drained()
        else:
            await cancel_shielded_checkpoint()

    async def _send_fragments(self, fragments: Any, sending: FragmentedMessage) -> None:
        self.fragmenting = trio.Event()
        try:
            if isinstance(fragments, AsyncIterable):
                async for fragment in fragments:
                    await self._send_fragment(sending, fragment)
            else:
                for fragment in fragments:
                    await self._send_fragment(sending, fragment)
            sending.finish()
            await self._flush_or_raise()
        except BaseException as error:
            if sending.abandon(error, trio.current_time()):
                self._attend()
            raise
        finally:
            self.fragmenting.set()
            self.fragmenting = None

    async def _send_fragment(self, sending: FragmentedMessage, fragment: DataLike) -> None:
        sending.add(fragment)
        self._flush()
        if self.backlog_size > self.high or self.aborted:
            await self._wait_until_drained()
        else:
            await trio.lowlevel.checkpoint()

    async def send_json(self, obj: Any) -> None:
        """Send an object as a text message of JSON: whatever msgspec encodes, such as Structs, dataclasses, datetimes.

        Raises:
            TypeError: if `obj` can't be JSON.
            ConnectionClosed: if the connection is closed.
        """
        await self.send(json.encode(obj), text=True)

    async def ping(self, data: DataLike | None = None, *, ack_on_close: bool = False) -> trio.Event:
        """Send a ping (RFC 6455 section 5.5.2).

        Args:
            data: payload of at most 125 bytes, None for a random one.
            ack_on_close: whether the event is set, too, when the connection is closed before the pong comes.

        Returns:
            An event that is set when the pong, or that of a later ping, comes. `latency` has the time it took.

        Raises:
            ConnectionClosed: if the connection is closed.
            ConcurrencyError: if a ping with the same data waits for its pong.
        """
        payload = None if data is None else control_payload(data)
        await checkpoint_if_cancelled()
        if self.session.phase != 1:
            await self._raise_closed()
        answered = trio.Event()
        try:
            self.session.ping(payload, (answered, ack_on_close), trio.current_time())
        except ValueError as error:
            raise ConcurrencyError(str(error)) from None
        await self._flush_or_raise()
        return answered

    async def pong(self, data: DataLike = b"") -> None:
        """Send an unsolicited pong (section 5.5.3).

        Raises:
            ConnectionClosed: if the connection is closed.
        """
        payload = control_payload(data)
        await checkpoint_if_cancelled()
        if self.session.phase != 1:
            await self._raise_closed()
        self.session.send(10, payload)
        await self._flush_or_raise()

    async def _flush_or_raise(self) -> None:
        """Write what is so short that it needn't wait for the peer."""
        self._flush()
        if self.aborted:
            await self._raise_closed()
        await cancel_shielded_checkpoint()

    async def _raise_closed(self) -> NoReturn:
        await self.wait_closed()
        raise self.session.close_exception()

    # Closing

    async def aclose(self, code: CloseCode | int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Do the closing handshake (section 7.1.2), and wait until the connection is closed.

        A peer that doesn't answer within `close_timeout` is dropped, and so is one for whose answer we can't wait
        because of a cancellation. Closing a closed connection does nothing.

        Args:
            code: 1000 to 1014 but those reserved, or 3000 to 4999.
            reason: at most 123 bytes in UTF-8.

        Raises:
            ProtocolError: if `code` or `reason` can't be sent.
        """
        self.start_closing(code, reason)
        try:
            await self.wait_closed()
        except trio.Cancelled:
            self.abort()
            with trio.CancelScope(shield=True):
                await self.closed_event.wait()
            raise

    def start_closing(self, code: CloseCode | int, reason: str) -> None:
        """Send the close frame, if the connection is open."""
        if self.session.phase == 1:
            self.begin_closing(code, reason, self.fragmenting is not None, trio.current_time())
            self._attend()

    def abort(self) -> None:
        """Drop the connection now."""
        self.aborted = True
        self.reading.cancel()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, TCP included."""
        await self.closed_event.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        await self.aclose(CloseCode.NORMAL_CLOSURE if kind is None else CloseCode.INTERNAL_ERROR)

    # Reading, from the opening handshake to the end

    def start(self, subprotocol: Any, extensions: Any, rest: bytes) -> None:
        """The opening handshake is done; `rest` is what came behind it."""
        self.begin(subprotocol, extensions, trio.current_time())
        self._schedule()
        if rest:
            self._receive_data(rest)
        self.spawn(self._run)

    async def _run(self) -> None:
        """The task that reads, and that ends the connection."""
        error: BaseException | None = None
        graceful = 0.0
        try:
            with self.reading:
                await self._read()
                await self._send_the_rest()
            if not self.aborted:
                graceful = seconds(self.options.close_timeout)
        except LOST as lost:
            error = lost.__cause__ or lost
        except trio.Cancelled:  # most likely the program ends: tell the peer, but don't wait for it
            self.start_closing(CloseCode.GOING_AWAY, "")
            raise
        except Exception as unexpected:
            self.logger.error("unexpected internal error", exc_info=True)
            error = unexpected
        finally:
            await self.io.close(graceful)
            self._lose(error)

    async def _read(self) -> None:
        inbox = self.session.inbox
        while True:
            if inbox.paused:
                self.resumed = trio.Event()
                await self.resumed.wait()
            data = await self.io.receive()
            if not data:
                break
            self._receive_data(data)
        self.session.receive_eof(trio.current_time())
        self._attend()

    def _receive_data(self, data: bytes) -> None:
        session = self.session
        session.receive_data(data, trio.current_time())
        if self.receiver is not None:
            if len(session.inbox) > 0:
                self._wake_receiver()
            elif session.pending_fault is not None:
                session.settle(session.now)
        if session.inbox.overflows() and session.phase == 1:
            session.inbox.paused = True
        if session.attention:
            self._attend()
        elif session.outgoing_size > 0:
            self._flush()

    def _resume_reading(self) -> None:
        self.session.inbox.paused = False
        if self.resumed is not None:
            self.resumed.set()

    async def _send_the_rest(self) -> None:
        """A peer that ended its half and doesn't read can't keep the connection: the session is done with it."""
        with trio.move_on_after(seconds(self.options.close_timeout)):
            while self.backlog_size > 0:
                await self._wait_until_drained()

    def _lose(self, error: BaseException | None) -> None:
        """The connection is gone: tell all who wait."""
        self.end(error, trio.current_time())
        self.lost = True
        self.backlog.clear()
        self.backlog_size = 0
        if self.timer is not None:
            self.timer.cancel()
        self._wake_receiver()
        self._set_drained()
        for token, _ in self.session.pings.values():
            if token is not None and token[1]:
                token[0].set()
        self.session.pings.clear()
        self.closed_event.set()

    # Writing

    def _flush(self) -> None:
        """Write what the session has to send, as far as that goes without waiting."""
        outgoing = self.session.take_outgoing()
        if outgoing and not self.lost:
            self.write(outgoing[0] if len(outgoing) == 1 else b"".join(outgoing))

    def write(self, data: bytes) -> None:
        """Write at once what can be written at once, the rest in a task."""
        written = 0
        if not self.writing:
            try:
                written = self.io.write_now(data)
            except OSError as error:
                self._break(error)
                return
            if written == len(data):
                return
        self.backlog.append(data[written:] if written else data)
        self.backlog_size += len(data) - written
        if self.backlog_size > self.high:
            self.session.set_backlogged(True)
        if not self.writing:
            self.writing = True
            self.spawn(self._write_backlog)

    async def _write_backlog(self) -> None:
        """The task that writes what could not be written at once."""
        try:
            while self.backlog:
                data = b"".join(self.backlog)
                self.backlog.clear()
                await self.io.write(data)
                self.backlog_size -= len(data)
                if self.backlog_size <= self.low:
                    self._set_drained()
        except LOST as lost:
            self._break(lost.__cause__ or lost)
        finally:
            self.writing = False
        if self.eof_sent and not self.lost:
            await self._end_stream()

    def _break(self, error: BaseException) -> None:
        """Writing failed: so will reading, but perhaps not yet."""
        if self.session.phase == 1 and self.session.failure is None:
            self.session.failure = error
        self.abort()

    async def _wait_until_drained(self) -> None:
        if self.drained is None:
            self.drained = trio.Event()
        await self.drained.wait()
        if self.lost:
            raise self.session.close_exception()

    def _set_drained(self) -> None:
        drained, self.drained = self.drained, None
        if drained is not None:
            drained.set()
        if self.session.backlogged:
            self.session.set_backlogged(False)
            self._flush()

    # Besides messages

    def _attend(self) -> None:
        """Something besides messages happened in the session: pongs, closing, deadlines."""
        session = self.session
        session.attention = False
        for (answered, _), _ in session.acknowledged:
            answered.set()
        session.acknowledged = []
        if session.phase == 2:
            self._resume_reading()  # the peer's close frame stands behind messages that nobody may read any more
        if self.receiver is not None and session.ended_normally():
            self._wake_receiver()
        self._flush()
        if session.expired:
            self.abort()
        elif session.eof_wanted and not self.eof_sent and not self.lost:
            self.eof_sent = True
            if not self.writing:
                self.spawn(self._end_stream)
        self._schedule()

    async def _end_stream(self) -> None:
        if self.debug:
            self.logger.debug("x half-closing TCP connection")
        if self.io.can_end():
            await self.io.end()
        else:
            self.reading.cancel()

    def _schedule(self) -> None:
        """Keep a task for the session's deadline; one that wakes too early is cheaper than moving it."""
        deadline = self.session.deadline()
        if deadline is None or self.lost:
            return
        if self.timer is None:
            self.timer = trio.CancelScope(deadline=deadline)
            self.spawn(self._keep_time)
        elif deadline < self.timer.deadline:
            self.timer.deadline = deadline

    async def _keep_time(self) -> None:
        """The task that waits for deadlines."""
        session = self.session
        while not self.lost:
            assert self.timer is not None, "it is set before this starts"
            with self.timer:
                await trio.sleep_forever()
            deadline, now = session.deadline(), trio.current_time()
            if deadline is not None and deadline <= now and not self.lost:
                self.meet_deadline(now)
                self._attend()
                deadline = session.deadline()
            self.timer = trio.CancelScope(deadline=math.inf if deadline is None else deadline)
            if self.lost:
                return

    # Broadcasting

    def broadcast(self, message: PreparedMessage) -> object:
        """Send without waiting; returns why that was not possible, in words or as an exception, or None."""
        if self.fragmenting is not None:
            return "sending a fragmented message"
        if self.backlog_size > BROADCAST_BACKLOG:
            self.skipped_broadcasts += 1
            return "the peer reads too slowly"
        self.session.send_prepared(message)
        self._flush()
        return self.session.failure if self.aborted else None


class Messages(AsyncIterator["Data"]):
    """What `async for` goes through. `contextlib.aclosing`, which trio wants around generators, ends it alone."""

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection

    async def __anext__(self) -> Data:
        if self._connection is None:
            raise StopAsyncIteration
        message: Data = await self._connection._receive(iterating=True)
        return message

    async def aclose(self) -> None:
        """Give no more messages."""
        self._connection = None


async def broadcast(
    connections: Iterable[Connection],
    message: DataLike | PreparedMessage,
    *,
    text: bool | None = None,
    raise_exceptions: bool = False,
) -> None:
    await checkpoint_if_cancelled()
    broadcast_now(connections, message, text=text, raise_exceptions=raise_exceptions)
    await cancel_shielded_checkpoint()


broadcast.__doc__ = broadcast_now.__doc__


def seconds(timeout: float | None) -> float:
    """A timeout as trio has it."""
    return math.inf if timeout is None else timeout

"""How tasks of trio wait for the messages of a connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NoReturn, TypeVar, overload

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled

from trunkline import json
from trunkline.core.inbox import Fragment, convert
from trunkline.core.phases import OPEN
from trunkline.core.session import Side
from trunkline.endpoint.connection import STREAMING_BROKEN, already_receiving
from trunkline.endpoint.fragments import FragmentDecoder
from trunkline.endpoint.life import Life
from trunkline.endpoint.messages import AsyncMessages
from trunkline.exceptions import ConcurrencyError
from trunkline.options import Options
from trunkline.trio.carrier import StreamCarrier
from trunkline.trio.stream import StreamIO
from trunkline.typing import Data, LoggerLike

__all__ = ["ReceivingConnection"]

T = TypeVar("T")


class ReceivingConnection(Life):
    """The half of a `Connection` that receives."""

    def __init__(
        self,
        nursery: trio.Nursery | None,
        stream: trio.abc.Stream,
        side: Side,
        options: Options,
        logger: LoggerLike | None = None,
    ) -> None:
        super().__init__(side, trio.current_time, options, logger)
        self.stream = stream
        self.io = StreamIO(stream)
        self.carrier: StreamCarrier = StreamCarrier(self, self.io, nursery)
        self.receiver: trio.lowlevel.Task | None = None  # the task that waits for a message
        self.receiving = False
        self.streaming_broken = False
        self.writable: trio.Event | None = None  # that of `send` calls which wait for the peer to read
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
        if item is not None or self.session.phase != OPEN:  # there may be nothing to wait for
            await cancel_shielded_checkpoint()
        self.receiving = True
        try:
            while item is None:
                if iterating and self.session.phase != OPEN and self.session.ended_normally():
                    # The loop over messages ends with the close frame, not only with TCP.
                    raise StopAsyncIteration
                if self.session.pending_fault is not None:
                    self.session.settle(self.clock())
                    self.attend()
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
        if inbox.paused:
            self.read_on_if_drained()
        return item

    async def _wait_for_more(self) -> None:
        def abort(raise_cancel: object) -> trio.lowlevel.Abort:
            self.receiver = None
            return trio.lowlevel.Abort.SUCCEEDED

        self.receiver = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)

    async def _fail_undecodable(self, fault: UnicodeDecodeError) -> NoReturn:
        self.session.fault(fault, self.clock())
        self.attend()
        await self.wait_closed()
        raise self.session.close_exception() from fault

    def __aiter__(self) -> AsyncIterator[Data]:
        return Messages(self) if self.is_ours("recv", RECV) else AsyncMessages(self)

    async def __anext__(self) -> Data:
        return await anext(aiter(self))

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

    @overload
    async def recv_json(self, type: type[T]) -> T: ...
    @overload
    async def recv_json(self, type: Any = None) -> Any: ...
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

    # For the life

    def wake_receiver(self) -> bool:
        receiver = self.receiver
        if receiver is None:
            return False
        if not (len(self.session.inbox) > 0 or self.session.ended_normally() or self.lost):
            return True
        self.receiver = None
        trio.lowlevel.reschedule(receiver)
        return False

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, TCP included."""
        await self.closed_event.wait()


RECV = ReceivingConnection.recv  # before a test or a tracer puts another in its place


class Messages(AsyncIterator["Data"]):
    """What `async for` goes through. `contextlib.aclosing`, which trio wants around generators, ends it alone."""

    def __init__(self, connection: ReceivingConnection) -> None:
        self._connection: ReceivingConnection | None = connection

    async def __anext__(self) -> Data:
        if self._connection is None:
            raise StopAsyncIteration
        message: Data = await self._connection._receive(iterating=True)
        return message

    async def aclose(self) -> None:
        """Give no more messages."""
        self._connection = None

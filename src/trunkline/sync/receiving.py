"""How threads wait for the messages of a connection."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any, TypeVar, overload

from trunkline import json
from trunkline.core.inbox import convert
from trunkline.core.phases import OPEN
from trunkline.core.session import Side
from trunkline.endpoint.connection import STREAMING_BROKEN, already_receiving
from trunkline.endpoint.fragments import FragmentDecoder
from trunkline.endpoint.life import Life
from trunkline.endpoint.messages import messages
from trunkline.exceptions import ConcurrencyError
from trunkline.options import Options
from trunkline.sync.carrier import SocketCarrier
from trunkline.sync.stream import Stream
from trunkline.typing import Data, LoggerLike

__all__ = ["ReceivingConnection"]

T = TypeVar("T")


class ReceivingConnection(Life):
    """The half of a `Connection` that receives."""

    def __init__(self, stream: Stream, side: Side, options: Options, logger: LoggerLike | None = None) -> None:
        super().__init__(side, monotonic, options, logger)
        self.stream = stream
        self.carrier: SocketCarrier = SocketCarrier(self, stream)
        self.mutex = self.carrier.mutex
        self.receiving = False  # a thread is in recv()
        self.streaming_broken = False

    @property
    def socket(self) -> Any:
        """The socket, which tells of TLS, too, if there is any."""
        return self.carrier.fact("socket")

    @property
    def local_address(self) -> Any:
        """Address of this end, as `socket.getsockname` gives it; None if unknown."""
        return self.carrier.fact("sockname")

    @property
    def remote_address(self) -> Any:
        """Address of the other end, as `socket.getpeername` gives it; None if unknown."""
        return self.carrier.fact("peername")

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
        if not self.is_ours("recv", RECV):
            yield from messages(self)
            return
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

    @overload
    def recv_json(self, type: type[T], *, timeout: float | None = None) -> T: ...
    @overload
    def recv_json(self, type: Any = None, *, timeout: float | None = None) -> Any: ...
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
                    if inbox.paused:
                        self.read_on_if_drained()
                    if item is not None or (iterating and self._ended_normally()):
                        return item
                    if self.session.pending_fault is not None:
                        self.session.settle(monotonic())
                        self.attend()
                    if self.lost:
                        raise self.session.close_exception()
                    if not self.carrier.wait(due):
                        raise TimeoutError(f"timed out in {timeout:.1f}s")
            finally:
                self.receiving = False

    def _ended_normally(self) -> bool:
        """The loop over messages ends with the close frame, not only with TCP."""
        return self.session.phase != OPEN and self.session.ended_normally()

    def _fail_undecodable(self, fault: UnicodeDecodeError) -> Exception:
        with self.mutex:
            self.session.fault(fault, monotonic())
            self.attend()
            self._wait_for_end(None)
            return self.session.close_exception()

    # Waiting

    def _wait_for_end(self, timeout: float | None) -> bool:
        """With `mutex`. As long as messages may come, the thread that receives them reads, or the watcher."""
        due = None if timeout is None else monotonic() + timeout
        while not self.lost:
            if self.session.phase == OPEN:
                remaining = None if due is None else max(0.0, due - monotonic())
                if not self.carrier.wait_for_change(remaining):
                    return False
            elif not self.carrier.wait(due):
                return False
        return True

    def _before_use(self) -> None:
        """For a subclass that cares how it is used."""


RECV = ReceivingConnection.recv  # before a test or a tracer puts another in its place

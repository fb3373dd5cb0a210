"""A WebSocket connection on trio, once it is open: the same for clients and servers, over any stream.

`Connection` adds to a `Life` the calls of the program, and how tasks wait in them. Its `StreamCarrier` moves the bytes.

Every asynchronous method is a checkpoint, also when it needn't wait. A call that is cancelled
before it did anything has no effect; a message on its way leaves as a whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Any, NoReturn, Self

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled

from trunkline import json
from trunkline.core.opcodes import PONG
from trunkline.core.phases import OPEN
from trunkline.core.writer import PreparedMessage
from trunkline.endpoint.broadcast import broadcast as broadcast_now
from trunkline.endpoint.connection import control_payload
from trunkline.endpoint.fragments import FragmentedMessage
from trunkline.exceptions import ConcurrencyError
from trunkline.frames import CloseCode
from trunkline.trio.receiving import ReceivingConnection
from trunkline.typing import DataLike

__all__ = ["Connection", "broadcast"]


class Connection(ReceivingConnection, trio.abc.AsyncResource):
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

    # Sending

    async def send(
        self,
        message: DataLike | Iterable[DataLike] | AsyncIterable[DataLike] | PreparedMessage,
        *,
        text: bool | None = None,
        compress: bool | None = None,
    ) -> None:
        """Send a message: str as text, bytes-like as binary, an iterable of either, sync or async, in fragments.

        It waits while more than `write_limit` bytes are on their way to the peer, or another task sends fragments. With
        TLS it waits until all bytes are on their way.

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
        if self.session.phase != OPEN:
            await self._raise_closed()
        if not self.put(message, text, compress):
            FragmentedMessage.check(message)
            await self._send_fragments(message, FragmentedMessage(self.session, text, compress))
            return
        self.flush()
        if self.writing_paused:
            await self._wait_until_writable()
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
            if sending.abandon(error, self.clock()):
                self.attend()
            raise
        finally:
            self.fragmenting.set()
            self.fragmenting = None

    async def _send_fragment(self, sending: FragmentedMessage, fragment: DataLike) -> None:
        sending.add(fragment)
        self.flush()
        if self.writing_paused:
            await self._wait_until_writable()
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
        if self.session.phase != OPEN:
            await self._raise_closed()
        answered = trio.Event()
        try:
            self.session.ping(payload, (answered, ack_on_close), self.clock())
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
        if self.session.phase != OPEN:
            await self._raise_closed()
        self.session.send(PONG, payload)
        await self._flush_or_raise()

    async def _flush_or_raise(self) -> None:
        """Write what is so short that it needn't wait for the peer."""
        self.flush()
        if self.carrier.aborted:
            await self._raise_closed()
        if self.writing_paused and not self.carrier.io.writes_at_once():
            await self._wait_until_writable()
        else:
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

    def abort(self) -> None:
        """Drop the connection now."""
        self.carrier.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        await self.aclose(CloseCode.NORMAL_CLOSURE if kind is None else CloseCode.INTERNAL_ERROR)

    # Events that tasks wait for

    async def _wait_until_writable(self) -> None:
        if self.writable is None:
            self.writable = trio.Event()
        await self.writable.wait()
        if self.lost:
            raise self.session.close_exception()

    def wake_senders(self) -> None:
        writable, self.writable = self.writable, None
        if writable is not None:
            writable.set()

    def acknowledge(self, token: tuple[trio.Event, bool], latency: float) -> None:
        answered, _ = token
        answered.set()

    def give_up_ping(self, token: tuple[trio.Event, bool]) -> None:
        answered, ack_on_close = token
        if ack_on_close:
            answered.set()

    def tell_lost(self) -> None:
        self.closed_event.set()

    def start(self, subprotocol: Any, extensions: Any, rest: bytes) -> None:
        super().start(subprotocol, extensions, rest)
        self.carrier.start()


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

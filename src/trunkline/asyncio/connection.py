"""A WebSocket connection on asyncio, once it is open: the same for clients and servers, over any transport.

`Connection` is ordinary Python, never compiled: so its coroutines are what `inspect` takes for coroutines, programs
can replace its methods, and type checkers read them. `Link`, below, has the parts that must be fast.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from trunkline import json
from trunkline.asyncio.coroutines import fail_streaming, fail_undecodable
from trunkline.asyncio.link import Link
from trunkline.core.opcodes import PONG
from trunkline.core.phases import OPEN
from trunkline.endpoint.broadcast import broadcast
from trunkline.endpoint.connection import control_payload
from trunkline.endpoint.fragments import FragmentDecoder
from trunkline.exceptions import ConcurrencyError
from trunkline.frames import CloseCode
from trunkline.typing import Data, DataLike

__all__ = ["Connection", "broadcast"]

T = TypeVar("T")


class Connection(Link):
    """A WebSocket connection, open or closed. Made by `connect` and `serve`.

    Attributes:
        id: a `UUID`, to tell connections apart in logs.
        logger: logger with `websocket` in its extra data.
        request, response: the opening handshake (`Request`, `Response`), or None.
        transport: the asyncio transport.
        on_writable: called without arguments when the peer keeps up again, see `send_nowait`; None by default.
        on_closing: called without arguments, once, when the connection isn't open any more, also while messages that
            came before are still to be received; None by default.

    Iterate over it to receive messages until the peer closes the connection normally::

        async for message in websocket:
            ...

    A connection belongs to one event loop. Any number of tasks may send; one at a time may receive.
    """

    # Receiving

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
            await fail_streaming()
        decoder = FragmentDecoder(decode)
        while not decoder.done:
            item = await self.receive_fragment()
            try:
                data = decoder.convert(item)
            except UnicodeDecodeError as fault:
                await fail_undecodable(self, fault)
            self.streaming_broken = not decoder.done
            yield data

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

    # Sending

    async def ping(self, data: DataLike | None = None) -> Awaitable[float]:
        """Send a ping (RFC 6455 section 5.5.2).

        Args:
            data: payload of at most 125 bytes, None for a random one.

        Returns:
            A future of the latency in seconds, which also a later ping's pong completes.

        Raises:
            ConnectionClosed: if the connection is closed.
            ConcurrencyError: if a ping with the same data waits for its pong.
        """
        payload = None if data is None else control_payload(data)
        await self._ready_to_send()
        waiter: asyncio.Future[float] = self.loop.create_future()
        try:
            self.session.ping(payload, waiter, self.clock())
        except ValueError as error:
            raise ConcurrencyError(str(error)) from None
        await self.drain()
        return waiter

    async def pong(self, data: DataLike = b"") -> None:
        """Send an unsolicited pong (section 5.5.3).

        Raises:
            ConnectionClosed: if the connection is closed.
        """
        payload = control_payload(data)
        await self._ready_to_send()
        self.session.send(PONG, payload)
        await self.drain()

    async def _ready_to_send(self) -> None:
        if self.session.phase != OPEN:
            await self.wait_closed()
            raise self.session.close_exception()

    # Closing

    async def close(self, code: CloseCode | int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Do the closing handshake (section 7.1.2), and wait until the connection is closed.

        A peer that doesn't answer within `close_timeout` is dropped. Closing a closed connection does nothing.

        Args:
            code: 1000 to 1014 but those reserved, or 3000 to 4999.
            reason: at most 123 bytes in UTF-8.

        Raises:
            ProtocolError: if `code` or `reason` can't be sent.
        """
        self.start_closing(code, reason)
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, TCP included."""
        if self.lost:
            return
        if self.closed_waiter is None:
            self.closed_waiter = self.loop.create_future()
        await asyncio.shield(self.closed_waiter)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close(CloseCode.NORMAL_CLOSURE if kind is None else CloseCode.INTERNAL_ERROR)

"""The ways of `recv` and `send` that wait more than once, for a `Link`.

They are coroutines of Python, not of Cython: programs and frameworks ask `inspect.iscoroutine`, which knows no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from threading import get_ident
from typing import Any, NoReturn, Protocol

from trunkline.core.inbox import convert
from trunkline.core.phases import OPEN
from trunkline.core.session import Session
from trunkline.endpoint.connection import STREAMING_BROKEN
from trunkline.endpoint.fragments import FragmentedMessage
from trunkline.exceptions import ConcurrencyError
from trunkline.typing import Data

__all__ = [
    "fail", "fail_streaming", "fail_undecodable", "no_more", "recv_as", "send_fragments", "send_later",
]  # fmt: skip


class Receiver(Protocol):
    """The receiving part of a connection, as these coroutines need it."""

    session: Session
    clock: Callable[[], float]

    def attend(self) -> None: ...
    def wait_closed(self) -> Awaitable[None]: ...


class Sender(Receiver, Protocol):
    """The sending part of a connection, as these coroutines need it."""

    loop: asyncio.AbstractEventLoop
    thread: int
    fragmenting: asyncio.Future[None] | None
    writing_paused: bool

    def drain(self) -> Awaitable[None]: ...
    def tell_writable(self) -> None: ...


async def fail(error: Exception) -> None:
    """Raise an error where its result is awaited."""
    raise error


# Receiving


async def recv_as(connection: Receiver, message: Awaitable[Data], decode: bool) -> Data:
    """Receive a message as str or as bytes."""
    received = await message
    try:
        return convert(received, decode)
    except UnicodeDecodeError as fault:
        await fail_undecodable(connection, fault)


async def fail_undecodable(connection: Receiver, fault: UnicodeDecodeError) -> NoReturn:
    """Close the connection, since it received text that isn't any (RFC 6455 section 8.1)."""
    connection.session.fault(fault, connection.clock())
    connection.attend()
    await connection.wait_closed()
    raise connection.session.close_exception() from fault


async def fail_streaming() -> Data:
    """Refuse to receive: a part of a message is missing."""
    raise ConcurrencyError(STREAMING_BROKEN)


async def no_more() -> Data:
    """End a loop over messages."""
    raise StopAsyncIteration


# Sending


async def send_later(connection: Sender, send: Callable[[], Awaitable[None]]) -> None:
    """Send a message that must wait before it is written."""
    connection.thread = get_ident()
    while connection.fragmenting is not None:
        await asyncio.shield(connection.fragmenting)
    if connection.session.phase != OPEN:
        await connection.wait_closed()
        raise connection.session.close_exception()
    await send()


async def send_fragments(connection: Sender, message: Any, text: bool | None, compress: bool | None) -> None:
    """Send a message in the fragments of an iterable."""
    FragmentedMessage.check(message)
    fragments = message if isinstance(message, AsyncIterable) else each(message)
    sending = FragmentedMessage(connection.session, text, compress)
    connection.fragmenting = connection.loop.create_future()
    try:
        async for fragment in fragments:
            sending.add(fragment)
            await connection.drain()
        sending.finish()
    except BaseException as error:
        if sending.abandon(error, connection.clock()):
            connection.attend()
        raise
    finally:
        fragmenting, connection.fragmenting = connection.fragmenting, None
        fragmenting.set_result(None)
        if not connection.writing_paused:
            connection.tell_writable()
    await connection.drain()


async def each(items: Iterable[Any]) -> AsyncIterator[Any]:
    """An asynchronous iterator over an iterable."""
    for item in items:
        yield item

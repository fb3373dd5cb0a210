"""A connection to the server of a broker: the commands of a turn of the event loop leave in one write."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, cast

__all__ = ["ConnectionLost", "Wire", "fail"]


class ConnectionLost(Exception):  # noqa: N818  # says what happened
    """The connection ended before the answer came: the server may have carried out the command, or not."""


class Wire(asyncio.Protocol):
    """One connection, from its beginning to its end. A subclass knows the language of the server.

    Args:
        on_lost: called when the connection has ended, before callers that wait for an answer go on.

    Attributes:
        lost: done when the connection has ended; its result says why.
        received: number of times that bytes came.
    """

    def __init__(self, on_lost: Callable[[Any], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._commands: list[bytes] = []  # that leave at the end of this turn
        self._why = ""
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self.received = 0

    @abstractmethod
    def ping(self) -> asyncio.Future[Any]:
        """Ask for a sign of life."""

    @abstractmethod
    def _give_up(self, why: str) -> None:
        """Fail all that is awaited: the connection has ended."""

    def _write(self, command: bytes) -> None:
        """Send a command at the end of this turn, if the connection hasn't ended."""
        if self.lost.done():
            return
        if not self._commands:
            self._loop.call_soon(self._flush)
        self._commands.append(command)

    def abort(self, why: str) -> None:
        """End the connection at once."""
        self._why = self._why or why
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Send what waits, and end the connection."""
        self._flush()
        self._why = self._why or "it was closed"
        if self._transport is not None:
            self._transport.close()

    def _flush(self) -> None:
        if self._commands and self._transport is not None:
            self._transport.write(b"".join(self._commands))
        self._commands.clear()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        why = self._why or (str(error) if error is not None else "") or "the server ended the connection"
        self.lost.set_result(why)
        self._on_lost(self)
        self._give_up(why)


def fail(answer: asyncio.Future[Any], why: str) -> None:
    """Tell a caller, unless it has given up, that the connection has ended."""
    if not answer.done():
        answer.set_exception(ConnectionLost(why))
        answer.exception()  # its caller may have gone: asyncio needn't log that

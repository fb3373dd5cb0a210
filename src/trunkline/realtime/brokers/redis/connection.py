"""A connection to Redis: the commands of a turn of the event loop leave in one write."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from trunkline.realtime.brokers.link import ConnectionLost
from trunkline.realtime.brokers.redis.resp import Parser, Push, RedisError, RespError, command

__all__ = ["Connection"]


class Connection(asyncio.Protocol):
    """One connection, from its beginning to its end.

    Args:
        on_pushes: called with what the server says without being asked, all that came together.
        on_lost: called when the connection has ended, before callers that wait for an answer go on.

    Attributes:
        lost: done when the connection has ended; its result says why.
        received: number of times that bytes came.
    """

    def __init__(
        self,
        on_pushes: Callable[[list[Push]], None] | None = None,
        on_lost: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_pushes = on_pushes
        self._on_lost = on_lost
        self._parser = Parser()
        self._transport: asyncio.Transport | None = None
        self._commands: list[bytes] = []  # that leave at the end of this turn
        self._answers: deque[asyncio.Future[Any]] = deque()  # that are awaited
        self._why = ""
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self.received = 0

    def call(self, *args: bytes) -> asyncio.Future[Any]:
        """Send a command. The future has the answer, `RedisError` or `ConnectionLost`."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        if self.lost.done():
            _fail(answer, self.lost.result())
            return answer
        self._answers.append(answer)
        self.send(*args)
        return answer

    def send(self, *args: bytes) -> None:
        """Send a command that has no answer but pushes, such as SUBSCRIBE."""
        if not self._commands:
            self._loop.call_soon(self._flush)
        self._commands.append(command(*args))

    def ping(self) -> asyncio.Future[Any]:
        """Ask for a sign of life."""
        return self.call(b"PING")

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

    def data_received(self, data: bytes) -> None:
        self.received += 1
        try:
            values = self._parser.feed(data)
        except RespError as error:
            self.abort(f"it doesn't speak RESP: {error}")
            return
        pushes = [value for value in values if isinstance(value, Push)]
        for value in values:
            if not isinstance(value, Push):
                self._answer(value)
        if pushes and self._on_pushes is not None:
            self._on_pushes(pushes)

    def _answer(self, value: Any) -> None:
        if not self._answers:
            self.abort(f"it answered {value!r} to no command")
            return
        answer = self._answers.popleft()
        if answer.done():
            return  # the caller has given up
        if isinstance(value, RedisError):
            answer.set_exception(value)
        else:
            answer.set_result(value)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        why = self._why or (str(error) if error is not None else "") or "the server ended the connection"
        self.lost.set_result(why)
        self._on_lost(self)
        for answer in self._answers:
            if not answer.done():
                _fail(answer, why)
        self._answers.clear()


def _fail(answer: asyncio.Future[Any], why: str) -> None:
    answer.set_exception(ConnectionLost(why))
    answer.exception()  # its caller may have gone: asyncio needn't log that

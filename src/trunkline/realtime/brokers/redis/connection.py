"""A connection to Redis: the commands of a turn of the event loop leave in one write."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from trunkline.realtime.brokers.redis.resp import Parser, Push, RedisError, RespError, command
from trunkline.realtime.brokers.wire import Wire, fail

__all__ = ["Connection"]


class Connection(Wire):
    """A connection that speaks RESP.

    Args:
        on_pushes: called with what the server says without being asked, all that came together.
        on_lost: as for `Wire`.
    """

    def __init__(
        self,
        on_pushes: Callable[[list[Push]], None] | None = None,
        on_lost: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        super().__init__(on_lost)
        self._on_pushes = on_pushes
        self._parser = Parser()
        self._answers: deque[asyncio.Future[Any]] = deque()  # that are awaited

    def call(self, *args: bytes) -> asyncio.Future[Any]:
        """Send a command. The future has the answer, `RedisError` or `ConnectionLost`."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        if self.lost.done():
            fail(answer, self.lost.result())
            return answer
        self._answers.append(answer)
        self.send(*args)
        return answer

    def send(self, *args: bytes) -> None:
        """Send a command that has no answer but pushes, such as SUBSCRIBE."""
        self._write(command(*args))

    def ping(self) -> asyncio.Future[Any]:
        """Ask for a sign of life."""
        return self.call(b"PING")

    # asyncio.Protocol

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

    def _give_up(self, why: str) -> None:
        for answer in self._answers:
            fail(answer, why)
        self._answers.clear()

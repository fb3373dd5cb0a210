"""Coroutines that go on at once, and are awaited only if they wait for something.

Most commands wait for nothing. For these, a plain call takes a fraction of the time that a chain of coroutines takes.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Coroutine, Generator
from types import CoroutineType
from typing import Any, Final

__all__ = ["Paused", "begin", "result_of"]

#: Types of results that are no awaitables: asking `inspect` takes longer.
PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, list, dict, tuple})


class Paused:
    """A coroutine that waits for something, to be awaited by the task in which it began.

    Args:
        coroutine: that has begun.
        waits_for: what it gave to the event loop.
    """

    __slots__ = ("_coroutine", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Any]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    sent = yield waits_for
                except BaseException as error:
                    waits_for = self._coroutine.throw(error)
                else:
                    waits_for = self._coroutine.send(sent)
        except StopIteration as end:
            return end.value


def begin(awaitable: Awaitable[Any]) -> Any:
    """Go on with a coroutine until it waits for something. Returns its result, or a `Paused` that has the rest."""
    coroutine = awaitable if isinstance(awaitable, CoroutineType) else _wait_for(awaitable)
    try:
        return Paused(coroutine, coroutine.send(None))
    except StopIteration as end:
        return end.value


def result_of(value: Any) -> Any:
    """The result of a function of the program; an awaitable as `begin` has it."""
    if type(value) in PLAIN or not inspect.isawaitable(value):
        return value
    return begin(value)


async def _wait_for(awaitable: Awaitable[Any]) -> Any:
    return await awaitable

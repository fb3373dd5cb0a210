"""Deadlines that share timers: none is missed, none comes early, and past ones cost nothing."""

from __future__ import annotations

import asyncio
import gc
import weakref
from time import monotonic
from typing import Any

import pytest

from trunkline.asyncio.deadlines import Deadlines


class Loop:
    """An event loop as far as timers go; the test says when they fire."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Any, tuple[Any, ...]]] = []
        self.unseen: list[dict[str, Any]] = []

    def call_later(self, delay: float, callback: Any, *arguments: Any) -> None:
        self.timers.append((monotonic() + delay, callback, arguments))

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for _, callback, arguments in sorted(timers, key=lambda timer: timer[0]):
            callback(*arguments)


class Waiting:
    """An object that has a deadline."""

    def __init__(self) -> None:
        self.calls: list[float] = []

    def on_due(self, due: float) -> None:
        self.calls.append(due)


@pytest.mark.parametrize("seconds", [0.0005, 0.01, 0.1, 0.5, 1, 10, 20, 3600])
def test_a_deadline_is_never_early_and_at_most_a_little_late(seconds: float) -> None:
    loop = Loop()
    deadline = monotonic() + seconds
    due = Deadlines(loop).add(Waiting(), deadline)  # type: ignore[arg-type]
    assert deadline <= due <= deadline + max(seconds, 0.001) / 16


def test_a_deadline_that_has_passed_comes_at_once() -> None:
    loop, waiting = Loop(), Waiting()
    due = Deadlines(loop).add(waiting, monotonic() - 5)  # type: ignore[arg-type]
    assert due <= monotonic()
    loop.fire()
    assert waiting.calls == [due]


def test_a_deadline_that_has_passed_is_not_put_off() -> None:
    deadline = monotonic()
    assert Deadlines(Loop()).add(Waiting(), deadline) == deadline  # type: ignore[arg-type]


def test_thousands_of_connections_share_a_few_timers() -> None:
    loop = Loop()
    deadlines = Deadlines(loop)  # type: ignore[arg-type]
    waiting = [Waiting() for _ in range(5000)]
    start = monotonic()
    for i, one in enumerate(waiting):
        deadlines.add(one, start + 20 + i / 5000)
    assert len(loop.timers) < 10
    loop.fire()
    assert all(len(one.calls) == 1 for one in waiting)


def test_who_is_removed_is_not_called_and_not_kept() -> None:
    loop, waiting, other = Loop(), Waiting(), Waiting()
    deadlines = Deadlines(loop)  # type: ignore[arg-type]
    deadline = monotonic() + 20
    due = deadlines.add(waiting, deadline)
    assert deadlines.add(other, deadline) == due
    deadlines.remove(waiting, due)
    gone = weakref.ref(waiting)
    del waiting
    gc.collect()
    assert gone() is None
    loop.fire()
    assert other.calls == [due]
    deadlines.remove(other, due)  # too late, and no error


def test_who_is_called_may_wait_again_even_for_what_has_passed() -> None:
    loop = Loop()
    deadlines = Deadlines(loop)  # type: ignore[arg-type]

    class Persistent(Waiting):
        def on_due(self, due: float) -> None:
            super().on_due(due)
            deadlines.add(self, due)

    persistent = Persistent()
    deadlines.add(persistent, monotonic())
    for turn in range(1, 4):
        loop.fire()
        assert len(persistent.calls) == turn  # once for each turn of the loop, not for ever in one


def test_an_error_harms_no_other() -> None:
    unseen: list[dict[str, Any]] = []
    waiting = Waiting()

    class Broken:
        def on_due(self, due: float) -> None:
            raise ZeroDivisionError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: unseen.append(context))
        deadlines = Deadlines(loop)
        deadline = monotonic() + 0.001
        for one in (Broken(), waiting, Broken()):
            deadlines.add(one, deadline)
        while not (waiting.calls and len(unseen) == 2):
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(main(), 20))
    assert [type(context["exception"]) for context in unseen] == [ZeroDivisionError] * 2

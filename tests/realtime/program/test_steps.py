"""Coroutines that go on at once, and are awaited only if they wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.loop import run_clean
from trunkline.realtime.program.steps import Paused, begin, result_of


async def add(first: int, second: int) -> int:
    return first + second


async def fail() -> None:
    raise LookupError("nothing there")


def test_a_coroutine_that_waits_for_nothing_has_its_result_at_once() -> None:
    assert begin(add(1, 2)) == 3
    with pytest.raises(LookupError, match="nothing there"):
        begin(fail())


def test_what_a_function_returned() -> None:
    assert [result_of(value) for value in (None, 1, "a", {"b": 2})] == [None, 1, "a", {"b": 2}]
    assert result_of(add(1, 2)) == 3


def test_a_coroutine_that_waits_goes_on_in_the_task_in_which_it_began() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        tasks = [asyncio.current_task()]

        async def wait() -> int:
            tasks.append(asyncio.current_task())
            async with asyncio.timeout(10):
                first = await future
                await asyncio.sleep(0)
            tasks.append(asyncio.current_task())
            return first + 1

        paused = begin(wait())
        assert isinstance(paused, Paused)
        loop.call_soon(future.set_result, 1)
        assert await paused == 2
        assert len(set(tasks)) == 1
        other = result_of(future)
        assert other == 1

    run_clean(main)


@pytest.mark.parametrize("catches", [False, True])
def test_cancelling_reaches_the_coroutine(catches: bool) -> None:
    heard: list[str] = []

    async def main() -> None:
        async def wait() -> str:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                heard.append("cancelled")
                if not catches:
                    raise
            return "went on"

        async def task() -> Any:
            return await begin(wait())

        running = asyncio.create_task(task())
        await asyncio.sleep(0)
        running.cancel()
        [result] = await asyncio.gather(running, return_exceptions=True)
        assert result == "went on" if catches else isinstance(result, asyncio.CancelledError)

    run_clean(main)
    assert heard == ["cancelled"]


def test_an_error_after_waiting_is_raised_where_it_is_awaited() -> None:
    async def main() -> None:
        async def wait() -> None:
            await asyncio.sleep(0)
            raise LookupError("too late")

        with pytest.raises(LookupError, match="too late"):
            await begin(wait())

    run_clean(main)

"""Run a coroutine the way an application does, and fail if anything is left or went wrong unseen."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_clean(
    main: Callable[[], Coroutine[Any, Any, T]], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> T:
    """`asyncio.run(main())`, failing on forgotten tasks and on errors that only the event loop saw.

    "Task exception was never retrieved" is such an error; it appears when the task is collected.
    """

    async def watched() -> T:
        unseen: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unseen.append(context))
        before = asyncio.all_tasks()
        try:
            return await main()
        finally:
            await settled(lambda: asyncio.all_tasks() <= before)
            gc.collect()
            await settled(lambda: asyncio.all_tasks() <= before)  # collected async generators are closed by tasks
            assert not unseen, unseen
            assert asyncio.all_tasks() <= before, asyncio.all_tasks() - before

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(watched())


async def settled(condition: Callable[[], bool], turns: int = 2000) -> None:
    """Let the loop turn until `condition` holds, for at most about ten seconds; the caller asserts it."""
    for turn in range(turns):
        if condition():
            return
        await asyncio.sleep(0 if turn < turns // 2 else 0.01)

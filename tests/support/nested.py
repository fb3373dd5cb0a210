"""An event loop that runs inside itself, as nest_asyncio, ib_insync and Jupyter let it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_nested(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end inside the running task, in the loop of asyncio that runs this task."""
    loop: Any = asyncio.get_running_loop()
    outer = asyncio.current_task()
    assert outer is not None
    due = len(loop._ready)  # callbacks that the outer turn of the loop is going to call
    asyncio.tasks._leave_task(loop, outer)  # type: ignore[attr-defined]
    try:
        task = loop.create_task(coroutine)
        while not task.done():
            loop._run_once()
        result: T = task.result()
        return result
    finally:
        for _ in range(due - len(loop._ready)):
            loop.call_soon(int)
        asyncio.tasks._enter_task(loop, outer)  # type: ignore[attr-defined]

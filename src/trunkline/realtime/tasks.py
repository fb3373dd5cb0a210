"""Tasks that run beside those of connections, and must have ended when a node closes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

__all__ = ["Tasks"]

STUBBORN: Final = 1.0  # seconds that a task has to end once it is cancelled


class Tasks:
    """Tasks, as long as they run."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside what runs now."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def cancel(self) -> None:
        """Cancel all, but for the one that asks."""
        for task in self._others():
            task.cancel()

    async def settle(self, limit: float | None = None) -> int:
        """Wait until all are done, those that begin meanwhile, too; the one that asks doesn't wait for itself.

        Args:
            limit: seconds after which the rest is cancelled; None: never.

        Returns:
            How many were cancelled.
        """
        deadline = None if limit is None else asyncio.get_running_loop().time() + limit
        while tasks := self._others():
            left = None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())
            _, pending = await asyncio.wait(tasks, timeout=left)
            if pending:
                self.cancel()
                await asyncio.wait(pending, timeout=STUBBORN)
                return len(pending)
        return 0

    def forget(self) -> None:
        """Their event loop was closed, and none of them goes on."""
        self._tasks.clear()

    def _others(self) -> set[asyncio.Task[Any]]:
        return self._tasks - {asyncio.current_task()}

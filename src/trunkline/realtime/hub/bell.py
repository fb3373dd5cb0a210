"""Tells those that wait that it is time to look again."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Bell"]


class Bell:
    """Calls functions when it rings, each once."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: set[Callable[[], None]] = set()

    def listen(self, call: Callable[[], None]) -> None:
        """Call a function when it rings next."""
        self._calls.add(call)

    def ignore(self, call: Callable[[], None]) -> None:
        """Don't call a function. No harm if it was called, or never listened."""
        self._calls.discard(call)

    def ring(self) -> None:
        """Call all that listen."""
        calls, self._calls = self._calls, set()
        for call in calls:
            call()

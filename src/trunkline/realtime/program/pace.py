"""Whether publications may wait for those that follow, or leave at once.

Connections gather publications until the event loop turns: then each client gets them in one write. Nothing happens
between two commands of clients, so theirs may always wait. Code of the program is another matter: it may compute for
seconds between two publications. So they leave before that, unless the program proved itself quick.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from trunkline.realtime.program.hooks import Hook

__all__ = ["Pace"]

QUIET: Final = 50e-6  # seconds; a publication that follows later than that leaves at once
QUICK: Final = 50e-6  # seconds; a function that takes no more is quick
PROOFS: Final = 4  # so many quick steps in a row earn that publications wait


class Pace:
    """Watches how quickly the program goes on, and lets what was published leave when it may be slow.

    Args:
        clock: seconds that go on also while the event loop doesn't turn.

    Attributes:
        write: writes all that connections have gathered, and returns whether there was something. A door sets it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.start_over()

    def start_over(self) -> None:
        """Begin anew, in whatever event loop."""
        self.write: Callable[[], bool] = lambda: False
        self._proofs = 0
        self._waits = False  # what the program published last
        self._done_at = 0.0

    def begin(self) -> None:
        """The program publishes something."""
        if self._clock() - self._done_at <= QUIET:
            self._proofs += 1
            self._waits = self._proofs > PROOFS
            return
        if self._waits and self.write():  # it computed meanwhile, and withheld what it had published before
            self._proofs = 0
        self._waits = False

    def done(self) -> None:
        """The program has published it."""
        if not self._waits:
            self.write()
        self._done_at = self._clock()

    def start(self, hook: Hook, client: Any, data: bytes | None, parameters: dict[str, str]) -> Any:
        """Call a function of the program; before one that may be slow, let what was published leave.

        Returns:
            Its result, or a `Paused` if the function waits for something.
        """
        if hook.proofs < PROOFS:
            self.write()
        began = self._clock()
        try:
            return hook.start(client, data, parameters)
        finally:
            hook.proofs = hook.proofs + 1 if self._clock() - began <= QUICK else 0

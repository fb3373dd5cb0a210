"""How often somebody may speak."""

from __future__ import annotations

__all__ = ["TokenBucket"]


class TokenBucket:
    """Allow ``rate`` events per second in the long run, and ``burst`` at once.

    Args:
        rate: tokens that flow in, per second.
        burst: tokens that the bucket holds. It starts full.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._filled_at: float | None = None

    def take(self, now: float) -> bool:
        """Take one token and tell whether there was one. ``now``: seconds, from a clock that never goes back."""
        if self._filled_at is not None:
            self._tokens = min(self.burst, self._tokens + (now - self._filled_at) * self.rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

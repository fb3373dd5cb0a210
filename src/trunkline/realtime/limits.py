"""How often something may happen."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Buckets", "Rate", "TokenBucket"]


class Rate(NamedTuple):
    """So many events a second in the long run, and so many at once.

    Attributes:
        per_second: events a second.
        burst: events at once, after a quiet time; 1 at least.
    """

    per_second: float
    burst: float


class TokenBucket:
    """Counts events of one kind against a rate. The bucket starts full.

    Raises:
        ValueError: if the rate is below zero, or less than one event may happen at once.
    """

    __slots__ = ("_filled_at", "_tokens", "rate")

    def __init__(self, rate: Rate) -> None:
        if rate.per_second < 0 or rate.burst < 1:
            raise ValueError(f"{rate} lets nothing happen: per_second must be 0 or more, burst 1 or more")
        self.rate = rate
        self._tokens = rate.burst
        self._filled_at: float | None = None

    def take(self, now: float) -> bool:
        """Whether one more event may happen. `now`: seconds, from a clock that never goes back."""
        tokens = self.level(now)
        self._filled_at = now
        self._tokens = tokens - 1 if tokens >= 1 else tokens
        return tokens >= 1

    def level(self, now: float) -> float:
        """How many events may happen."""
        if self._filled_at is None:
            return self._tokens
        return min(self.rate.burst, self._tokens + (now - self._filled_at) * self.rate.per_second)


class Buckets:
    """A bucket for each key, such as the name of a channel, as long as it isn't full."""

    def __init__(self) -> None:
        self._buckets: dict[str, TokenBucket] = {}
        self._hand: list[str] = []  # keys that are still to be looked at

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, rate: Rate, now: float) -> bool:
        """Whether one more event of this key may happen; see `TokenBucket.take`."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(rate)
        taken = bucket.take(now)  # now it isn't full
        self._tidy(now)
        return taken

    def _tidy(self, now: float) -> None:
        """Look at two other buckets, and drop those that are full again: so their number can't grow for long."""
        for _ in range(2):
            if not self._hand:
                self._hand = list(self._buckets)
            key = self._hand.pop()
            bucket = self._buckets.get(key)
            if bucket is not None and bucket.level(now) >= bucket.rate.burst:
                del self._buckets[key]

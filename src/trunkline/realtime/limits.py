"""Rates, and checks of settings. Values that make no sense are refused where they are set."""

from __future__ import annotations

import math
import sys
from typing import NamedTuple

__all__ = ["Buckets", "Rate", "TokenBucket", "check_count", "check_rate", "check_seconds"]


class Rate(NamedTuple):
    """So many events a second in the long run, and so many at once.

    Attributes:
        per_second: events a second.
        burst: events at once, after a quiet time; 1 at least.
    """

    per_second: float
    burst: float


def check_rate(name: str, rate: Rate | None) -> None:
    """Check a rate that a program sets; None is no limit.

    Args:
        name: of the setting.

    Raises:
        TypeError: if it is something else.
        ValueError: if it is below zero, or less than one event may happen at once.
    """
    if rate is None:
        return
    if not isinstance(rate, Rate):
        raise TypeError(f"{name} is {rate!r}: it must be a Rate(per_second, burst), or None for no limit")
    if not all(_is_number(each) for each in rate):
        raise TypeError(f"{name} is {rate!r}: per_second and burst must be numbers")
    if not (rate.per_second >= 0 and rate.burst >= 1):
        raise ValueError(f"{name} is {rate!r}, which lets nothing happen: per_second must be at least 0, burst 1")


def check_count(name: str, value: int) -> None:
    """Check a setting that counts something.

    Raises:
        TypeError: if it isn't an int.
        ValueError: if it is below zero, or larger than any collection.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {value!r}: it must be an int")
    if not 0 <= value <= sys.maxsize:
        raise ValueError(f"{name} is {value!r}: it must be 0 or more")


def check_seconds(name: str, value: float, *, positive: bool = False) -> None:
    """Check a setting in seconds.

    Args:
        positive: whether 0 makes no sense, either.

    Raises:
        TypeError: if it isn't a number.
        ValueError: if it is too small.
    """
    if not _is_number(value):
        raise TypeError(f"{name} is {value!r}: it must be a number of seconds")
    if not (value > 0 if positive else value >= 0):
        raise ValueError(f"{name} is {value!r}: it must be {'more than 0' if positive else '0 or more'} seconds")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


class TokenBucket:
    """Counts events of one kind against a rate. The bucket starts full.

    Raises:
        TypeError, ValueError: as `check_rate`.
    """

    __slots__ = ("_filled_at", "_tokens", "rate")

    def __init__(self, rate: Rate) -> None:
        check_rate("rate", rate)
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

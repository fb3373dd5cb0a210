"""The settings of a connection, in one place for every driver."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

__all__ = [
    "Compression",
    "Limit",
    "Options",
    "Timeout",
    "check_arguments",
    "check_compression",
    "check_timeout",
    "compresses_all",
]

LONGEST_TIMEOUT = 100 * 365 * 86400  # seconds; not all clocks and event loops can count further

#: "deflate", "deflate-all" or None; other values are refused by `check_compression`, also where Cython compiles.
Compression = str | None

#: Seconds, or None for no limit; under this name, compiled code takes an int, too.
Timeout = float | None

#: A high water mark, None for none, or (high, low).
Limit = int | None | tuple[int | None, int | None]


def water_marks(limit: Limit, name: str) -> tuple[int | None, int | None]:
    """(high, low) of a limit; low is a quarter of high unless given."""
    high, low = _integers(limit, name)
    if high is None:
        return None, None
    if low is None:
        low = high // 4
    if not 0 <= low <= high:
        raise ValueError(f"{name} is {limit!r}: it must be 0 <= low <= high")
    return _held(high), _held(low)


def _integers(limit: Limit, name: str) -> tuple[int | None, int | None]:
    """A limit as a pair; the second one is None unless it was given."""
    first, second = limit if isinstance(limit, tuple) else (limit, None)
    for value in (first, second):
        if not isinstance(value, int | None):
            raise TypeError(f"{name} is {limit!r}: it must be an int, a pair of them, or None for no limit")
    return first, second


def _held(limit: int | None) -> int | None:
    """The limit as compiled code can hold it."""
    return None if limit is None else min(limit, sys.maxsize)


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """Timeouts in seconds, limits in bytes, and queues of a connection; None switches a timeout or limit off.

    Attributes:
        open_timeout: for the opening handshake.
        ping_interval: between keepalive pings.
        ping_timeout: for the answer to one; without it, pings only measure latency.
        close_timeout: for the closing handshake, then the connection is dropped.
        max_size: limit of a received message, or (message, fragment).
        max_queue: frames received and not read above which reading from the peer stops, or (high, low).
        write_limit: bytes waiting to leave above which `send` waits, or (high, low).
        message_and_frame_size, queue_marks, write_marks: the same limits in pairs.

    Raises:
        TypeError: if a limit or timeout is no number.
        ValueError: if one is negative, or a low mark is above its high mark.
    """

    open_timeout: float | None = 10
    ping_interval: float | None = 20
    ping_timeout: float | None = 20
    close_timeout: float | None = 10
    max_size: Limit = 2**20
    max_queue: Limit = 16
    write_limit: int | tuple[int, int | None] = 2**15
    # Kept, because every connection asks for them.
    message_and_frame_size: tuple[int | None, int | None] = dataclasses.field(init=False, repr=False, compare=False)
    queue_marks: tuple[int | None, int | None] = dataclasses.field(init=False, repr=False, compare=False)
    write_marks: tuple[int, int] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("open_timeout", "ping_interval", "ping_timeout", "close_timeout"):
            self._keep(name, check_timeout(name, getattr(self, name)))
        message, frame = _integers(self.max_size, "max_size")
        for size in (message, frame):
            if size is not None and size < 0:
                raise ValueError(f"max_size is {self.max_size!r}: it must be a number of bytes, or None for no limit")
        high, low = water_marks(self.write_limit, "write_limit")
        self._keep("message_and_frame_size", (message, frame))
        self._keep("queue_marks", water_marks(self.max_queue, "max_queue"))
        self._keep("write_marks", (high or 0, low or 0))

    def _keep(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # frozen for all other code


def check_timeout(name: str, seconds: float | None) -> float | None:
    """A timeout, or None for one that is longer than any life.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is negative, or not a number as `math.nan`.
    """
    if not isinstance(seconds, int | float | None):
        raise TypeError(f"{name} is {seconds!r}: it must be a number of seconds, or None for no limit")
    if seconds is not None and not seconds >= 0:
        raise ValueError(f"{name} is {seconds!r}: it must be a number of seconds, or None for no limit")
    return None if seconds is None or seconds > LONGEST_TIMEOUT else seconds


def check_arguments(function: str, kwargs: dict[str, Any], known: frozenset[str]) -> None:
    """Name what is unknown here, rather than let it fail somewhere below.

    Raises:
        TypeError: if a keyword argument isn't one of `known`.
    """
    unknown = sorted(set(kwargs) - known - {"unix"})
    if unknown:
        raise TypeError(f"{function}() got an unexpected keyword argument {', '.join(map(repr, unknown))}")


def check_compression(compression: object) -> None:
    """Refuse what `compression` can't be.

    Raises:
        ValueError: if it is neither "deflate" nor "deflate-all" nor None.
    """
    if compression not in ("deflate", "deflate-all", None):
        raise ValueError(f"unsupported compression: {compression}")


def compresses_all(compression: str | None) -> bool | None:
    """What `compression` says of `compress_all` of the factories; None leaves the choice to them."""
    return True if compression == "deflate-all" else None

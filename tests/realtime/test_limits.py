"""Rates hold in the long run and at once, forgotten keys cost nothing, and settings that make no sense are refused."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.realtime import ChannelOptions, Limits, MemoryBroker, MemoryPresence, Realtime, SQLiteBroker, Timeouts
from trunkline.realtime.limits import Buckets, Rate, TokenBucket


def test_a_burst_at_once_then_the_rate() -> None:
    bucket = TokenBucket(Rate(2, 3))
    assert [bucket.take(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert [bucket.take(now) for now in (100.4, 100.5, 100.9, 101.0)] == [False, True, False, True]


def test_it_never_holds_more_than_a_burst() -> None:
    bucket = TokenBucket(Rate(1, 2))
    bucket.take(0)
    assert [bucket.take(1e9) for _ in range(3)] == [True, True, False]


def test_nothing_comes_back_at_rate_zero() -> None:
    bucket = TokenBucket(Rate(0, 1))
    assert [bucket.take(now) for now in (0, 1e9)] == [True, False]


@pytest.mark.parametrize("rate", [Rate(-1, 1), Rate(1, 0), Rate(1, 0.5)])
def test_refuses_rates_that_let_nothing_happen(rate: Rate) -> None:
    with pytest.raises(ValueError, match="lets nothing happen"):
        TokenBucket(rate)


@given(st.floats(0.1, 100), st.integers(1, 50), st.lists(st.floats(0, 10, allow_nan=False), min_size=1, max_size=200))
def test_no_window_has_more_than_the_rate_allows(per_second: float, burst: int, pauses: list[float]) -> None:
    bucket, now, taken = TokenBucket(Rate(per_second, burst)), 0.0, []
    for pause in pauses:
        now += pause
        if bucket.take(now):
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - taken[first]) * per_second + 1e-6


def test_keys_are_apart() -> None:
    buckets = Buckets()
    rate = Rate(1, 1)
    assert buckets.take("a", rate, 0)
    assert buckets.take("b", rate, 0)
    assert not buckets.take("a", rate, 0.5)
    assert buckets.take("a", rate, 2)


def test_full_buckets_are_dropped() -> None:
    buckets = Buckets()
    for number in range(10_000):
        buckets.take(f"room {number}", Rate(10, 2), number / 1000)
    assert len(buckets) < 500, "0.1 s of them aren't full, and each look finds two"


def test_a_bucket_in_use_is_kept() -> None:
    buckets = Buckets()
    for _ in range(100):
        buckets.take("other", Rate(1, 1000), 0)
    assert [buckets.take("room", Rate(0.001, 2), now / 100) for now in range(10)] == [True] * 2 + [False] * 8


def channel(**options: Any) -> Any:
    """Calls of a program, with options of the wrong type."""
    return Realtime().channel("a", **options)


def limits(**options: Any) -> Any:
    return Realtime(limits=Limits(**options))


def timeouts(**options: Any) -> Any:
    return Realtime(timeouts=Timeouts(**options))


def store(**options: Any) -> Any:
    return SQLiteBroker("store.db", **options)


@pytest.mark.parametrize("settings", [limits, channel])
@pytest.mark.parametrize(
    ("rate", "error", "message"),
    [
        (Rate(10, 0), ValueError, r"rate is Rate\(per_second=10, burst=0\), which lets nothing happen"),
        (Rate(1, 0.5), ValueError, "lets nothing happen"),
        (Rate(-1, 5), ValueError, "lets nothing happen"),
        ((10, 20), TypeError, r"rate is \(10, 20\): it must be a Rate\(per_second, burst\)"),
        (10, TypeError, "rate is 10: it must be a Rate"),
        (Rate("1", 5), TypeError, "must be numbers"),  # type: ignore[arg-type]
        (Rate(1, math.nan), TypeError, "must be numbers"),
    ],
)
def test_rates_are_checked_when_they_are_set(
    settings: Callable[..., object], rate: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        settings(rate=rate)


@pytest.mark.parametrize(
    ("settings", "name", "value", "error"),
    [
        *((limits, name, -1, ValueError) for name in ("channels", "history", "queue", "calls")),
        *((limits, name, 1.5, TypeError) for name in ("channels", "history", "queue", "calls")),
        (limits, "history", None, TypeError),
        (limits, "calls", True, TypeError),
        *((timeouts, name, -1, ValueError) for name in ("stale", "ping", "pong", "expired")),
        *((timeouts, name, 0, ValueError) for name in ("stale", "ping", "pong")),
        *((timeouts, name, "1", TypeError) for name in ("stale", "ping", "pong", "expired")),
        (timeouts, "stale", None, TypeError),
        (channel, "history", -1, ValueError),
        (channel, "history", 10.0, TypeError),
        (channel, "history", 2**63, ValueError),
        (channel, "ttl", -1, ValueError),
        (channel, "ttl", math.nan, TypeError),
        (channel, "ttl", "300", TypeError),
        (MemoryPresence, "ttl", 0, ValueError),
        (MemoryPresence, "ttl", "60", TypeError),
        (MemoryBroker, "idle", -1, ValueError),
        (MemoryBroker, "channels", -1, ValueError),
        (store, "idle", -1, ValueError),
        (store, "patience", None, TypeError),
    ],
)
def test_settings_are_checked_when_they_are_set(
    settings: Callable[..., object], name: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"{name} is {value!r}: it must be"):
        settings(**{name: value})


def test_settings_at_the_edge() -> None:
    limits(channels=0, history=0, queue=0, calls=0, rate=None)
    limits(rate=Rate(math.inf, 1))
    timeouts(stale=0.1, ping=None, pong=math.inf, expired=0)
    ChannelOptions(history=0, ttl=0, rate=Rate(0, 1))
    ChannelOptions(history=2**63 - 1, ttl=math.inf)
    MemoryPresence(None)
    MemoryBroker(idle=math.inf, channels=0)

"""The settings of a connection."""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any

import pytest

from trunkline.options import Options


def test_defaults() -> None:
    options = Options()
    assert (options.open_timeout, options.ping_interval, options.ping_timeout, options.close_timeout) == (
        10,
        20,
        20,
        10,
    )
    assert options.message_and_frame_size == (2**20, None)
    assert options.queue_marks == (16, 4)
    assert options.write_marks == (2**15, 2**13)


@pytest.mark.parametrize(
    ("max_size", "expected"),
    [
        (None, (None, None)),
        (0, (0, None)),
        (5, (5, None)),
        ((5, 3), (5, 3)),
        ((None, 3), (None, 3)),
        ((5, None), (5, None)),
    ],
)
def test_message_and_frame_size(max_size: Any, expected: Any) -> None:
    assert Options(max_size=max_size).message_and_frame_size == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, (None, None)),
        (0, (0, 0)),
        (3, (3, 0)),
        (17, (17, 4)),
        ((17, None), (17, 4)),
        ((17, 17), (17, 17)),
        ((17, 0), (17, 0)),
        ((None, None), (None, None)),
    ],
)
def test_queue_marks(limit: Any, expected: Any) -> None:
    assert Options(max_queue=limit).queue_marks == expected


@pytest.mark.parametrize(("limit", "expected"), [(0, (0, 0)), (100, (100, 25)), ((100, 99), (100, 99))])
def test_write_marks(limit: Any, expected: Any) -> None:
    assert Options(write_limit=limit).write_marks == expected


@pytest.mark.parametrize("name", ["open_timeout", "ping_interval", "ping_timeout", "close_timeout"])
def test_timeouts(name: str) -> None:
    for value in (None, 0, 0.5, 1e9):
        assert getattr(Options(**{name: value}), name) == value
    for value in (1e10, math.inf):  # so long that not every clock can tell
        assert getattr(Options(**{name: value}), name) is None
    for wrong in (-1, math.nan):
        with pytest.raises(ValueError, match=f"{name} is {wrong}: it must be a number of seconds"):
            Options(**{name: wrong})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_size", -1),
        ("max_size", (-1, None)),
        ("max_size", (None, -1)),
        ("max_queue", -1),
        ("max_queue", (4, 5)),
        ("max_queue", (4, -1)),
        ("write_limit", -1),
        ("write_limit", (4, 5)),
    ],
)
def test_limits_that_make_no_sense_are_named(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{option} is ") as caught:
        Options(**{option: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", ["1000", 1e6, (1, 0.5), b"1"], ids=repr)
@pytest.mark.parametrize("option", ["max_size", "max_queue", "write_limit"])
def test_limits_are_integers(option: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^{option} is .*: it must be an int") as caught:
        Options(**{option: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("option", ["open_timeout", "ping_interval", "ping_timeout", "close_timeout"])
def test_timeouts_are_numbers(option: str) -> None:
    with pytest.raises(TypeError, match=f"^{option} is '20': it must be a number of seconds"):
        Options(**{option: "20"})  # type: ignore[arg-type]


def test_options_are_shared_and_so_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().max_size = 1  # type: ignore[misc]
    assert Options(max_size=5) == Options(max_size=5)
    assert dataclasses.replace(Options(), max_size=5).max_size == 5


def test_marks_may_be_larger_than_what_compiled_code_can_hold() -> None:
    options = Options(max_queue=2**64, write_limit=2**64)
    assert options.queue_marks == (sys.maxsize, 2**62)
    assert options.write_marks == (sys.maxsize, 2**62)

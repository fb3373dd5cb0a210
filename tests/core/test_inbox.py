"""The queue between the session and the application."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.wire import drain
from trunkline.core.inbox import Fragment, Inbox, convert


def filled(*items: Any, high: int | None = None, low: int | None = None) -> Inbox:
    inbox = Inbox(high, low)
    for item in items:
        inbox.put(item)
    return inbox


def fragments(*payloads: bytes, text: bool = False, end: bool = True) -> list[Fragment]:
    return [Fragment(payload, text, end and i == len(payloads) - 1) for i, payload in enumerate(payloads)]


def test_messages_come_out_in_order() -> None:
    inbox = filled("a", b"b", "", b"")
    assert len(inbox) == 4
    assert inbox.ready()
    assert [inbox.take() for _ in range(5)] == ["a", b"b", "", b"", None]
    assert not inbox.ready()
    assert len(inbox) == 0


def test_fragments_are_joined() -> None:
    inbox = filled(*fragments(b"a", b"", b"bc"), *fragments("é".encode()[:1], "é".encode()[1:], text=True), "x")
    assert [inbox.take() for _ in range(4)] == [b"abc", "é", "x", None]


def test_an_incomplete_message_waits() -> None:
    inbox = filled("x", *fragments(b"a", b"b", end=False))
    assert inbox.take() == "x"
    assert inbox.take() is None
    assert len(inbox) == 0
    inbox.put(Fragment(b"c", False, True))
    assert inbox.take() == b"abc"


def test_ready_makes_room_for_the_fragments_that_are_missing() -> None:
    inbox = filled(*fragments(b"a", b"b", end=False), high=1)
    assert inbox.overflows()
    assert not inbox.ready()
    assert not inbox.overflows()
    inbox.put(Fragment(b"c", False, True))
    assert inbox.ready()
    assert inbox.take() == b"abc"


def test_fragments_can_be_taken_one_by_one() -> None:
    inbox = filled("x", *fragments(b"a", b"b"), "y")
    assert drain(inbox) == ["x", (b"a", False, False), (b"b", False, True), "y"]
    assert inbox.take_fragment() is None


def test_fragments_that_recv_collected_are_not_lost_to_streaming() -> None:
    """recv() is cancelled in the middle of a message, and recv_streaming() takes over."""
    inbox = filled(*fragments(b"a", b"b", end=False))
    assert inbox.take() is None
    inbox.put(Fragment(b"c", False, True))
    assert [data for data, _, _ in drain(inbox)] == [b"a", b"b", b"c"]


def test_water_marks() -> None:
    inbox = Inbox(2, 1)
    for count in range(1, 5):
        inbox.put(count)
        assert inbox.overflows() == (count > 2)
    inbox.paused = True
    assert not inbox.overflows()  # once is enough
    for left in (3, 2, 1, 0):
        assert not inbox.drained()
        inbox.take()
        if left <= 1:
            break
    assert inbox.drained()
    inbox.paused = False
    assert not inbox.drained()


def test_no_high_water_mark_never_pauses() -> None:
    assert not filled(*range(10_000)).overflows()


def test_a_high_water_mark_of_zero_pauses_at_the_first_message() -> None:
    assert filled("x", high=0, low=0).overflows()


@given(st.lists(st.integers(0, 400), max_size=12))
def test_order_is_kept_however_putting_and_taking_alternate(amounts: list[int]) -> None:
    inbox = Inbox()
    put = taken = 0
    for turn, amount in enumerate(amounts):
        if turn % 2 == 0:
            for _ in range(amount):
                inbox.put(put)
                put += 1
        else:
            for _ in range(min(amount, put - taken)):
                assert inbox.take() == taken
                taken += 1
        assert len(inbox) == put - taken
        assert len(inbox.items or ()) <= max(2 * (put - taken) + 1, 512)  # what was taken doesn't stay


@pytest.mark.parametrize(
    ("message", "decode", "expected"),
    [
        ("é", None, "é"),
        ("é", True, "é"),
        ("é", False, "é".encode()),
        (b"\xff", None, b"\xff"),
        ("é".encode(), True, "é"),
        (b"\xff", False, b"\xff"),
    ],
)
def test_convert(message: Any, decode: bool | None, expected: Any) -> None:
    assert convert(message, decode) == expected


def test_convert_refuses_binary_that_is_not_text() -> None:
    with pytest.raises(UnicodeDecodeError):
        convert(b"\xff", True)

"""JSON messages through msgspec: what is decoded, and what a refusal tells."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import json
from trunkline.exceptions import WebSocketException
from trunkline.json import InvalidJSON


class User(msgspec.Struct):
    name: str
    age: int


class Envelope(msgspec.Struct, forbid_unknown_fields=True):
    user: User


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Move(TypedDict):
    to: int


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_values_survive_the_way_there_and_back(value: Any) -> None:
    encoded = json.encode(value)
    assert json.decode(encoded) == value
    assert json.decode(encoded.decode()) == value


@pytest.mark.parametrize(
    ("value", "type"),
    [
        (User("Ada", 36), User),
        (Envelope(User("Ada", 36)), Envelope),
        (Point(1, 2), Point),
        ({"to": 5}, Move),
        ([1, 2], list[int]),
        (datetime.datetime(2025, 1, 2, tzinfo=datetime.UTC), datetime.datetime),
        (3, int | str),
    ],
)
def test_typed_values(value: Any, type: Any) -> None:
    assert json.decode(json.encode(value), type) == value


@pytest.mark.parametrize(
    ("data", "position"),
    [
        ("", 0),
        ('{"a":', 5),
        ('"é', 3),  # in bytes
        ("[1,]", 3),
        ("[1 2]", 3),
        ("1 2", 3),
        (b"\xff", 0),
        (b'["\xc3\xa9", "ab\xff"]', 10),
        (b'["a\\n\xff"]', 5),
        (b'{"k\xff":1}', 3),
        (b'"\xe2\x82"', 1),
        (b'"\xff', 1),  # it has no end either, but that comes later
        (b'"\xe2\x82', 3),  # the rest of the character may be missing like the rest of the string
        (b'[1 2, "\xff"]', 3),
    ],
)
def test_what_is_not_json_is_refused_where_it_stops_being_json(data: str | bytes, position: int) -> None:
    with pytest.raises(InvalidJSON) as caught:
        json.decode(data)
    assert caught.value.position == position
    assert caught.value.path is None
    assert caught.value.data is data


@pytest.mark.parametrize(
    ("data", "type", "path"),
    [
        ('"x"', int, "$"),
        ("[]", User, "$"),
        ('{"user":{"name":"Ada","age":"x"}}', Envelope, "$.user.age"),
        ('[1,"a"]', list[int], "$[1]"),
        ('{"a":1}', dict[int, int], "$"),
        ('{"user":{"name":"Ada","age":36},"(byte 3)":1}', Envelope, "$"),  # the peer's words can't mislead a reader
    ],
)
def test_what_is_of_another_type_is_refused_with_its_path(data: str, type: Any, path: str) -> None:
    with pytest.raises(InvalidJSON) as caught:
        json.decode(data, type)
    assert caught.value.path == path
    assert caught.value.position is None


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_the_fault_of_the_message(opening: str) -> None:
    with pytest.raises(InvalidJSON, match="nested too deeply") as caught:
        json.decode(opening * 100_000)
    assert caught.value.position is None
    assert caught.value.path is None


def refusal(data: str | bytes) -> InvalidJSON | None:
    """Why the data isn't JSON, or None. No other error is expected."""
    try:
        json.decode(data)
    except InvalidJSON as error:
        return error
    return None


@given(st.binary() | st.text())
def test_whatever_comes_only_invalid_json_is_raised(data: str | bytes) -> None:
    error = refusal(data)
    if error is not None:
        assert (error.path is None) != (error.position is None)
        assert error.position is None or 0 <= error.position <= len(data.encode() if isinstance(data, str) else data)


def test_invalid_json_is_caught_with_the_others() -> None:
    assert issubclass(InvalidJSON, WebSocketException)
    assert issubclass(InvalidJSON, ValueError)


def test_what_cannot_be_json() -> None:
    with pytest.raises(TypeError):
        json.encode(object())

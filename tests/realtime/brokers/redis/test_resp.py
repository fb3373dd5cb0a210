"""The protocol of Redis, as bytes: whole, in pieces, and broken."""

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.realtime.brokers.redis.resp import BULK, DEPTH, LINE, Parser, Push, RedisError, RespError, command


def parsed(*pieces: bytes) -> list[object]:
    parser = Parser()
    return [value for piece in pieces for value in parser.feed(piece)]


def same(value: object) -> object:
    """Something that can be compared: errors have no equality of their own."""
    if isinstance(value, RedisError):
        return ("error", str(value))
    if isinstance(value, Push):
        return ("push", [same(each) for each in value])
    if isinstance(value, list):
        return [same(each) for each in value]
    if isinstance(value, dict):
        return {key: same(each) for key, each in value.items()}
    return value


ANSWERS = [
    (b"+OK\r\n", b"OK"),
    (b"+\r\n", b""),
    (b":-12\r\n", -12),
    (b"(3492890328409238509324850943850943825024385\r\n", 3492890328409238509324850943850943825024385),
    (b",1.5e3\r\n", 1500.0),
    (b",inf\r\n", float("inf")),
    (b"_\r\n", None),
    (b"#t\r\n", True),
    (b"#f\r\n", False),
    (b"$0\r\n\r\n", b""),
    (b"$2\r\n\r\n\r\n", b"\r\n"),
    (b"$-1\r\n", None),
    (b"=9\r\ntxt:a\r\nbc\r\n", b"a\r\nbc"),
    (b"*-1\r\n", None),
    (b"*0\r\n", []),
    (b"*2\r\n:1\r\n*1\r\n$1\r\na\r\n", [1, [b"a"]]),
    (b"*1\r\n*0\r\n", [[]]),
    (b"~2\r\n:1\r\n:1\r\n", [1, 1]),
    (b"%2\r\n+a\r\n:1\r\n$1\r\nb\r\n*1\r\n_\r\n", {b"a": 1, b"b": [None]}),
    (b"%0\r\n", {}),
    (b"|1\r\n+ttl\r\n:3\r\n:7\r\n", 7),
    (b"*2\r\n:1\r\n|1\r\n+k\r\n*1\r\n:9\r\n:2\r\n", [1, 2]),
    (b"*2\r\n|0\r\n:1\r\n|0\r\n:2\r\n", [1, 2]),
    (b"-ERR no\r\n", ("error", "ERR no")),
    (b"!7\r\nERR a\r\n\r\n", ("error", "ERR a\r\n")),
    (b"*2\r\n-NOSCRIPT x\r\n:1\r\n", [("error", "NOSCRIPT x"), 1]),
    (b">2\r\n$5\r\nother\r\n:1\r\n", ("push", [b"other", 1])),
    (b">3\r\n$7\r\nmessage\r\n+c\r\n:2\r\n", ("push", [b"message", b"c", 2])),
    (b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n", ("push", [b"message", b"c", b"hi"])),
]


@pytest.mark.parametrize(("data", "value"), ANSWERS, ids=[repr(data) for data, _ in ANSWERS])
def test_values_cut_anywhere(data: bytes, value: object) -> None:
    assert same(parsed(data)) == [value]
    for cut in range(len(data) + 1):
        assert same(parsed(data[:cut], data[cut:])) == [value], cut
    assert same(parsed(*(bytes([byte]) for byte in data))) == [value]


@given(st.lists(st.integers(0, 400), max_size=8))
def test_many_values_cut_in_several_places(cuts: list[int]) -> None:
    stream = b"".join(data for data, _ in ANSWERS)
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert same(parsed(*pieces)) == [value for _, value in ANSWERS]


def test_a_large_string_in_many_pieces_is_joined_once() -> None:
    payload = bytes(range(256)) * 4096
    data = b"*1\r\n$%d\r\n%b\r\n" % (len(payload), payload)
    pieces = [data[start : start + 1000] for start in range(0, len(data), 1000)]
    assert parsed(*pieces, b":1\r\n") == [[payload], 1]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "say nothing that we know"),
        (b":x\r\n", "say nothing that we know"),
        (b"#x\r\n", "say nothing that we know"),
        (b"_x\r\n", "say nothing that we know"),
        (b"$x\r\n", "should have a length"),
        (b"$\r\n", "should have a length"),
        (b"$?\r\n", "should have a length"),
        (b"$-2\r\n", "impossible length"),
        (b"$%d\r\n" % (BULK + 1), "impossible length"),
        (b"$1\r\nabc", "doesn't end where it should"),
        (b"*-2\r\n", "impossible length"),
        (b"%1\r\n*0\r\n:1\r\n", "keys that are aggregates"),
        (b"*1\r\n" * (DEPTH + 1), "nested more than"),
    ],
    ids=repr,
)
def test_nonsense_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(RespError, match=complaint):
        parsed(data)
    with pytest.raises(RespError, match=complaint):
        parsed(*(bytes([byte]) for byte in data))


def test_lines_are_bounded() -> None:
    pieces = [b"+", *[b"x" * 1000] * (LINE // 1000 + 1)]
    with pytest.raises(RespError, match="a line is longer"):
        parsed(*pieces)


@given(st.binary(max_size=200))
def test_any_bytes_give_values_or_one_kind_of_error(data: bytes) -> None:
    with contextlib.suppress(RespError):
        parsed(data)


def test_commands_are_arrays_of_strings() -> None:
    assert command(b"SET", b"key", b"a\r\nb", b"") == b"*4\r\n$3\r\nSET\r\n$3\r\nkey\r\n$4\r\na\r\nb\r\n$0\r\n\r\n"


def test_the_code_of_an_error_is_its_first_word() -> None:
    assert RedisError("MOVED 3999 127.0.0.1:6381").code == "MOVED"

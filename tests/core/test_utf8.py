"""Incremental validation against the grammar of RFC 3629 section 4, written out here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.wire import cut
from trunkline.core.utf8 import TextValidator

TAIL = range(0x80, 0xC0)
GRAMMAR: list[list[range]] = [
    [range(0x00, 0x80)],
    [range(0xC2, 0xE0), TAIL],
    [range(0xE0, 0xE1), range(0xA0, 0xC0), TAIL],
    [range(0xE1, 0xED), TAIL, TAIL],
    [range(0xED, 0xEE), range(0x80, 0xA0), TAIL],
    [range(0xEE, 0xF0), TAIL, TAIL],
    [range(0xF0, 0xF1), range(0x90, 0xC0), TAIL, TAIL],
    [range(0xF1, 0xF4), TAIL, TAIL, TAIL],
    [range(0xF4, 0xF5), range(0x80, 0x90), TAIL, TAIL],
]

# (bytes, index of the first byte that no text can have there, index where the bad character starts)
BAD = [
    (b"\x80", 0, 0),
    (b"a\xbf", 1, 1),
    (b"\xc0\x80", 0, 0),  # overlong
    (b"\xc1\xbf", 0, 0),
    (b"\xc2a", 1, 0),
    (b"\xc3\xc3", 1, 0),
    (b"\xe0\x80\x80", 1, 0),  # overlong
    (b"\xe0\x9f\xbf", 1, 0),
    (b"\xe2\x82a", 2, 0),
    (b"\xe2a", 1, 0),
    (b"\xed\xa0\x80", 1, 0),  # surrogates
    (b"\xed\xbf\xbf", 1, 0),
    (b"\xf0\x80\x80\x80", 1, 0),  # overlong
    (b"\xf0\x8f\xbf\xbf", 1, 0),
    (b"\xf0\x90\x80a", 3, 0),
    (b"\xf0\x90a", 2, 0),
    (b"\xf4\x90\x80\x80", 1, 0),  # above U+10FFFF
    (b"\xf5\x80\x80\x80", 0, 0),
    (b"\xf8\x88\x80\x80\x80", 0, 0),
    (b"\xfe", 0, 0),
    (b"\xff", 0, 0),
    ("κόσμε".encode() + b"\xed\xa0\x80edited", 11, 10),  # Autobahn 6.4
]


def first_wrong_byte(data: bytes) -> int | None:
    """Index of the first byte after which `data` can't be the beginning of a text, or None."""
    i = 0
    while i < len(data):
        forms = GRAMMAR
        place = 0
        while i < len(data):
            forms = [form for form in forms if data[i] in form[place]]
            if not forms:
                return i
            i, place = i + 1, place + 1
            if place == len(forms[0]):
                break
    return None


def refused_at(data: bytes) -> tuple[int, int] | None:
    """Feed byte by byte: index of the byte that was refused, and the start that the error tells."""
    validator = TextValidator()
    for i in range(len(data)):
        try:
            validator.feed(data[i : i + 1], False)
        except UnicodeDecodeError as error:
            return i, error.start
    return None


@pytest.mark.parametrize(("data", "wrong", "start"), BAD)
@pytest.mark.parametrize("prefix", [b"", b"abc", "é".encode()])
def test_bad_text_is_refused_at_the_first_wrong_byte(prefix: bytes, data: bytes, wrong: int, start: int) -> None:
    assert first_wrong_byte(data) == wrong
    assert refused_at(prefix + data) == (len(prefix) + wrong, len(prefix) + start)


@pytest.mark.parametrize("character", ["é", "€", "𝄞", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U0010ffff"])
def test_a_character_is_accepted_in_pieces_but_must_be_complete(character: str) -> None:
    data = character.encode()
    assert refused_at(data) is None
    for missing in range(1, len(data)):
        validator = TextValidator()
        validator.feed(b"ab", False)
        with pytest.raises(UnicodeDecodeError, match="unexpected end of data") as caught:
            validator.feed(data[:-missing], True)
        assert caught.value.start == 2


ALMOST_TEXT = st.lists(
    st.text(max_size=3).map(str.encode) | st.binary(max_size=2) | st.sampled_from([data for data, _, _ in BAD])
).map(b"".join)


@given(ALMOST_TEXT)
def test_every_wrong_byte_and_no_other_is_refused(data: bytes) -> None:
    refused = refused_at(data)
    assert (None if refused is None else refused[0]) == first_wrong_byte(data)


def verdict(pieces: list[bytes]) -> tuple[int, str] | None:
    validator = TextValidator()
    try:
        for piece in pieces:
            validator.feed(piece, False)
        validator.feed(b"", True)
    except UnicodeDecodeError as error:
        return error.start, error.reason
    return None


@given(st.data(), ALMOST_TEXT)
def test_any_split_gives_the_verdict_of_decoding_the_whole(data: st.DataObject, text: bytes) -> None:
    pieces = cut(text, data.draw(st.lists(st.integers(0, len(text)))))
    expected: tuple[int, str] | None = None
    try:
        text.decode()
    except UnicodeDecodeError as error:
        expected = error.start, error.reason
    assert verdict(pieces) == expected

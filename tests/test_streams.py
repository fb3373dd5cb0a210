"""A stream of bytes for parsers written as generators: the same as in websockets, call by call."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
import websockets.streams
from hypothesis import given
from hypothesis import strategies as st

from trunkline.streams import StreamReader

Parser = Callable[[Any], Generator[None, None, Any]]


def outcome(reader: Any, parser: Parser, pieces: list[bytes], eof: bool) -> Any:
    """The result of a parser for a stream that comes in pieces, its exception, or None if it waits."""
    running = parser(reader)
    try:
        for piece in [b"", *pieces, None]:
            if piece:
                reader.feed_data(piece)
            elif piece is None and eof:
                reader.feed_eof()
            next(running)
    except StopIteration as end:
        return end.value, bytes(reader.buffer)
    except Exception as error:
        return type(error), str(error)
    return None


PARSERS: dict[str, Parser] = {
    "line": lambda reader: reader.read_line(5),
    "line with a type": lambda reader: reader.read_line(2, KeyError),
    "nothing": lambda reader: reader.read_exact(0),
    "bytes": lambda reader: reader.read_exact(4),
    "all": lambda reader: reader.read_to_eof(6),
    "all with a type": lambda reader: reader.read_to_eof(1, KeyError),
    "end": lambda reader: reader.at_eof(),
}


@pytest.mark.parametrize("name", PARSERS)
@given(pieces=st.lists(st.text("ab\r\n", max_size=4).map(str.encode), max_size=4), eof=st.booleans())
def test_same_as_websockets(name: str, pieces: list[bytes], eof: bool) -> None:
    ours = outcome(StreamReader(), PARSERS[name], pieces, eof)
    assert ours == outcome(websockets.streams.StreamReader(), PARSERS[name], pieces, eof)


def test_nothing_follows_the_end() -> None:
    reader = StreamReader()
    reader.feed_eof()
    with pytest.raises(EOFError, match="stream ended"):
        reader.feed_data(b"a")
    with pytest.raises(EOFError, match="stream ended"):
        reader.feed_eof()


def test_discard() -> None:
    reader = StreamReader()
    reader.feed_data(b"abc")
    reader.discard()
    assert outcome(reader, PARSERS["end"], [], True) == (True, b"")


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="n is -1"):
        next(StreamReader().read_exact(-1))

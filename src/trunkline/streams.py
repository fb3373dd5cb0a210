"""A stream of bytes for parsers written as generators, such as `Frame.parse` and `Response.parse`.

A parser does `data = yield from reader.read_exact(4)`. When the stream hasn't that much yet the parser yields; resume
it after `feed_data`::

    reader = StreamReader()
    parser = Frame.parse(reader.read_exact, mask=False)
    while True:
        try:
            next(parser)
        except StopIteration as end:
            frame = end.value
            break
        reader.feed_data(receive())
"""

from __future__ import annotations

from collections.abc import Generator

__all__ = ["StreamReader"]


class StreamReader:
    """Bytes that came and were not read yet."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.eof = False

    def feed_data(self, data: bytes | bytearray) -> None:
        """Add what came.

        Raises:
            EOFError: if the stream has ended.
        """
        if self.eof:
            raise EOFError("stream ended")
        self.buffer += data

    def feed_eof(self) -> None:
        """Nothing comes any more.

        Raises:
            EOFError: if that was said before.
        """
        if self.eof:
            raise EOFError("stream ended")
        self.eof = True

    def discard(self) -> None:
        """Forget what wasn't read."""
        self.buffer.clear()

    def read_line(
        self, m: int, too_long_exc_type: type[Exception] = RuntimeError
    ) -> Generator[None, None, bytes | bytearray]:
        r"""Read up to `\n`, which is included.

        Args:
            m: how many bytes the line may have.
            too_long_exc_type: what to raise if it has more.

        Raises:
            EOFError: if the stream ends before.
        """
        size = 0
        while (end := self.buffer.find(b"\n", size) + 1) == 0:
            size = len(self.buffer)
            if size > m:
                raise too_long_exc_type(f"read {size} bytes, expected no more than {m} bytes")
            if self.eof:
                raise EOFError(f"stream ends after {size} bytes, before end of line")
            yield
        if end > m:
            raise too_long_exc_type(f"read {end} bytes, expected no more than {m} bytes")
        return self._take(end)

    def read_exact(self, n: int) -> Generator[None, None, bytes | bytearray]:
        """Read `n` bytes.

        Raises:
            EOFError: if the stream ends before.
        """
        if n < 0:
            raise ValueError(f"n is {n}: it must be 0 or more")
        while len(self.buffer) < n:
            if self.eof:
                raise EOFError(f"stream ends after {len(self.buffer)} bytes, expected {n} bytes")
            yield
        return self._take(n)

    def read_to_eof(
        self, m: int, too_long_exc_type: type[Exception] = RuntimeError
    ) -> Generator[None, None, bytes | bytearray]:
        """Read all that comes until the stream ends.

        Args:
            m: how many bytes that may be.
            too_long_exc_type: what to raise if it is more.
        """
        while True:
            if len(self.buffer) > m:
                raise too_long_exc_type(f"read {len(self.buffer)} bytes, expected no more than {m} bytes")
            if self.eof:
                return self._take(len(self.buffer))
            yield

    def at_eof(self) -> Generator[None, None, bool]:
        """Tell whether the stream has ended and all of it was read; waits until that is certain."""
        while not self.buffer:
            if self.eof:
                return True
            yield
        return False

    def _take(self, n: int) -> bytes:
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data

"""Deflate and inflate the messages of one connection (RFC 7692 section 7.2).

Between messages nothing of the compression library stays alive. What a message may refer to are the last bytes of those
before it, and a fresh compressor or decompressor that takes these bytes for its dictionary goes on as the one before it
would have done. This is why an idle connection costs its last few KiB and no more, and why a message that was
compressed once for many receivers is no break: its bytes become history like any others.

ISA-L, through `isal`, does the larger part of the work where it is installed, the standard library all of it elsewhere.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Mapping
from typing import Any

from ..exceptions import PayloadTooBig, ProtocolError

try:
    from isal import isal_zlib

    isal: Any = isal_zlib
except ImportError:
    isal = None

__all__ = ["SMALLEST", "Deflater", "Inflater"]

SMALLEST = 128  # characters or bytes; a shorter message saves less than the headers of its packet
HISTORY = 2048  # bytes; twice as many would make small messages 5 % smaller and take 20 % more time
ISAL_SIZE = 512  # bytes; from here on ISA-L is faster, up to eight times for large messages
ISAL_LEVEL = 1  # of 0 to 3, which aren't those of zlib; the higher ones take up to twice the time for 1 %
FINAL_BLOCKS = 64  # in one frame; each of them costs a new decompressor

SYNC = b"\x00\x00\xff\xff"  # how a flush ends, which is left out at the end of a message (section 7.2.1)
EMPTY = b"\x00"  # an empty message (section 7.2.3.6)
END = SYNC + b"\x01\x00\x00\xff\xff"  # and a final block, which is only seen as such if the message was whole

ERRORS = (zlib.error,) if isal is None else (zlib.error, isal.error)


class Deflater:
    """Compresses the messages that this side sends.

    Args:
        bits: size of the window as its logarithm, 9 to 15.
        takeover: whether a message may refer to the ones before it.
        settings: arguments for `zlib.compressobj`.
    """

    __slots__ = ("_arguments", "_history", "_isal_arguments", "_stream", "bits", "takeover")

    def __init__(self, bits: int, takeover: bool, settings: Mapping[str, Any]) -> None:
        self.bits = bits
        self.takeover = takeover
        level = settings.get("level", zlib.Z_DEFAULT_COMPRESSION)
        memory = settings.get("memLevel", zlib.DEF_MEM_LEVEL)
        strategy = settings.get("strategy", zlib.Z_DEFAULT_STRATEGY)
        self._arguments = (level, zlib.DEFLATED, -bits, memory, strategy)
        self._isal_arguments: tuple[int, ...] | None = None
        if isal is not None and settings.keys() <= {"memLevel"}:  # it can't do what else is asked for
            self._isal_arguments = (ISAL_LEVEL, zlib.DEFLATED, -bits, memory, strategy)
        self._history = b""
        self._stream: Any = None  # of a message that is sent in fragments

    def message(self, payload: bytes) -> bytes | None:
        """A whole message compressed, or None if that doesn't make it smaller."""
        data = self._compress(payload, self._history)
        if data is not None:
            self.remember(payload)
        return data

    def message_for_all(self, payload: bytes) -> bytes | None:
        """The same for every connection with this window or a larger one; tell each of them to `remember(payload)`."""
        return self._compress(payload, b"")

    def _compress(self, payload: bytes, history: bytes) -> bytes | None:
        if not payload:
            return None
        stream = self._start(len(payload), history)
        data: bytes = stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)
        return data[:-4] if len(data) - 4 < len(payload) else None

    def fragment(self, payload: bytes, fin: bool) -> bytes:
        """The next fragment of a message compressed; `fin` says that it is the last."""
        if self._stream is None:
            self._stream = self._start(len(payload), self._history)
        data: bytes = self._stream.compress(payload) + self._stream.flush(zlib.Z_SYNC_FLUSH) if payload else b""
        self.remember(payload)
        if not fin:
            return data
        self._stream = None
        return data[:-4] if data else EMPTY

    def _start(self, size: int, history: bytes) -> Any:
        """A compressor for a message of this size, or that starts with a fragment of this size."""
        if self._isal_arguments is not None and size >= ISAL_SIZE:
            return isal.compressobj(*self._isal_arguments, history)
        return zlib.compressobj(*self._arguments, history)

    def remember(self, payload: bytes) -> None:
        """Note what a compressed message said, so that the next one can refer to it."""
        if self.takeover:
            self._history = _last(HISTORY, self._history, payload)


class Inflater:
    """Decompresses the messages that the peer sends.

    Args:
        bits: size of the window as its logarithm, 8 to 15.
        takeover: whether a message may refer to the ones before it.
    """

    __slots__ = ("_stream", "_window", "bits", "takeover")

    def __init__(self, bits: int, takeover: bool) -> None:
        self.bits = bits
        self.takeover = takeover
        self._window = b""
        self._stream: Any = None  # of a message whose end is still to come

    def inflate(self, data: bytes, fin: bool = True, max_size: int | None = None) -> bytes:
        """What a fragment of a compressed message says; `fin` says that it is the last.

        Never makes more than `max_size` bytes, and one, of it.

        Raises:
            PayloadTooBig: if it is longer than `max_size` bytes.
            ProtocolError: if it can't be decompressed.
        """
        try:
            payload = self._inflate(data, sys.maxsize if max_size is None else max_size) if data else b""
            if fin:
                self._finish()
            return payload
        except ERRORS as error:
            reason = str(error)
        raise ProtocolError(f"decompression failed: {reason}")  # outside, so that nothing refers to what was received

    def _inflate(self, data: bytes, max_size: int) -> bytes:
        payload = b""
        for _ in range(FINAL_BLOCKS + 1):
            if self._stream is None:
                self._stream = self._start(len(data))
            piece: bytes = self._stream.decompress(data, min(max_size - len(payload), sys.maxsize - 1) + 1)
            payload += piece
            if len(payload) > max_size:
                raise PayloadTooBig(None, max_size)
            if self.takeover:
                self._window = _last(1 << self.bits, self._window, piece)
            if not self._stream.eof:
                return payload
            # Section 7.2.3.4: a final block doesn't end the message, only the stream of its compressor.
            data = self._stream.unused_data
            self._stream = None
            if not data:
                return payload
        raise ProtocolError(f"decompression failed: more than {FINAL_BLOCKS} final blocks in a frame")

    def _start(self, size: int) -> Any:
        """A decompressor for a message of this size, or that starts with a fragment of this size."""
        library = zlib if isal is None or size < ISAL_SIZE else isal
        return library.decompressobj(-max(self.bits, 9), self._window)

    def _finish(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:  # None: there was nothing, or nothing behind a final block
            stream.decompress(END, 1)
            if not stream.eof:
                raise ProtocolError("decompression failed: the message ends within a block")


def _last(size: int, before: bytes, after: bytes) -> bytes:
    """The last `size` bytes of two strings."""
    return after[-size:] if len(after) >= size else (before + after)[-size:]

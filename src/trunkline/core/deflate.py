"""Deflate and inflate the messages of one connection (RFC 7692 section 7.2).

A message may refer to the last bytes of the messages before it. A fresh compressor or decompressor that takes these
bytes for its dictionary goes on as its predecessor would have done. So nothing of the compression library need stay
alive between messages: an idle connection costs its last few KiB. A message that was compressed once for many receivers
is no break either: its bytes become history like any others.

ISA-L, through `isal`, does the larger part of the work where it is installed, the standard library all of it elsewhere.
A compressor of the standard library takes a third of the time of a small message to make. So the process keeps the ones
that were used last, a fixed number of them.
"""

from __future__ import annotations

import dataclasses
import sys
import zlib
from collections import deque
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from trunkline.exceptions import PayloadTooBig, ProtocolError
from trunkline.extensions.base import Extension
from trunkline.frames import CTRL_OPCODES, Frame, Opcode
from trunkline.typing import ExtensionName

try:
    from isal import isal_zlib

    isal: Any = isal_zlib
except ImportError:
    isal = None

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

if cython.compiled:
    from cython.cimports.trunkline.core.kernels import last
else:
    from trunkline.core.kernels import last

__all__ = ["SMALLEST", "Deflater", "Inflater", "PerMessageDeflate", "SharedHistory"]

NAME = ExtensionName("permessage-deflate")

SMALLEST = 128  # characters or bytes; a shorter message saves less than the headers of its packet
HISTORY = 2048  # bytes; twice as many would make small messages 5 % smaller and take 20 % more time
LEVEL = 3  # of zlib, unless another is asked for: 6 makes messages 2 to 9 % smaller, and takes 25 to 80 % more time
ISAL_SIZE = 512  # bytes; from here on ISA-L decompresses faster. It compresses any message faster
ISAL_LEVEL = 1  # of 0 to 3, which aren't those of zlib; the higher ones take up to twice the time for 1 %
KEPT = 64  # compressors of the process, of some 40 KiB each
FINAL_BLOCKS = 64  # in one frame; each of them costs a new decompressor
LONGEST = sys.maxsize - 1  # bytes of a payload without a limit: one more can be asked for

SYNC = b"\x00\x00\xff\xff"  # how a flush ends, which is left out at the end of a message (section 7.2.1)
EMPTY = b"\x00"  # an empty message (section 7.2.3.6)
END = SYNC + b"\x01\x00\x00\xff\xff"  # and a final block, which is only seen as such if the message was whole

ERRORS = (zlib.error,) if isal is None else (zlib.error, isal.error)


@cython.final
@cython.cclass
class SharedHistory:
    """The bytes that many connections remember, joined once for all that share the history before a message.

    Connections that receive the same broadcasts hold the very same bytes, so this saves memory, too.
    """

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.before = b""
        self.after = last(HISTORY, b"", payload)

    @cython.cfunc
    def behind(self, before: bytes) -> bytes:
        """The history that goes on from `before` with this message."""
        if before != self.before and len(self.payload) < HISTORY:
            self.before = before
            self.after = last(HISTORY, before, self.payload)
        return self.after


@cython.final
@cython.cclass
class KeptStream:
    """A compressor that has seen all that its connection sent, as long as it is one of those that were used last."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        if len(_kept) >= KEPT:
            oldest: KeptStream = _kept.popleft()
            oldest.stream = None
        _kept.append(self)


_kept: deque[KeptStream] = deque()  # in the order in which they were made


@cython.final
@cython.cclass
class Deflater:
    """Compresses the messages that this side sends.

    Args:
        bits: size of the window as its logarithm, 9 to 15.
        takeover: whether a message may refer to the ones before it.
        settings: arguments for `zlib.compressobj`.
        every: whether every message takes the form of a compressed one, also where that makes it longer.

    Attributes:
        kind: connections of the same kind can share what `message_for_all` gives.
    """

    def __init__(self, bits: int, takeover: bool, settings: Mapping[str, Any], every: bool = False) -> None:
        self.bits = bits
        self.takeover = takeover
        self.every = every
        self.kind = bits | 16 if every else bits
        level = settings.get("level", LEVEL)
        memory = settings.get("memLevel", zlib.DEF_MEM_LEVEL)
        strategy = settings.get("strategy", zlib.Z_DEFAULT_STRATEGY)
        library = zlib
        if isal is not None and settings.keys() <= {"memLevel"}:  # it can't do what else is asked for
            library, level = isal, ISAL_LEVEL
        self._new = library.compressobj
        self._arguments = (level, zlib.DEFLATED, -bits, memory, strategy)
        self._keeps = takeover and library is zlib
        self._history = b""
        self._kept: KeptStream | None = None
        self._stream: Any = None  # of a message that is sent in fragments

    @cython.ccall
    def wants(self, size: cython.Py_ssize_t, compress: object) -> cython.bint:
        """Whether to compress a message of this size, for which the program may have said `compress`."""
        return self.every or (size >= SMALLEST if compress is None else bool(compress))

    @cython.ccall
    def message(self, payload: bytes, stored: cython.bint = False) -> bytes | None:
        """A whole message compressed, or None if that doesn't make it smaller, and it needn't be.

        `stored` is that of `fragment`.
        """
        if stored:
            return self.fragment(payload, True, True)
        if not payload:
            return EMPTY if self.every else None
        kept, self._kept = self._kept, None
        stream = None if kept is None else kept.stream
        if stream is None:
            kept, stream = None, self._start(self._history)
        data = _compress(stream, payload, self.every)
        if data is None:
            return None  # the stream has seen what the peer will not
        self._extend_history(payload)
        if self._keeps:
            self._kept = KeptStream(stream) if kept is None else kept
        return data

    @cython.ccall
    def message_for_all(self, payload: bytes, stored: cython.bint = False) -> bytes | None:
        """The same for every connection with this window or a larger one; tell each of them to remember the message.

        `stored` is that of `fragment`.
        """
        if not payload:
            return EMPTY if self.every else None
        return _compress(_store() if stored else self._start(b""), payload, self.every)

    @cython.ccall
    def fragment(self, payload: bytes, fin: cython.bint, stored: cython.bint = False) -> bytes:
        """The next fragment of a message compressed.

        Args:
            payload: the fragment.
            fin: whether it is the last.
            stored: for the first one, whether the message only takes the form of a compressed one. Its length tells
                nothing of its content then.
        """
        if self._stream is None:
            self._stream = _store() if stored else self._start(self._history)
            self._kept = None
        data: bytes = self._stream.compress(payload) + self._stream.flush(zlib.Z_SYNC_FLUSH) if payload else b""
        self._extend_history(payload)
        if not fin:
            return data
        self._stream = None
        return data[: len(data) - len(SYNC)] if data else EMPTY

    @cython.cfunc
    def _start(self, history: bytes) -> Any:
        """A compressor that goes on behind this history."""
        return self._new(*self._arguments, history)

    @cython.ccall
    def remember(self, payload: bytes) -> None:
        """Note what a message said that was compressed elsewhere, so that the next one can refer to it."""
        self._kept = None
        self._extend_history(payload)

    @cython.cfunc
    def remember_shared(self, message: SharedHistory) -> None:
        """`remember` for a message that was compressed for many."""
        self._kept = None
        if self.takeover:
            self._history = message.behind(self._history)

    @cython.cfunc
    def _extend_history(self, payload: bytes) -> None:
        if self.takeover:
            self._history = last(HISTORY, self._history, payload)


@cython.final
@cython.cclass
class Inflater:
    """Decompresses the messages that the peer sends.

    Args:
        bits: size of the window as its logarithm, 8 to 15.
        takeover: whether a message may refer to the ones before it.
    """

    def __init__(self, bits: int, takeover: bool) -> None:
        self.bits = bits
        self.takeover = takeover
        self._window = b""
        self._stream: Any = None  # of a message whose end is still to come

    @cython.ccall
    def inflate(self, data: bytes, fin: cython.bint = True, max_size: Any = None) -> bytes:
        """Decompress a fragment of a message; `fin` says that it is the last.

        Never makes more than `max_size` bytes, and one, of it.

        Raises:
            PayloadTooBig: if it is longer than `max_size` bytes.
            ProtocolError: if it can't be decompressed.
        """
        limit: cython.Py_ssize_t = LONGEST if max_size is None else min(max_size, LONGEST)
        whole: cython.bint = fin and self._stream is None and len(data) > 0
        try:
            payload = self._inflate_whole(data, limit) if whole else None
            if payload is None:
                payload = self._inflate(data, limit) if data else b""
                if fin:
                    self._finish()
            return payload
        except ERRORS as error:
            reason = str(error)
        # Outside, and with an error made anew, so that nothing refers to what was received.
        raise ProtocolError("decompression failed") from zlib.error(reason)

    @cython.cfunc
    def _inflate_whole(self, data: bytes, max_size: cython.Py_ssize_t) -> bytes | None:
        """A message of one frame, as nearly all are, in one go; None leaves it to callers that do it step by step."""
        stream = self._start(len(data))
        payload: bytes = stream.decompress(data + END, max_size + 1)
        if len(payload) > max_size:
            raise PayloadTooBig(None, max_size)
        if not stream.eof or stream.unused_data:
            return None  # it isn't whole, or has final blocks of its own
        self._remember(payload)
        return payload

    @cython.cfunc
    def _inflate(self, data: bytes, max_size: cython.Py_ssize_t) -> bytes:
        payload = b""
        for _ in range(FINAL_BLOCKS + 1):
            if self._stream is None:
                self._stream = self._start(len(data))
            piece: bytes = self._stream.decompress(data, max_size - len(payload) + 1)
            payload += piece
            if len(payload) > max_size:
                raise PayloadTooBig(None, max_size)
            self._remember(piece)
            if not self._stream.eof:
                return payload
            # Section 7.2.3.4: a final block doesn't end the message, only the stream of its compressor.
            data = self._stream.unused_data
            self._stream = None
            if not data:
                return payload
        raise ProtocolError(f"decompression failed: more than {FINAL_BLOCKS} final blocks in a frame")

    @cython.cfunc
    def _start(self, size: cython.Py_ssize_t) -> Any:
        """A decompressor for a message of this size, or that starts with a fragment of this size."""
        library = zlib if isal is None or size < ISAL_SIZE else isal
        return library.decompressobj(-max(self.bits, 9), self._window)

    @cython.cfunc
    def _remember(self, piece: bytes) -> None:
        if self.takeover:
            self._window = last(1 << self.bits, self._window, piece)

    @cython.cfunc
    def _finish(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:  # None: there was nothing, or nothing behind a final block
            stream.decompress(END, 1)
            if not stream.eof:
                raise ProtocolError("decompression failed: the message ends within a block")


class PerMessageDeflate(Extension):
    """The extension at work on one connection; "local" is what this side sends, "remote" what it receives.

    Args:
        remote_no_context_takeover: whether the peer compresses each message without reference to those before it.
        local_no_context_takeover: whether this side does.
        remote_max_window_bits: logarithm of the peer's window size, 8 to 15.
        local_max_window_bits: logarithm of this side's window size, 9 to 15.
        compress_settings: arguments for :func:`zlib.compressobj`.
        compress_all: whether every message is compressed, however short, and also where that makes it longer.

    Raises:
        ValueError: if a window size is outside its range.
    """

    name = NAME

    def __init__(
        self,
        remote_no_context_takeover: bool,
        local_no_context_takeover: bool,
        remote_max_window_bits: int,
        local_max_window_bits: int,
        compress_settings: Mapping[str, Any] | None = None,
        compress_all: bool = False,
    ) -> None:
        check_window_bits("remote_max_window_bits", remote_max_window_bits, 8)
        check_window_bits("local_max_window_bits", local_max_window_bits, 9)
        self.remote_no_context_takeover = remote_no_context_takeover
        self.local_no_context_takeover = local_no_context_takeover
        self.remote_max_window_bits = remote_max_window_bits
        self.local_max_window_bits = local_max_window_bits
        self.compress_settings = compress_settings or {}
        takeover = not local_no_context_takeover
        self.deflater = Deflater(local_max_window_bits, takeover, self.compress_settings, compress_all)
        self.inflater = Inflater(remote_max_window_bits, not remote_no_context_takeover)
        self._inflating = False  # the fragmented message that is being received is a compressed one

    def another(self) -> PerMessageDeflate:
        """Return one with the same parameters, for another connection."""
        return PerMessageDeflate(
            self.remote_no_context_takeover,
            self.local_no_context_takeover,
            self.remote_max_window_bits,
            self.local_max_window_bits,
            self.compress_settings,
            self.deflater.every,
        )

    def __repr__(self) -> str:
        return (
            f"PerMessageDeflate(remote_no_context_takeover={self.remote_no_context_takeover}, "
            f"local_no_context_takeover={self.local_no_context_takeover}, "
            f"remote_max_window_bits={self.remote_max_window_bits}, "
            f"local_max_window_bits={self.local_max_window_bits})"
        )

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Return a received frame decompressed.

        Args:
            frame: the frame as it arrived.
            max_size: limit of the payload after decompression, in bytes; None for no limit.

        Raises:
            PayloadTooBig: if the payload exceeds ``max_size``.
            ProtocolError: if it can't be decompressed.
        """
        if frame.opcode in CTRL_OPCODES:
            return frame
        if frame.opcode is not Opcode.CONT:
            self._inflating = frame.rsv1
        if not self._inflating:
            return frame
        if frame.opcode is Opcode.CONT and frame.rsv1:  # section 6.1: only the first fragment tells
            raise ProtocolError("RSV1 bit set in continuation frame")
        data = self.inflater.inflate(bytes(frame.data), frame.fin, max_size)
        return dataclasses.replace(frame, data=data, rsv1=False)

    def encode(self, frame: Frame) -> Frame:
        """Return a frame compressed, by zlib at its own level and however small, as `websockets` does."""
        if frame.opcode in CTRL_OPCODES:
            return frame
        data = self._encoder.fragment(bytes(frame.data), frame.fin)
        return dataclasses.replace(frame, data=data, rsv1=frame.opcode is not Opcode.CONT)

    @cached_property
    def _encoder(self) -> Deflater:
        settings = {"level": zlib.Z_DEFAULT_COMPRESSION, **self.compress_settings}
        return Deflater(self.local_max_window_bits, not self.local_no_context_takeover, settings)


def check_window_bits(name: str, bits: int, smallest: int) -> None:
    if bits is True or not smallest <= bits <= 15:
        raise ValueError(f"{name} must be between {smallest} and 15")


@cython.cfunc
def _compress(stream: Any, payload: bytes, every: cython.bint) -> bytes | None:
    """A message, or None if it doesn't get smaller, and needn't be compressed."""
    data: bytes = stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)
    size: cython.Py_ssize_t = len(data) - len(SYNC)
    return data[:size] if every or size < len(payload) else None


@cython.cfunc
def _store() -> Any:
    """A compressor that compresses nothing, and refers to nothing."""
    return zlib.compressobj(zlib.Z_NO_COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS)

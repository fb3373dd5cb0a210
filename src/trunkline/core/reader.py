"""Bytes in, frames and messages out: the receiving half of RFC 6455 sections 5.2 to 5.6.

The reader applies every rule that the wire alone can break: header fields, masking direction, order of fragments,
UTF-8, limits. It gives frames and messages to a `FrameSink`, and raises for a broken rule. `Session.receive_data` turns
that into a close code, in one place.

It keeps a state instead of a buffer. A header that is cut is kept until it is whole. A payload that is cut is unmasked
straight into the object that the program will get. So the cost is linear however the bytes are split, and any split of
the input gives the same messages. Text is refused at the first wrong byte.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from trunkline.core.inbox import Fragment
from trunkline.core.utf8 import TextValidator
from trunkline.exceptions import PayloadTooBig, ProtocolError, TooManyFragments
from trunkline.frames import Frame, Opcode

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

if cython.compiled:
    from cython.cimports.trunkline.core.kernels import (
        at,
        key_at,
        memory,
        payload_at,
        payload_done,
        payload_fill,
        payload_grow,
        payload_new,
        payload_slice,
        payload_unmask,
        take_binary,
        take_text,
    )
    from cython.cimports.trunkline.core.opcodes import BINARY, CONTINUATION, FIRST_CONTROL, PONG, TEXT
else:
    from trunkline.core.kernels import (
        at,
        key_at,
        memory,
        payload_done,
        payload_fill,
        payload_grow,
        payload_new,
        payload_slice,
        take_binary,
        take_text,
    )
    from trunkline.core.opcodes import BINARY, CONTINUATION, FIRST_CONTROL, PONG, TEXT

if TYPE_CHECKING:
    from trunkline.core.deflate import Inflater
    from trunkline.extensions.base import Extension

__all__ = ["FrameSink", "Reader"]

UNLIMITED = 2**62  # what is reckoned with it fits into 64 bits
LONGEST_HEADER = 14  # 2 bytes, 8 of extended length, 4 of masking key
ALLOCATE_AHEAD = 1 << 20  # a header alone never costs more memory than this
FRAGMENT_CHARGE = 64  # bytes of limit that a fragment uses at least: an empty one costs memory, too
SMALLEST_CHARGE_LIMIT = 1 << 18  # so that a small max_size does not forbid fragmentation
MAX_FRAGMENTS = int(os.environ.get("WEBSOCKETS_MAX_FRAGMENTS", 0)) or UNLIMITED


@cython.cclass
class FrameSink:
    """Where a reader hands what it found, one method per kind."""

    @cython.ccall
    def message(self, payload: object) -> object:
        """A whole message that came in one frame: str for text, bytes for binary."""
        raise NotImplementedError

    @cython.ccall
    def fragment(self, fragment: object) -> object:
        """A frame of a fragmented message, as a `Fragment`."""
        raise NotImplementedError

    @cython.ccall
    def control(self, opcode: cython.int, payload: bytes) -> object:
        """A close, ping or pong frame (section 5.5)."""
        raise NotImplementedError


@cython.cclass
class Reader:
    """Reads the frames that one peer sends.

    Args:
        sink: receives what is found.
        masked: whether the peer must mask (a client must, a server must not: section 5.1).
        max_message: limit of a message's payload in bytes, or None.
        max_frame: limit of one frame's payload in bytes, or None.
    """

    def __init__(
        self, sink: FrameSink, masked: bool, max_message: int | None = None, max_frame: int | None = None
    ) -> None:
        self.sink = sink
        self.masked = masked
        self.max_message = UNLIMITED if max_message is None else min(max_message, UNLIMITED)
        self.max_frame = UNLIMITED if max_frame is None else min(max_frame, UNLIMITED)
        self.max_charge = max(self.max_message, SMALLEST_CHARGE_LIMIT)
        self.stopped = False
        self.extensions: Sequence[Extension] = ()  # those that see frames
        self.inflater: Inflater | None = None
        self.plain = True  # neither extensions nor a trace look at frames
        self.trace: Callable[[Frame], None] | None = None
        # the frame whose header was read last
        self.first = 0
        self.opcode = 0
        self.fin = False
        self.key = 0
        self.length = 0
        # what of it came so far
        self.cut_header = b""
        self.payload: Any = None  # made by `payload_new`, filled before other code sees it
        self.is_ascii = True  # as far as it came
        self.capacity = 0
        self.filled = 0
        self.compressed = False  # whether the message in progress is
        # the fragmented message in progress: 0, or the opcode of its first frame
        self.message_opcode = 0
        self.message_bytes = 0
        self.message_frames = 0
        self.message_charge = 0
        self.validator: Any = None  # `TextValidator` of text that comes in pieces

    def receive_data(self, data: bytes) -> None:
        """Read `data`, all that came, in any split.

        Raises:
            ProtocolError: the peer broke RFC 6455 (close code 1002).
            PayloadTooBig, TooManyFragments: a limit is exceeded (1009).
            UnicodeDecodeError: text is not UTF-8 (1007).
        """
        self.feed(memory(data), len(data))

    def open(
        self, extensions: Sequence[Extension], inflater: Inflater | None, trace: Callable[[Frame], None] | None
    ) -> None:
        """Set who looks at frames before they are handed over, and what decompresses messages before that."""
        self.extensions = extensions
        self.inflater = inflater
        self.trace = trace
        self.plain = trace is None and not extensions

    @cython.ccall
    def stop(self) -> None:
        """Ignore the rest: nothing counts after a close frame (section 5.5.1)."""
        self.stopped = True
        self.payload = None
        # They own the reader: without the cycle they are freed when the last reference to them is gone.
        self.sink = self.trace = None  # type: ignore[assignment]

    def describe_end(self) -> str:
        """Describe the end of the stream: how much came of the part of a frame that is cut, if one is."""
        if self.payload is not None:
            return f"stream ends after {self.filled} bytes, expected {self.length} bytes"
        came = len(self.cut_header)
        if came == 0:
            return "unexpected end of stream"
        for size in (2, *self._rest_of_header()):
            if came < size:
                break
            came -= size
        return f"stream ends after {came} bytes, expected {size} bytes"

    def _rest_of_header(self) -> list[int]:
        """Sizes of what follows the first two bytes of a header that is cut: extended length, masking key."""
        if len(self.cut_header) < 2:
            return []
        extended_length = {126: 2, 127: 8}.get(self.cut_header[1] & 0x7F, 0)
        return [extended_length, 4] if self.masked else [extended_length]

    @cython.cfunc
    def feed(self, data: cython.pointer[cython.const[cython.uchar]], n: cython.Py_ssize_t) -> cython.int:
        i: cython.Py_ssize_t = 0
        used: cython.Py_ssize_t
        while i < n and not self.stopped:
            if self.payload is not None:
                i += self._continue_payload(at(data, i), n - i)
            elif self.cut_header:
                i += self._continue_header(at(data, i), n - i)
                if self.length == 0 and not self.cut_header:
                    self._whole_frame(at(data, i))
            else:
                used = self._read_header(at(data, i), n - i)
                if used == 0:
                    self.cut_header = take_binary(at(data, i), n - i, 0)
                    return 0
                i += used
                if self.length <= n - i:
                    self._whole_frame(at(data, i))
                    i += self.length
                else:
                    self._begin_payload()
        return 0

    # Header (section 5.2)

    @cython.cfunc
    def _read_header(self, data: cython.pointer[cython.const[cython.uchar]], n: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Read and check the header at `data`; returns its size, or 0 when not all of it is there."""
        size: cython.Py_ssize_t = 2
        short_length: cython.int
        length: cython.longlong
        i: cython.Py_ssize_t
        if n < 2:
            return 0
        self.first = data[0]
        self._check_start(data[0], data[1])
        short_length = data[1] & 0x7F
        if short_length == 126:
            size = 4
        elif short_length == 127:
            size = 10
        length = short_length
        if size > 2:
            if n < size:
                return 0
            length = 0
            for i in range(2, size):
                if i == 2 and size == 10 and data[i] & 0x80:
                    raise ProtocolError("invalid frame length: its most significant bit must be 0")
                length = length << 8 | data[i]
            if length < 126 or (size == 10 and length < 65536):
                raise ProtocolError("invalid frame length: not the minimal encoding")
        self.length = length
        if self.opcode < FIRST_CONTROL:
            self._check_limits()
        self.key = 0
        if self.masked:
            if n < size + 4:
                return 0
            self.key = key_at(data, size)
            size += 4
        return size

    @cython.cfunc
    def _check_start(self, first: cython.int, second: cython.int) -> cython.int:
        """Rules that the first two bytes decide."""
        self.fin = (first & 0x80) != 0
        self.opcode = first & 0x0F
        if self.opcode > PONG or BINARY < self.opcode < FIRST_CONTROL:
            raise ProtocolError("invalid opcode")
        if ((second & 0x80) != 0) != self.masked:
            raise ProtocolError("incorrect masking")
        if first & 0x70:
            self._check_reserved_bits(first)
        if self.opcode >= FIRST_CONTROL:  # section 5.5
            if (second & 0x7F) > 125:
                raise ProtocolError("control frame too long")
            if not self.fin:
                raise ProtocolError("fragmented control frame")
        elif self.opcode == CONTINUATION:  # section 5.4
            if self.message_opcode == 0:
                raise ProtocolError("unexpected continuation frame")
        elif self.message_opcode != 0:
            raise ProtocolError("expected a continuation frame")
        return 0

    @cython.cfunc
    def _check_reserved_bits(self, first: cython.int) -> cython.int:
        """RFC 7692 section 6: the first frame of a message says in RSV1 that the message is compressed."""
        if self.inflater is not None and first & 0x40 and CONTINUATION < self.opcode < FIRST_CONTROL:
            self.compressed = True
            first &= ~0x40
        if first & 0x70 and not self.extensions:
            raise ProtocolError("reserved bits must be 0")
        return 0

    @cython.cfunc
    def _check_limits(self) -> cython.int:
        """Nothing is allocated for a frame that will be refused (section 10.4)."""
        left: cython.longlong = self.max_message - self.message_bytes
        if self.compressed:
            self._check_compressed_size(min(left, self.max_frame))
            return 0
        if self.length > self.max_frame and self.max_frame < left:
            raise PayloadTooBig(self.length, self.max_frame)
        if self.length > left:
            raise PayloadTooBig(self.length, left, self.message_bytes or None)
        return 0

    @cython.cfunc
    def _check_compressed_size(self, limit: cython.longlong) -> cython.int:
        """Data that can't be compressed gets longer, but only by the headers of its blocks."""
        if self.length > limit + limit // 8 + 64:
            raise PayloadTooBig(self.length, limit)
        return 0

    @cython.cfunc
    def _continue_header(
        self, data: cython.pointer[cython.const[cython.uchar]], n: cython.Py_ssize_t
    ) -> cython.Py_ssize_t:
        """Complete a header that was cut; returns how many bytes of `data` belong to it."""
        had: cython.Py_ssize_t = len(self.cut_header)
        missing: cython.Py_ssize_t = min(n, LONGEST_HEADER - had)
        head: bytes = self.cut_header + take_binary(data, missing, 0)
        used: cython.Py_ssize_t = self._read_header(memory(head), len(head))
        if used == 0:
            self.cut_header = head
            return missing
        self.cut_header = b""
        if self.length > 0:
            self._begin_payload()
        return used - had

    # Payload

    @cython.cfunc
    def _whole_frame(self, data: cython.pointer[cython.const[cython.uchar]]) -> cython.int:
        """A frame whose payload stands at `data`, all of it."""
        if self.opcode not in (TEXT, BINARY) or self.compressed or not (self.fin and self.plain):
            self._deliver(take_binary(data, self.length, self.key), False)
        elif self.opcode == TEXT:
            self.sink.message(take_text(data, self.length, self.key))
        else:
            self.sink.message(take_binary(data, self.length, self.key))
        return 0

    @cython.cfunc
    def _begin_payload(self) -> cython.int:
        self.capacity = min(self.length, ALLOCATE_AHEAD)
        is_text: cython.bint = self.opcode == TEXT and self.fin and self.plain and not self.compressed
        self.payload = payload_new(self.capacity, is_text)
        self.filled = 0
        self.is_ascii = True
        if self.opcode == TEXT:
            self.validator = TextValidator()
        return 0

    @cython.cfunc
    def _continue_payload(
        self, data: cython.pointer[cython.const[cython.uchar]], n: cython.Py_ssize_t
    ) -> cython.Py_ssize_t:
        """Take what `data` has of the payload; returns how many bytes that was."""
        if n > self.length - self.filled:
            n = self.length - self.filled
        if self.filled + n > self.capacity:
            self._grow_payload(self.filled + n)
        self._advance(n, payload_fill(self.payload, self.filled, data, n, self.key))
        return n

    @cython.cfunc
    def _grow_payload(self, needed: cython.Py_ssize_t) -> cython.int:
        self.capacity = min(self.length, max(2 * self.capacity, needed))
        self.payload = payload_grow(self.payload, self.filled, self.capacity)
        return 0

    @cython.cfunc
    def _advance(self, n: cython.Py_ssize_t, is_ascii: cython.bint) -> cython.int:
        """`n` more bytes of the payload are in place, unmasked."""
        checked: cython.bint = self._is_text() and not self.compressed and not self.extensions
        self.filled += n
        self.is_ascii = self.is_ascii and is_ascii
        if checked:
            self._check_text(self.filled - n, is_ascii)
        if self.filled == self.length:
            self._complete_payload(checked)
        return 0

    @cython.cfunc
    def _is_text(self) -> cython.bint:
        return self.opcode == TEXT or (self.opcode == CONTINUATION and self.message_opcode == TEXT)

    @cython.cfunc
    def _check_text(self, start: cython.Py_ssize_t, is_ascii: cython.bint) -> cython.int:
        """Fail fast on payload[start:filled] (section 8.1)."""
        final: cython.bint = self.fin and self.filled == self.length
        if is_ascii and not self.validator.pending:
            self.validator.offset += self.filled - start
        else:
            self.validator.feed(payload_slice(self.payload, start, self.filled), final)
        return 0

    @cython.cfunc
    def _complete_payload(self, checked: cython.bint) -> cython.int:
        payload: Any = payload_done(self.payload, self.is_ascii)
        self.payload = None
        if isinstance(payload, str):
            self.validator = None
            self.sink.message(payload)
        else:
            self._deliver(payload, checked)
        return 0

    if cython.compiled:

        @cython.cfunc
        def direct_room(self) -> cython.Py_ssize_t:
            """How many bytes could be received straight into the payload in progress; 0 if there is none."""
            if self.payload is None:
                return 0
            if self.filled == self.capacity:
                self._grow_payload(self.filled + 1)
            return self.capacity - self.filled

        @cython.cfunc
        def direct_memory(self) -> cython.pointer[cython.const[cython.uchar]]:
            return payload_at(self.payload, self.filled)

        @cython.cfunc
        def direct_received(self, n: cython.Py_ssize_t) -> cython.int:
            return self._advance(n, payload_unmask(self.payload, self.filled, n, self.key))

    # Frame and message

    @cython.cfunc
    def _deliver(self, payload: bytes, checked: cython.bint) -> cython.int:
        """Hand over a complete frame; `checked` says that its text was validated on arrival."""
        if self.compressed and self.opcode < FIRST_CONTROL:
            payload = self._inflate(payload)
        if not self.plain:
            payload = self._decode(payload)
        if self.opcode >= FIRST_CONTROL:
            self.sink.control(self.opcode, payload)
        elif self.opcode != CONTINUATION and self.fin:
            self.sink.message(payload.decode() if self.opcode == TEXT else payload)
        else:
            self._deliver_fragment(payload, checked)
        return 0

    @cython.cfunc
    def _inflate(self, payload: bytes) -> bytes:
        """Decompress a frame of a compressed message (RFC 7692 section 6.2)."""
        assert self.inflater is not None, "without it no message is compressed"
        self.first &= ~0x40
        self.compressed = not self.fin
        left: cython.longlong = self.max_message - self.message_bytes
        try:
            return self.inflater.inflate(payload, self.fin, min(left, self.max_frame))
        except PayloadTooBig as error:
            if left <= self.max_frame:
                error.set_current_size(self.message_bytes or None)
            raise

    @cython.cfunc
    def _deliver_fragment(self, payload: bytes, checked: cython.bint) -> cython.int:
        if self.opcode != CONTINUATION:
            self.message_opcode = self.opcode
            if self.opcode == TEXT and not checked:
                self.validator = TextValidator()
        text: cython.bint = self.message_opcode == TEXT
        if text and not checked:
            self.validator.feed(payload, self.fin)
        self._charge(len(payload))
        self.sink.fragment(Fragment(payload, text, self.fin))
        if self.fin:
            self.validator = None
            self.message_opcode = 0
            self.message_bytes = self.message_frames = self.message_charge = 0
        return 0

    @cython.cfunc
    def _charge(self, n: cython.Py_ssize_t) -> cython.int:
        """Count what a fragment costs in memory, not only what it carries."""
        self.message_bytes += n
        self.message_frames += 1
        self.message_charge += max(n, FRAGMENT_CHARGE)
        if self.message_charge > self.max_charge or self.message_frames > MAX_FRAGMENTS:
            raise TooManyFragments(self.message_frames - 1)
        return 0

    def _decode(self, payload: bytes) -> bytes:
        """Pass a frame through the extensions, last one first (section 9.1), and show it to `trace`."""
        frame = Frame(
            Opcode(self.opcode),
            payload,
            self.fin,
            bool(self.first & 0x40),
            bool(self.first & 0x20),
            bool(self.first & 0x10),
        )
        for extension in reversed(self.extensions):
            frame = extension.decode(frame, max_size=min(self.max_frame, self.max_message - self.message_bytes))
        frame.check()
        if self.trace is not None:
            self.trace(frame)
        return bytes(frame.data)

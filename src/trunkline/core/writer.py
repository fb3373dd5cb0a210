"""Frames out: the sending half of RFC 6455 section 5, and messages prepared once for many receivers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from trunkline.core import _cython as uncompiled
from trunkline.core.deflate import Deflater, SharedHistory

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

if cython.compiled:
    from cython.cimports.trunkline.core.kernels import frame, header, key_at, memory
    from cython.cimports.trunkline.core.opcodes import BINARY, TEXT
    from cython.cimports.trunkline.core.signature import sign
else:
    from trunkline.core.kernels import frame, header, key_at, memory
    from trunkline.core.opcodes import BINARY, TEXT

__all__ = ["PreparedMessage", "as_payload"]

# typing.get_type_hints() looks for these here, and Cython keeps them to itself.
globals().update(Deflater=Deflater, cython=uncompiled)

SEPARATE_PAYLOAD = 1 << 14  # bytes; from here on header and payload leave as two buffers, which saves a copy
KEYS = 1024


@cython.cclass
class MaskingKeys:
    """Fresh, unpredictable masking keys (section 5.3), drawn from the system in batches."""

    def __init__(self) -> None:
        self.pool = b""
        self.used = 0

    @cython.ccall
    def draw(self) -> cython.uint:
        i: cython.Py_ssize_t = self.used
        if i == len(self.pool):
            self.pool = os.urandom(4 * KEYS)
            i = 0
        self.used = i + 4
        return key_at(memory(self.pool), i)

    def forget(self) -> None:
        """Drop what was drawn ahead: a forked child must not repeat its parent's keys."""
        self.pool = b""
        self.used = 0


masking_keys: MaskingKeys = MaskingKeys()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=masking_keys.forget)


@cython.ccall
def write_frame(outgoing: list, first: cython.int, payload: bytes | str, masked: cython.bint) -> cython.Py_ssize_t:  # type: ignore[type-arg]
    """Append a frame to `outgoing` as one buffer or two; returns its size in bytes.

    Args:
        outgoing: list of bytes.
        first: first byte of the frame: FIN, RSV1 to RSV3, opcode.
        payload: bytes, or str which is sent as UTF-8.
        masked: whether to mask, as a client must (section 5.1).

    Raises:
        UnicodeEncodeError: if a str has lone surrogates.
    """
    data: bytes
    if masked:
        data = frame(first, payload, True, masking_keys.draw())
    elif isinstance(payload, bytes) and len(payload) >= SEPARATE_PAYLOAD:
        data = header(first, len(payload))
        outgoing.append(data)
        outgoing.append(payload)
        return len(data) + len(payload)
    else:
        data = frame(first, payload, False, 0)
    outgoing.append(data)
    return len(data)


def as_payload(data: object) -> bytes:
    """The bytes of a bytes-like object, copied if it could change before they are sent.

    Raises:
        TypeError: if `data` is not bytes-like.
    """
    if type(data) is bytes:
        return data
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"expected bytes, bytearray or memoryview, got {type(data).__name__}")


@cython.cclass
class PreparedFrame:
    """A frame laid out once for many connections.

    Args:
        first: first byte of the frame.
        payload: what it carries.
    """

    def __init__(self, first: int, payload: bytes) -> None:
        self.first = first
        self.payload = payload
        self.buffers: list[bytes] = []
        self.size = write_frame(self.buffers, first, payload, False)

    @cython.ccall
    def write(self, outgoing: list, masked: cython.bint) -> cython.Py_ssize_t:  # type: ignore[type-arg]
        """Append the frame to `outgoing`; returns its size in bytes. Each masked one has a key of its own."""
        if masked:
            return write_frame(outgoing, self.first, self.payload, True)
        outgoing.extend(self.buffers)
        return self.size


@cython.final
@cython.cclass
class PreparedMessage(PreparedFrame):
    """A message encoded and compressed once for many connections: `ws.send(prepared)` and `broadcast` take it like any.

    Args:
        message: str for a text message, bytes-like for a binary one.
        text: send bytes-like data, which must be UTF-8, as text (True), or a str as binary (False).
        compress: as for `ws.send`: True or False, or None to leave short messages as they are.

    Raises:
        TypeError: if `message` is neither str nor bytes-like.
        UnicodeEncodeError: if a str cannot be encoded in UTF-8.
    """

    def __init__(self, message: object, *, text: bool | None = None, compress: bool | None = None) -> None:
        is_str = isinstance(message, str)
        self.opcode = TEXT if (is_str if text is None else text) else BINARY
        super().__init__(0x80 | self.opcode, message.encode() if isinstance(message, str) else as_payload(message))
        self.compress = compress
        self.frames: dict[int, PreparedFrame | None] = {}  # compressed, by the kind of the deflater
        self.history: SharedHistory | None = None  # of the connections that get it compressed

    def __len__(self) -> int:
        """Size of the payload in bytes."""
        return len(self.payload)

    @cython.ccall
    def deflated(self, deflater: Deflater) -> PreparedFrame:
        """The frame for a connection that compresses, which remembers it; the message itself if it stays as it is."""
        kind: int = deflater.kind
        if kind not in self.frames:
            self.frames[kind] = self._deflate(deflater)
        frame: PreparedFrame | None = self.frames[kind]
        if frame is None:
            return self
        assert self.history is not None, "made with the first compressed frame"
        deflater.remember_shared(self.history)
        return frame

    @cython.cfunc
    def _deflate(self, deflater: Deflater) -> PreparedFrame | None:
        """The compressed frame for every connection with this window or a larger one."""
        data: bytes | None = None
        if deflater.wants(len(self.payload), self.compress):
            data = deflater.message_for_all(self.payload, self.compress is False)
        if data is None:
            return None
        if self.history is None:
            self.history = SharedHistory(self.payload)
        return PreparedFrame(0xC0 | self.opcode, data)


if cython.compiled:
    sign(PreparedMessage, b"message, *, text=None, compress=None")

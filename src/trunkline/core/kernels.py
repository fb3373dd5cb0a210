"""Leaf operations on raw memory, in pure Python: the twin of kernels.h, for the uncompiled build.

Memory is a `memoryview` of bytes here, and `at(memory, i)` stands for the address `memory + i`. A masking key
(RFC 6455 section 5.3) is an int whose lowest 8 bits are its first byte; 0 leaves a payload as it is.

Masking is what pure Python can't do well: numpy does it, where it is installed, for payloads that are worth a call.
"""

from __future__ import annotations

from functools import lru_cache

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

__all__ = [
    "at",
    "frame",
    "header",
    "last",
    "memory",
    "payload_done",
    "payload_fill",
    "payload_grow",
    "payload_new",
    "payload_slice",
    "take_binary",
    "take_text",
]

# Bytes; larger integers don't stay in the caches of the CPU, and the system gives the memory of larger arrays anew.
PIECE = 16_384 if numpy is None else 65_536
NUMPY_SIZE = 2048  # bytes; from here on numpy is faster than integers
JOINED = 16_384  # bytes; shorter pieces are joined up to here, so that objects don't outweigh what is in them

_ONES = int.from_bytes(b"\1\0\0\0" * (PIECE // 4), "little")


def _xor(source: bytes | memoryview, key: int) -> bytes:
    size = len(source)
    if size > PIECE:
        return b"".join(_xor_pieces(source, key))
    if numpy is not None and size >= NUMPY_SIZE:
        return _xor_words(source, key)
    # One big exclusive or: nothing in the standard library is faster, see docs/explanation/performance.md.
    mask = key * _ones(size)
    return (int.from_bytes(source, "little") ^ mask).to_bytes((size + 3) & ~3, "little")[:size]


def _xor_pieces(source: bytes | memoryview, key: int) -> list[bytes]:
    """The same in pieces, to be joined when all are there: a large payload is copied but once."""
    if numpy is not None:
        return [_xor(source[i : i + PIECE], key) for i in range(0, len(source), PIECE)]
    end = len(source) - len(source) % PIECE
    mask = key * _ONES
    pieces = [
        (int.from_bytes(source[i : i + PIECE], "little") ^ mask).to_bytes(PIECE, "little") for i in range(0, end, PIECE)
    ]
    pieces.append(_xor(source[end:], key))
    return pieces


def _xor_words(source: bytes | memoryview, key: int) -> bytes:
    words = len(source) // 4
    masked = numpy.frombuffer(source, "<u4", words) ^ numpy.uint32(key)
    return masked.tobytes() + _xor(source[4 * words :], key)


@lru_cache(maxsize=256)
def _ones(size: int) -> int:
    """The factor that repeats a key over so many bytes and up to three more."""
    return _ONES & ((1 << (8 * ((size + 3) & ~3))) - 1)


def _rotate(key: int, offset: int) -> int:
    shift = 8 * (offset & 3)
    return (key >> shift | key << (32 - shift)) & 0xFFFFFFFF


def at(memory: memoryview, offset: int) -> memoryview:
    return memory[offset:]


def key_at(memory: memoryview, offset: int) -> int:
    return int.from_bytes(memory[offset : offset + 4], "little")


def memory(data: bytes) -> memoryview:
    return memoryview(data)


def take_binary(source: memoryview, n: int, key: int) -> bytes:
    return _xor(source[:n], key) if key else bytes(source[:n])


def take_text(source: memoryview, n: int, key: int) -> str:
    return take_binary(source, n, key).decode()


class Payload:
    """A payload that arrives in pieces; `text` says whether it becomes a str."""

    def __init__(self, text: bool) -> None:
        self.text = text
        self.pieces: list[bytes] = []


def payload_new(capacity: int, text: bool) -> Payload:
    return Payload(text)


def payload_grow(payload: Payload, filled: int, capacity: int) -> Payload:
    return payload


def payload_fill(payload: Payload, filled: int, source: memoryview, n: int, key: int) -> bool:
    """Returns whether what came is ASCII."""
    pieces = _xor_pieces(source[:n], _rotate(key, filled)) if key else [bytes(source[:n])]
    is_ascii = all(piece.isascii() for piece in pieces)
    if payload.pieces and len(payload.pieces[-1]) < JOINED:
        pieces[0] = payload.pieces.pop() + pieces[0]
    payload.pieces += pieces
    return is_ascii


def payload_slice(payload: Payload, start: int, end: int) -> bytes:
    """The last bytes before `end`."""
    last: list[bytes] = []
    missing = end - start
    for piece in reversed(payload.pieces):
        if missing <= 0:
            break
        last.append(piece)
        missing -= len(piece)
    return b"".join(reversed(last))[-(end - start) :]


def payload_done(payload: Payload, is_ascii: bool) -> bytes | str:
    data = b"".join(payload.pieces)
    return data.decode() if payload.text else data


def header(first: int, n: int, mask_bit: int = 0) -> bytes:
    if n < 126:
        return bytes((first, mask_bit | n))
    if n < 65536:
        return bytes((first, mask_bit | 126)) + n.to_bytes(2, "big")
    return bytes((first, mask_bit | 127)) + n.to_bytes(8, "big")


def frame(first: int, data: bytes | str, masked: bool, key: int) -> bytes:
    if isinstance(data, str):
        data = data.encode()
    if not masked:
        return header(first, len(data)) + data
    return header(first, len(data), 0x80) + key.to_bytes(4, "little") + _xor(data, key)


def last(size: int, before: bytes, after: bytes) -> bytes:
    """The last `size` bytes of two strings, or all of them."""
    if len(after) >= size:
        return after[len(after) - size :]
    before += after
    return before[len(before) - size :] if len(before) > size else before

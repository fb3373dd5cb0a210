"""Leaf operations on raw memory, in pure Python: the twin of kernels.h, for the uncompiled build.

Memory is a `memoryview` of bytes here, and `at(memory, i)` stands for the address `memory + i`. A masking key
(RFC 6455 section 5.3) is an int whose lowest 8 bits are its first byte; 0 leaves a payload as it is.
"""

from __future__ import annotations

from functools import lru_cache

__all__ = [
    "at",
    "frame",
    "header",
    "memory",
    "payload_done",
    "payload_fill",
    "payload_grow",
    "payload_new",
    "payload_slice",
    "take_binary",
    "take_text",
]


PIECE = 16_384  # bytes; larger numbers don't stay in the caches of the CPU

_ONES = int.from_bytes(b"\1\0\0\0" * (PIECE // 4), "little")


def _xor(source: bytes, key: int) -> bytes:
    """One big exclusive or is far faster than a loop over bytes."""
    if len(source) > PIECE:
        return b"".join([_xor(source[i : i + PIECE], key) for i in range(0, len(source), PIECE)])
    size = len(source)
    mask = key * _ones(size)
    return (int.from_bytes(source, "little") ^ mask).to_bytes((size + 3) & ~3, "little")[:size]


@lru_cache(maxsize=256)
def _ones(size: int) -> int:
    """What a key is multiplied with to cover so many bytes and up to three more."""
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
    taken = bytes(source[:n])
    return _xor(taken, key) if key else taken


def take_text(source: memoryview, n: int, key: int) -> str:
    return take_binary(source, n, key).decode()


class Payload(bytearray):
    """A payload that arrives in pieces; `text` says whether it becomes a str."""

    text = False


def payload_new(capacity: int, text: bool) -> Payload:
    payload = Payload(capacity)
    payload.text = text
    return payload


def payload_grow(payload: Payload, filled: int, capacity: int) -> Payload:
    grown = payload_new(capacity, payload.text)
    grown[:filled] = payload[:filled]
    return grown


def payload_fill(payload: Payload, filled: int, source: memoryview, n: int, key: int) -> bool:
    """Returns whether what came is ASCII."""
    piece = take_binary(source, n, _rotate(key, filled))
    payload[filled : filled + n] = piece
    return piece.isascii()


def payload_slice(payload: Payload, start: int, end: int) -> bytes:
    return bytes(payload[start:end])


def payload_done(payload: Payload, is_ascii: bool) -> bytes | str:
    return payload.decode() if payload.text else bytes(payload)


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

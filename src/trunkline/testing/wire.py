"""Bytes of WebSocket connections as any peer may send them, the impossible ones too.

It knows how to lay out a frame (RFC 6455 section 5.2) and a handshake (section 4), and nothing about what is allowed:
the test decides. It shares no code with `trunkline.core`, which it is there to judge.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct
from collections.abc import Iterable
from typing import NamedTuple

__all__ = [
    "BINARY", "CLOSE", "CONT", "KEY", "PING", "PONG", "RSV1", "RSV2", "RSV3", "TEXT",
    "Incoming", "RawFrame", "accept_value", "apply_mask", "close_frame", "encode_frame", "encode_length", "header",
    "in_segments", "parse_frames", "random_mask", "request", "status_of", "switching_protocols",
]  # fmt: skip

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The Sec-WebSocket-Key of RFC 6455 section 1.3."""


class RawFrame(NamedTuple):
    """A frame as it was on the wire, unmasked."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0
    mask: bytes | None = None

    @property
    def close_code(self) -> int | None:
        """The code of a Close frame, None when its body is empty."""
        assert self.opcode == CLOSE, f"not a Close frame: {self}"
        return int.from_bytes(self.payload[:2], "big") if self.payload else None


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """XOR `payload` with the repeated 4-byte `mask` (RFC 6455 section 5.3)."""
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


def encode_length(length: int, width: int | None = None) -> bytes:
    """The 7, 16 or 64 bits of a length; `width` (0, 2 or 8 extra bytes) forces a form that is not the shortest."""
    if width is None:
        width = 0 if length < 126 else 2 if length < 65536 else 8
    match width:
        case 0:
            return bytes([length])
        case 2:
            return b"\x7e" + struct.pack("!H", length)
        case _:
            return b"\x7f" + struct.pack("!Q", length)


def encode_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = b"\x37\xfa\x21\x3d",
    length: int | None = None,
    width: int | None = None,
) -> bytes:
    """One frame. `length` declares another length than the payload has; `mask=None` sends it unmasked."""
    head = bytes([fin << 7 | rsv | opcode])
    size = bytearray(encode_length(len(payload) if length is None else length, width))
    if mask is None:
        return head + size + payload
    size[0] |= 0x80
    return head + size + mask + apply_mask(payload, mask)


def close_frame(code: int | None = 1000, reason: bytes = b"", *, mask: bytes | None = b"mask") -> bytes:
    """A Close frame; `code=None` leaves the body empty."""
    return encode_frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason, mask=mask)


def request(*headers: str, path: str = "/", host: str = "localhost", key: str = KEY) -> bytes:
    """A valid opening handshake request (RFC 6455 section 4.1) with more header lines."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n"


def accept_value(key: str) -> str:
    """Sec-WebSocket-Accept for a key (RFC 6455 section 4.2.2)."""
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    return base64.b64encode(digest).decode()


def header(head: bytes, name: str) -> str | None:
    """The value of a header in the head of a request or a response, None if it isn't there."""
    for line in head.split(b"\r\n")[1:]:
        field, _, value = line.partition(b":")
        if field.strip().lower() == name.lower().encode():
            return value.strip().decode("latin-1")
    return None


def switching_protocols(request_head: bytes, *headers: str) -> bytes:
    """The 101 response that accepts a request, with more header lines."""
    key = header(request_head, "Sec-WebSocket-Key")
    assert key is not None, f"no Sec-WebSocket-Key in {request_head!r}"
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_value(key)}",
        *headers,
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n"


def status_of(head: bytes) -> int:
    """The status code of an HTTP response."""
    return int(head.split(b" ", 2)[1])


class Incoming:
    """Bytes that were received and not looked at yet."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def __len__(self) -> int:
        return len(self.buffer)

    def feed(self, data: bytes) -> None:
        """Add bytes that were received."""
        self.buffer += data

    def take(self, size: int) -> bytes:
        """Take that many bytes, or as many as there are."""
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def take_head(self) -> bytes | None:
        """Take the head of an HTTP message, with the empty line that ends it; None if it isn't there."""
        end = self.buffer.find(b"\r\n\r\n")
        return None if end < 0 else self.take(end + 4)

    def take_frame(self) -> RawFrame | None:
        """Take a frame, unmasked; None if it isn't there."""
        buffer = self.buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
        mask_start = start
        if buffer[1] & 0x80:
            start += 4
        if len(buffer) < start + size:
            return None
        head = self.take(start)
        payload = self.take(size)
        mask = head[mask_start:] if head[1] & 0x80 else None
        if mask is not None:
            payload = apply_mask(payload, mask)
        return RawFrame(head[0] & 0x0F, payload, bool(head[0] & 0x80), head[0] & 0x70, mask)


def parse_frames(data: bytes) -> Iterable[RawFrame]:
    """The frames that a stream consists of.

    Raises:
        ValueError: if the stream ends inside a frame.
    """
    incoming = Incoming()
    incoming.feed(data)
    while len(incoming):
        frame = incoming.take_frame()
        if frame is None:
            raise ValueError(f"the stream ends inside a frame: {bytes(incoming.buffer)!r}")
        yield frame


def in_segments(data: bytes, size: int) -> Iterable[bytes]:
    """Cut bytes in pieces of `size`."""
    return (data[start : start + size] for start in range(0, len(data), size))


def random_mask() -> bytes:
    """A fresh mask."""
    return os.urandom(4)

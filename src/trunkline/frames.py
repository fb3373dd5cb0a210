"""Frames and their vocabulary: opcodes, close codes, the payload of a close frame (RFC 6455 sections 5 and 7)."""

from __future__ import annotations

import dataclasses
import enum
import os
import secrets
from collections.abc import Callable, Generator, Sequence
from typing import ClassVar, Self

from .exceptions import PayloadTooBig, ProtocolError
from .typing import BytesLike

__all__ = ["Close", "CloseCode", "Frame", "Opcode"]


class Opcode(enum.IntEnum):
    """The kind of a frame (RFC 6455 section 5.2)."""

    CONT, TEXT, BINARY = 0x00, 0x01, 0x02
    CLOSE, PING, PONG = 0x08, 0x09, 0x0A


OP_CONT = Opcode.CONT
OP_TEXT = Opcode.TEXT
OP_BINARY = Opcode.BINARY
OP_CLOSE = Opcode.CLOSE
OP_PING = Opcode.PING
OP_PONG = Opcode.PONG

# The same, as websockets calls them since version 17.
CONT, TEXT, BINARY = OP_CONT, OP_TEXT, OP_BINARY
CLOSE, PING, PONG = OP_CLOSE, OP_PING, OP_PONG

DATA_OPCODES = OP_CONT, OP_TEXT, OP_BINARY
CTRL_OPCODES = OP_CLOSE, OP_PING, OP_PONG

# RFC 6455 section 5.5: "All control frames MUST have a payload length of 125 bytes or less"
MAX_CONTROL_PAYLOAD = 125


class CloseCode(enum.IntEnum):
    """Why a connection closes (RFC 6455 section 7.4.1 and the IANA registry of close codes)."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    # 1004 is reserved
    NO_STATUS_RCVD = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015


CLOSE_CODE_EXPLANATIONS: dict[int, str] = {
    CloseCode.NORMAL_CLOSURE: "OK",
    CloseCode.GOING_AWAY: "going away",
    CloseCode.PROTOCOL_ERROR: "protocol error",
    CloseCode.UNSUPPORTED_DATA: "unsupported data",
    CloseCode.NO_STATUS_RCVD: "no status received [internal]",
    CloseCode.ABNORMAL_CLOSURE: "abnormal closure [internal]",
    CloseCode.INVALID_DATA: "invalid frame payload data",
    CloseCode.POLICY_VIOLATION: "policy violation",
    CloseCode.MESSAGE_TOO_BIG: "message too big",
    CloseCode.MANDATORY_EXTENSION: "mandatory extension",
    CloseCode.INTERNAL_ERROR: "internal error",
    CloseCode.SERVICE_RESTART: "service restart",
    CloseCode.TRY_AGAIN_LATER: "try again later",
    CloseCode.BAD_GATEWAY: "bad gateway",
    CloseCode.TLS_HANDSHAKE: "TLS handshake failure [internal]",
}

# RFC 6455 section 7.4.1: 1005, 1006 and 1015 are for use inside an endpoint and MUST NOT be sent
EXTERNAL_CLOSE_CODES: frozenset[int] = frozenset(CloseCode) - {
    CloseCode.NO_STATUS_RCVD,
    CloseCode.ABNORMAL_CLOSURE,
    CloseCode.TLS_HANDSHAKE,
}

# A connection that closes with these ended normally
OK_CLOSE_CODES: frozenset[int] = frozenset(
    {CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.NO_STATUS_RCVD},
)


@dataclasses.dataclass
class Close:
    """Code and reason of a close frame (RFC 6455 section 5.5.1).

    Args:
        code: a :class:`CloseCode`, or 3000 to 4999; 1005 and 1006 stand for a close frame that says nothing.
        reason: a text of at most 123 bytes in UTF-8.
    """

    code: CloseCode | int
    reason: str

    def __str__(self) -> str:
        return f"{self.code:d} ({self.explanation})" + (f" {self.reason}" if self.reason else "")

    @property
    def explanation(self) -> str:
        """The meaning of the code, in English (RFC 6455 section 7.4.2 for the ranges)."""
        if 3000 <= self.code < 4000:
            return "registered"
        if 4000 <= self.code < 5000:
            return "private use"
        return CLOSE_CODE_EXPLANATIONS.get(self.code, "unknown")

    @classmethod
    def parse(cls, data: BytesLike) -> Self:
        """Read the payload of a close frame.

        Raises:
            ProtocolError: if it is one byte long, or the code may not be sent.
            UnicodeDecodeError: if the reason isn't UTF-8.
        """
        if len(data) == 0:
            return cls(CloseCode.NO_STATUS_RCVD, "")  # RFC 6455 section 7.1.5
        if len(data) == 1:
            raise ProtocolError("close frame too short")
        payload = bytes(data)
        close = cls(int.from_bytes(payload[:2], "big"), payload[2:].decode())
        close.check()
        return close

    def serialize(self) -> bytes:
        """Return the payload of a close frame.

        Raises:
            ProtocolError: if the code may not be sent, or the reason is longer than 123 bytes in UTF-8.
            UnicodeEncodeError: if the reason contains lone surrogates.
        """
        self.check()
        reason = self.reason.encode()
        if len(reason) > MAX_CONTROL_PAYLOAD - 2:
            raise ProtocolError("control frame too long")
        return int(self.code).to_bytes(2, "big") + reason

    def check(self) -> None:
        """Check that the code may appear in a close frame.

        Raises:
            ProtocolError: if it may not (RFC 6455 section 7.4).
        """
        if self.code not in EXTERNAL_CLOSE_CODES and not 3000 <= self.code < 5000:
            raise ProtocolError("invalid status code")


@dataclasses.dataclass
class Frame:
    """A WebSocket frame (RFC 6455 section 5.2); ``str(frame)`` is its form in logs.

    Args:
        opcode: what the frame carries.
        data: the payload, unmasked.
        fin: whether it ends a message.
        rsv1: first reserved bit, set by permessage-deflate.
        rsv2: second reserved bit.
        rsv3: third reserved bit.
    """

    opcode: Opcode
    data: BytesLike
    fin: bool = True
    rsv1: bool = False
    rsv2: bool = False
    rsv3: bool = False

    # Length that a payload may take in logs, in characters; less than 12 can't show both ends of it
    MAX_LOG_SIZE: ClassVar[int] = max(12, int(os.environ.get("WEBSOCKETS_MAX_LOG_SIZE", "75")))

    def __str__(self) -> str:
        payload, coding = self._describe_payload()
        size = f"{len(self.data)} byte{'' if len(self.data) == 1 else 's'}"
        remarks = [coding, size, "" if self.fin else "continued"]
        return f"{self.opcode.name} {payload} [{', '.join(filter(None, remarks))}]"

    def _describe_payload(self) -> tuple[str, str]:
        """Return the payload for display, and its coding where the opcode doesn't tell it."""
        data = bytes(self.data)
        if not data:
            return "''", ""
        if self.opcode is OP_CLOSE and (close := _parse_close(data)) is not None:
            return _excerpt(close, self.MAX_LOG_SIZE), ""
        text = None if self.opcode is OP_CLOSE else self._decode(data)
        if text is None:
            return _hex_excerpt(data, self.MAX_LOG_SIZE), "" if self.opcode is OP_BINARY else "binary"
        return _excerpt(repr(text), self.MAX_LOG_SIZE), "" if self.opcode is OP_TEXT else "text"

    def _decode(self, data: bytes) -> str | None:
        """Return the payload as text if it is fit for a terminal, else None."""
        try:
            if self.opcode in CTRL_OPCODES:
                text = data.decode("ascii")
            else:
                text = _decode_fragment(data, starts=self.opcode is not OP_CONT, ends=self.fin)
        except UnicodeDecodeError:
            return None
        # Control characters could drive the terminal that shows the log
        return text if text.translate(_WITHOUT_WHITESPACE).isprintable() else None

    @classmethod
    def parse(
        cls,
        read_exact: Callable[[int], Generator[None, None, bytes | bytearray]],
        *,
        mask: bool,
        max_size: int | None = None,
        extensions: Sequence[base.Extension] | None = None,
    ) -> Generator[None, None, Self | Frame]:
        """Read a frame from a stream; the payload is unmasked, and decoded by the extensions.

        It is for programs that bring a parser of their own; trunkline's connections read with `trunkline.core.reader`.

        Args:
            read_exact: generator-based coroutine that reads so many bytes, see `StreamReader.read_exact`.
            mask: whether the frame must be masked, as those of a client are.
            max_size: limit of the payload in bytes, or None.
            extensions: those agreed on; the last one decodes first (RFC 6455 section 9.1).

        Raises:
            EOFError: if the stream ends inside the frame.
            PayloadTooBig: if the payload exceeds `max_size`.
            ProtocolError: if the frame breaks a rule of RFC 6455 section 5.2 or 5.5.
        """
        first, second = yield from read_exact(2)
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError as error:
            raise ProtocolError("invalid opcode") from error
        if bool(second & 0x80) != mask:
            raise ProtocolError("incorrect masking")
        length = second & 0x7F
        if length >= 126:
            shortest, size = (126, 2) if length == 126 else (1 << 16, 8)
            length = int.from_bytes((yield from read_exact(size)), "big")
            if length >> 63:
                raise ProtocolError("invalid frame length: its most significant bit must be 0")
            if length < shortest:
                raise ProtocolError("invalid frame length: not the minimal encoding")
        if opcode in CTRL_OPCODES and length > MAX_CONTROL_PAYLOAD:
            raise ProtocolError("control frame too long")
        if max_size is not None and length > max_size:
            raise PayloadTooBig(length, max_size)
        key = (yield from read_exact(4)) if mask else b""
        data = yield from read_exact(length)
        bits = (bool(first & bit) for bit in (0x80, 0x40, 0x20, 0x10))
        frame: Self | Frame = cls(opcode, apply_mask(data, key) if mask else data, *bits)
        for extension in reversed(extensions or ()):
            frame = extension.decode(frame, max_size=max_size)
        frame.check()
        return frame

    def serialize(self, *, mask: bool, extensions: Sequence[base.Extension] | None = None) -> bytes:
        """Return the frame as it goes on the wire.

        Args:
            mask: whether to mask it, as a client must, with a fresh random key.
            extensions: those agreed on; the first one encodes first (RFC 6455 section 9.1).

        Raises:
            ProtocolError: if the frame breaks a rule of RFC 6455 section 5.2 or 5.5.
        """
        self.check()
        frame: Frame = self
        for extension in extensions or ():
            frame = extension.encode(frame)
        first = frame.fin << 7 | frame.rsv1 << 6 | frame.rsv2 << 5 | frame.rsv3 << 4 | frame.opcode
        length = len(frame.data)
        if length < 126:
            header = bytes([first, mask << 7 | length])
        elif length < 1 << 16:
            header = bytes([first, mask << 7 | 126]) + length.to_bytes(2, "big")
        else:
            header = bytes([first, mask << 7 | 127]) + length.to_bytes(8, "big")
        if not mask:
            return header + frame.data
        key = secrets.token_bytes(4)
        return header + key + apply_mask(frame.data, key)

    def check(self) -> None:
        """Check that no reserved bit is set and that a control frame is whole and short.

        Raises:
            ProtocolError: if not (RFC 6455 sections 5.2 and 5.5).
        """
        if self.rsv1 or self.rsv2 or self.rsv3:
            raise ProtocolError("reserved bits must be 0")
        if self.opcode in CTRL_OPCODES:
            if len(self.data) > MAX_CONTROL_PAYLOAD:
                raise ProtocolError("control frame too long")
            if not self.fin:
                raise ProtocolError("fragmented control frame")


def apply_mask(data: BytesLike, mask: bytes | bytearray) -> bytes:
    """Mask or unmask a payload with a key of 4 bytes (RFC 6455 section 5.3).

    Raises:
        ValueError: if `mask` hasn't 4 bytes.
    """
    if len(mask) != 4:
        raise ValueError("mask must contain 4 bytes")
    size = len(data)
    keys = (bytes(mask) * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(keys, "big")).to_bytes(size, "big")  # all at once


_WITHOUT_WHITESPACE = {ord(character): None for character in "\t\n\r"}


def _parse_close(data: bytes) -> str | None:
    try:
        return str(Close.parse(data))
    except (ProtocolError, UnicodeDecodeError):
        return None


def _decode_fragment(data: bytes, *, starts: bool, ends: bool) -> str:
    """Decode a fragment of a text, which may begin and end inside a character unless it starts or ends the message."""
    prefix = 0
    if not starts:
        while prefix < min(3, len(data)) and data[prefix] & 0xC0 == 0x80:  # continuation bytes of UTF-8
            prefix += 1
    try:
        text = data[prefix:].decode()
    except UnicodeDecodeError as exc:
        if ends or exc.reason != "unexpected end of data":
            raise
        text = data[prefix : prefix + exc.start].decode() + "\ufffd"
    return "\ufffd" * prefix + text


def _excerpt(shown: str, size: int) -> str:
    if len(shown) <= size:
        return shown
    tail = size // 3 - 1
    return f"{shown[: size - 3 - tail]}...{shown[-tail:]}"


def _hex_excerpt(data: bytes, size: int) -> str:
    fitting = size // 3  # a byte takes three characters
    if len(data) <= fitting:
        return data.hex(" ")
    tail = fitting // 3
    return f"{data[: fitting - tail - 1].hex(' ')} ... {data[-tail:].hex(' ')}"


# Last, as that module needs this one: the annotations above name its class.
from .extensions import base  # noqa: E402

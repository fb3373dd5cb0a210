"""The PROXY protocol, versions 1 and 2: a proxy of TCP says where a connection comes from, before its first byte.

Source: "The PROXY protocol", https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt; sections named here are those
of it. A listener expects such a header on every connection or on none: a server that guessed would believe any client.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import NamedTuple

from ..exceptions import InvalidMessage

__all__ = ["Address", "ProxyHeader", "ProxyHeaderReader"]

Address = tuple[str, int]
"""Host and port."""

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"  # section 2.2
LONGEST_LINE = 107  # section 2.1: bytes of a header of version 1, CRLF included
FIXED = struct.Struct("!12sBBH")  # section 2.2: signature, version and command, family and transport, length
LOCAL, PROXIED = 0, 1  # commands
FAMILIES = {1: struct.Struct("!4s4sHH"), 2: struct.Struct("!16s16sHH")}  # AF_INET, AF_INET6; section 2.2
TLS, TLS_CLIENT = 0x20, 0x01  # section 2.2.6: PP2_TYPE_SSL, and the bit that says that the client came over TLS
_FIRST_LINE = re.compile(rb"PROXY (?:UNKNOWN(?: [!-~ ]*)?|(TCP[46]) (\S+) (\S+) (\d{1,5}) (\d{1,5}))\r\n")


class ProxyHeader(NamedTuple):
    """A proxy's description of a connection.

    Attributes:
        source: the address of the client, or None if the proxy names none: then that of the connection holds.
        destination: the address that the client asked for, or None.
        secure: whether the client came over TLS; None if the proxy doesn't say.
    """

    source: Address | None
    destination: Address | None
    secure: bool | None = None


class ProxyHeaderReader:
    """Reads one header; ``remaining`` holds what follows it then."""

    def __init__(self) -> None:
        self._buffer = b""
        self.remaining = b""

    def receive_data(self, data: bytes) -> ProxyHeader | None:
        """Return the header once it is complete, else None.

        Raises:
            InvalidMessage: if the bytes aren't one.
        """
        self._buffer += data
        start = self._buffer[: len(SIGNATURE)]
        if SIGNATURE.startswith(start):
            return self._read_version_2()
        if b"PROXY ".startswith(start[:6]):
            return self._read_version_1()
        raise _invalid(f"it starts with {start!r}")

    def receive_eof(self) -> None:
        """Take note that no more bytes come.

        Raises:
            InvalidMessage: always, caused by :exc:`EOFError`.
        """
        raise _invalid_because(EOFError(f"connection closed after {len(self._buffer)} bytes of it"))

    def _read_version_1(self) -> ProxyHeader | None:
        """Section 2.1: a line for people."""
        line, end, rest = self._buffer.partition(b"\n")
        if not end:
            if len(line) >= LONGEST_LINE:
                raise _invalid(f"its line is longer than {LONGEST_LINE} bytes")
            return None
        match = _FIRST_LINE.fullmatch(line + end)
        if match is None or len(line) >= LONGEST_LINE:
            raise _invalid(f"its line is {line[:LONGEST_LINE]!r}")
        self.remaining = rest
        family, *addresses = match.groups()
        return ProxyHeader(None, None) if family is None else _addresses_of_line(family, *addresses)

    def _read_version_2(self) -> ProxyHeader | None:
        """Section 2.2: a binary header."""
        if len(self._buffer) < FIXED.size:
            return None
        _, version_and_command, family_and_transport, size = FIXED.unpack_from(self._buffer)
        version, command = version_and_command >> 4, version_and_command & 15
        if version != 2 or command not in (LOCAL, PROXIED):
            raise _invalid(f"its version is {version} and its command {command}")
        end = FIXED.size + size
        if len(self._buffer) < end:
            return None
        block, self.remaining = self._buffer[FIXED.size : end], self._buffer[end:]
        family = FAMILIES.get(family_and_transport >> 4)
        if command == LOCAL or family is None:  # the proxy itself, a Unix socket, or something newer
            return ProxyHeader(None, None)
        if len(block) < family.size:
            raise _invalid(f"{len(block)} bytes are too few for its addresses")
        source, destination, source_port, destination_port = family.unpack_from(block)
        return ProxyHeader(
            (str(ipaddress.ip_address(source)), source_port),
            (str(ipaddress.ip_address(destination)), destination_port),
            _is_secure(block[family.size :]),
        )


def _addresses_of_line(family: bytes, source: bytes, destination: bytes, *ports: bytes) -> ProxyHeader:
    kind = ipaddress.IPv4Address if family == b"TCP4" else ipaddress.IPv6Address
    try:
        hosts = [str(kind(host.decode("ascii"))) for host in (source, destination)]
    except ValueError as error:  # UnicodeDecodeError is one
        raise _invalid_because(error) from error
    numbers = [int(port) for port in ports]
    if max(numbers) > 65535:
        raise _invalid(f"its ports are {numbers[0]} and {numbers[1]}")
    return ProxyHeader((hosts[0], numbers[0]), (hosts[1], numbers[1]))


def _is_secure(extras: bytes) -> bool | None:
    """Section 2.2.6: whether the vector that tells of TLS is there, and says that the client used it."""
    while len(extras) >= 3:
        kind, size = struct.unpack_from("!BH", extras)
        value, extras = extras[3 : 3 + size], extras[3 + size :]
        if len(value) < size:
            break
        if kind == TLS and value:
            return bool(value[0] & TLS_CLIENT)
    return None


def _invalid(fault: str) -> InvalidMessage:
    return _invalid_because(ValueError(fault))


def _invalid_because(fault: Exception) -> InvalidMessage:
    error = InvalidMessage("did not receive a valid header of the PROXY protocol")
    error.__cause__ = fault
    return error

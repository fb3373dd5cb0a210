"""handshake.proxy_header: both versions of the PROXY protocol, however they are split."""

import contextlib
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.exceptions import InvalidMessage
from trunkline.handshake.proxy_header import SIGNATURE, ProxyHeader, ProxyHeaderReader


def version_2(family, *parts, command=0x21):
    block = b"".join(parts)
    return SIGNATURE + struct.pack("!BBH", command, family, len(block)) + block


IPV4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + struct.pack("!HH", 51234, 443)
IPV6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
    + struct.pack("!HH", 51234, 443)
)
OVER_TLS = struct.pack("!BHBI", 0x20, 5, 0x01, 0)
OVER_TCP = struct.pack("!BHBI", 0x20, 5, 0x00, 0)
NOOP = struct.pack("!BH3s", 0x04, 3, b"abc")

CLIENT4, ASKED4 = ("192.0.2.1", 51234), ("198.51.100.2", 443)
CLIENT6, ASKED6 = ("2001:db8::1", 51234), ("2001:db8::2", 443)
HEADERS = {
    "TCP4": (b"PROXY TCP4 192.0.2.1 198.51.100.2 51234 443\r\n", ProxyHeader(CLIENT4, ASKED4)),
    "TCP6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 51234 443\r\n", ProxyHeader(CLIENT6, ASKED6)),
    "the longest line": (
        b"PROXY TCP6 " + b" ".join([b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] * 2) + b" 65535 65535\r\n",
        ProxyHeader(*[("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535)] * 2),
    ),
    "UNKNOWN": (b"PROXY UNKNOWN\r\n", ProxyHeader(None, None)),
    "UNKNOWN and more": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ProxyHeader(None, None)),
    "IPv4": (version_2(0x11, IPV4), ProxyHeader(CLIENT4, ASKED4)),
    "IPv6": (version_2(0x21, IPV6), ProxyHeader(CLIENT6, ASKED6)),
    "TLS": (version_2(0x11, IPV4, NOOP, OVER_TLS), ProxyHeader(CLIENT4, ASKED4, True)),
    "no TLS": (version_2(0x21, IPV6, OVER_TCP), ProxyHeader(CLIENT6, ASKED6, False)),
    "a vector cut short": (version_2(0x11, IPV4, OVER_TLS[:-1]), ProxyHeader(CLIENT4, ASKED4)),
    "LOCAL": (version_2(0x00, command=0x20), ProxyHeader(None, None)),
    "LOCAL with addresses": (version_2(0x11, IPV4, command=0x20), ProxyHeader(None, None)),
    "a Unix socket": (version_2(0x31, bytes(216)), ProxyHeader(None, None)),
    "a family to come": (version_2(0x41, b"abc"), ProxyHeader(None, None)),
}


@pytest.mark.parametrize(("data", "header"), HEADERS.values(), ids=HEADERS)
@given(st.data())
def test_headers(data, header, draw):
    stream = data + b"GET / HTTP/1.1\r\n"
    cuts = sorted(draw.draw(st.lists(st.integers(1, len(data)), max_size=4)))
    reader, came = ProxyHeaderReader(), None
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        assert came is None or start == end or start == len(data)
        if came is not None:
            reader.remaining += stream[start:end]
            continue
        came = reader.receive_data(stream[start:end])
    assert came == header
    assert reader.remaining == b"GET / HTTP/1.1\r\n"


@pytest.mark.parametrize(("data", "header"), HEADERS.values(), ids=HEADERS)
def test_it_waits_for_the_last_byte(data, header):
    reader = ProxyHeaderReader()
    for at in range(len(data) - 1):
        assert reader.receive_data(data[at : at + 1]) is None
    assert reader.receive_data(data[-1:]) == header


INVALID = {
    "a request": b"GET / HTTP/1.1\r\n",
    "a frame": b"\x81\x85\0\0\0\0hello",
    "lower case": b"proxy TCP4 192.0.2.1 198.51.100.2 51234 443\r\n",
    "a line feed only": b"PROXY TCP4 192.0.2.1 198.51.100.2 51234 443\n",
    "a family that isn't known": b"PROXY UDP4 192.0.2.1 198.51.100.2 51234 443\r\n",
    "an address of the other family": b"PROXY TCP4 2001:db8::1 198.51.100.2 51234 443\r\n",
    "no address": b"PROXY TCP4 example.com 198.51.100.2 51234 443\r\n",
    "text outside ASCII": b"PROXY TCP4 \xff.0.2.1 198.51.100.2 51234 443\r\n",
    "a port too large": b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
    "a port missing": b"PROXY TCP4 192.0.2.1 198.51.100.2 51234\r\n",
    "two spaces": b"PROXY TCP4  192.0.2.1 198.51.100.2 51234 443\r\n",
    "a long line": b"PROXY UNKNOWN " + b"a" * 100 + b"\r\n",
    "a line without end": b"PROXY UNKNOWN " + b"a" * 100,
    "version 3": version_2(0x11, IPV4, command=0x31),
    "command 2": version_2(0x11, IPV4, command=0x22),
    "short addresses": version_2(0x11, IPV4[:-1]),
    "a broken signature": SIGNATURE[:-1] + b"\r" + bytes(20),
}


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID)
@given(st.data())
def test_what_is_no_header(data, draw):
    cut = draw.draw(st.integers(0, len(data)))
    reader = ProxyHeaderReader()
    with pytest.raises(InvalidMessage) as raised:  # noqa: PT012  # the first part may be enough
        for part in (data[:cut], data[cut:]):
            assert reader.receive_data(part) is None
    assert isinstance(raised.value.__cause__, ValueError)


@given(st.binary(max_size=400))
def test_any_bytes(data):
    reader = ProxyHeaderReader()
    with contextlib.suppress(InvalidMessage):
        reader.receive_data(data)


def test_eof():
    reader = ProxyHeaderReader()
    reader.receive_data(b"PROXY TCP4 ")
    with pytest.raises(InvalidMessage) as raised:
        reader.receive_eof()
    assert isinstance(raised.value.__cause__, EOFError)

"""The scripted peer and the bytes it deals in."""

from __future__ import annotations

import socket

import pytest

from trunkline.core.session import Side
from trunkline.testing import Peer
from trunkline.testing.wire import CLOSE, CONT, TEXT, Incoming, RawFrame, encode_frame, parse_frames


def peers() -> tuple[Peer, Peer]:
    left, right = socket.socketpair()
    return Peer(left, Side.CLIENT), Peer(right, Side.SERVER)


def test_two_peers_open_and_close_a_connection() -> None:
    client, server = peers()
    with client, server:
        client.send(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        assert server.accept("X-Test: a").startswith(b"GET /")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Test: a" in client.read_head()
        client.send_frame(TEXT, b"a", fin=False)
        client.send_frame(CONT, b"b")
        assert server.read_message() == RawFrame(TEXT, b"ab")
        server.send_frame(TEXT, b"c")
        assert client.read_frame() == RawFrame(TEXT, b"c")
        server.send_close(1001, b"bye")
        assert client.read_close() == 1001
        server.end()
        assert client.read_to_eof() == b""


def test_only_clients_mask() -> None:
    client, server = peers()
    with client, server:
        client.send_frame(CLOSE)
        server.send_frame(CLOSE)
        assert server.read_frame().mask is not None
        assert client.read_frame().mask is None


def test_end_of_stream_within_a_frame() -> None:
    client, server = peers()
    with client, server:
        client.send(client.frame(TEXT, b"abc")[:5])
        client.end()
        with pytest.raises(EOFError, match="within a frame"):
            server.read_frame()


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frames_that_arrive_in_pieces(size: int) -> None:
    incoming = Incoming()
    data = encode_frame(TEXT, bytes(size), mask=b"mask")
    for start in range(0, len(data) - 1, max(1, size // 3)):
        incoming.feed(data[start : min(start + max(1, size // 3), len(data) - 1)])
        assert incoming.take_frame() is None
    incoming.feed(data[-1:])
    assert incoming.take_frame() == RawFrame(TEXT, bytes(size), True, 0, b"mask")


def test_a_stream_that_ends_inside_a_frame() -> None:
    with pytest.raises(ValueError, match="inside a frame"):
        list(parse_frames(encode_frame(TEXT, b"abc")[:-1]))

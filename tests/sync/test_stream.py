"""Streams: bytes through sockets and TLS, to be read and sent in any pieces."""

from __future__ import annotations

import math
import os
import socket
import threading
from typing import Any

import pytest

from tests.support.threads import in_thread
from trunkline.sync.stream import (
    Deadline,
    Readable,
    SocketStream,
    Stream,
    push_all,
    read_some,
    shut_down,
    start_tls,
    wait_for,
    wait_in_parts,
)
from trunkline.testing.tls import tls_contexts


def pair(layers: int) -> tuple[Stream, Stream]:
    """Two ends of a connection with so many layers of TLS."""
    here, there = socket.socketpair()
    client: Stream = SocketStream(here)
    server: Stream = SocketStream(there)
    deadline = Deadline(10)
    for _ in range(layers):
        accepting = in_thread(start_tls, server, tls_contexts()[0], deadline, server_side=True)
        client = start_tls(client, tls_contexts()[1], deadline, server_hostname="localhost")
        server = accepting.result()
    return client, server


def close(*streams: Stream) -> None:
    for stream in streams:
        stream.sock.close()


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_bytes_arrive(layers: int) -> None:
    client, server = pair(layers)
    data = os.urandom(3_000_000)

    def send() -> None:
        server.write([data[:5], b"", data[5:100_000], data[100_000:]])
        push_all(server, Deadline(10))
        server.end_writing()

    sending = in_thread(send)
    received = b""
    while chunk := read_some(client, Deadline(10)):
        received += chunk
    sending.result()
    assert received == data
    close(client, server)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_nothing_waits(layers: int) -> None:
    client, server = pair(layers)
    while client.read() is not None:  # tickets of TLS
        pass
    client.write([bytes(1 << 24)])
    assert not client.push()
    assert client.read() is None
    assert wait_for(client.sock, False, 0.01) is False
    assert wait_for(client.sock, True, 0.01) is False
    close(client, server)


@pytest.mark.parametrize("layers", [0, 1])
def test_deadline(layers: int) -> None:
    client, server = pair(layers)
    with pytest.raises(TimeoutError):
        read_some(client, Deadline(0.01))
    client.write([bytes(1 << 24)])
    with pytest.raises(TimeoutError):
        push_all(client, Deadline(0.01))
    assert Deadline(None).remaining() is None
    close(client, server)


@pytest.mark.parametrize("seconds", [30 * 86400, 1e300, math.inf])
def test_long_waits(seconds: float) -> None:
    """poll(2) takes milliseconds in an int, which are 24.8 days at most."""
    client, server = pair(0)
    assert wait_for(client.sock, True, seconds)
    client.write([b"a"])
    push_all(client, Deadline(seconds))
    assert wait_for(server.sock, False, seconds)
    assert Readable(server.sock).wait(seconds)
    assert read_some(server, Deadline(seconds)) == b"a"
    assert Deadline(seconds).remaining() == 86400
    close(client, server)


@pytest.mark.parametrize(("events", "expected"), [([], False), ([[], [], ["x"]], True)])
def test_waits_in_parts(events: list[list[str]], expected: bool) -> None:
    """A part of the time is enough if it brings something, else the parts are the whole time."""
    waited: list[float | None] = []

    def wait(seconds: float | None) -> list[str]:
        waited.append(seconds)
        return events.pop(0) if events else []

    assert wait_in_parts(wait, 3.5 * 86400) is expected
    assert waited == [86400, 86400, 86400] + [0.5 * 86400] * (not expected)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_end_of_the_stream(layers: int) -> None:
    client, server = pair(layers)
    server.write([b"last"])
    if layers == 0:  # TLS sends it with its goodbye
        server.push()
    server.end_writing()
    assert read_some(client, Deadline(10)) == b"last"
    assert client.at_end == (layers > 0)  # the goodbye of TLS came along
    assert read_some(client, Deadline(10)) == b""
    client.end_writing()
    assert read_some(server, Deadline(10)) == b""
    server.end_writing()  # does no harm
    close(client, server)


@pytest.mark.parametrize("writing", [False, True])
def test_shut_down_wakes_who_waits(writing: bool) -> None:
    client, server = pair(0)
    if writing:
        client.write([bytes(1 << 24)])
        client.push()
    begun = threading.Event()

    def wait() -> Any:
        begun.set()
        return wait_for(client.sock, writing, None)

    waiting = in_thread(wait)
    begun.wait()
    shut_down(client.sock)
    assert waiting.result()
    close(client, server)
    shut_down(client.sock)  # does no harm


def test_server_hangs_up_during_the_tls_handshake() -> None:
    here, there = socket.socketpair()
    there.close()
    with pytest.raises(OSError, match=r"TLS|pipe|reset"):
        start_tls(SocketStream(here), tls_contexts()[1], Deadline(10), server_hostname="localhost")
    here.close()


def test_server_that_speaks_no_tls() -> None:
    here, there = socket.socketpair()
    there.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(OSError, match=r"SSL|TLS"):
        start_tls(SocketStream(here), tls_contexts()[1], Deadline(10), server_hostname="localhost")
    here.close()
    there.close()

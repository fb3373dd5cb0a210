"""How many connections may wait for a listening socket, by what the kernel says."""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path

import pytest

#: Linux only tells it of TCP (linux/tcp.h: for a socket that listens, `tcpi_sacked` is that number).
needs_tcp_info = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long a queue is")


def queue_of(sock: socket.socket) -> int:
    """Connections that may wait for a listening TCP socket."""
    length: int
    [length] = struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32), 28)
    return length


def longest_queue() -> int:
    """The backlog of a server by default: 4,096, or less where the system allows less."""
    return min(4096, int(Path("/proc/sys/net/core/somaxconn").read_text()))


def waiting_connections(path: str, most: int) -> int:
    """How many connect to a Unix socket, up to `most`, while nothing accepts them."""
    clients: list[socket.socket] = []
    try:
        for _ in range(most):
            clients.append(socket.socket(socket.AF_UNIX))
            clients[-1].setblocking(False)
            try:
                clients[-1].connect(path)
            except BlockingIOError:
                return len(clients) - 1
        return most
    finally:
        for client in clients:
            client.close()

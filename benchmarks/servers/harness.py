"""Tools for every Python server: options, a loop, a port to announce, and an end."""

import argparse
import asyncio
import os
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.loops import LOOPS, run

MAX_SIZE = 16 * 2**20
"""Bytes that a message may have, with every peer that has such a limit."""


@dataclass(frozen=True)
class Options:
    """The arguments of a server."""

    mode: str
    """`echo`, the chat room's fan-out by `gather` or by `broadcast`, or `rooms`, in a protocol that has them."""
    sock: socket.socket
    """Bound to a free port of 127.0.0.1."""
    tls: ssl.SSLContext | None
    deflate: bool
    """permessage-deflate as the library does it by default; without it, no compression."""
    transports: bool
    """For trunkline: those of the event loop instead of its own."""


Start = Callable[[Options], Awaitable[object]]


def main(start: Start) -> None:
    """Run the server that `start` starts, and what it returns, until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=("echo", "gather", "broadcast", "rooms"))
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    parser.add_argument("--tls", metavar="PEM", help="file with a private key and its certificate")
    parser.add_argument("--deflate", action="store_true", help="agree on permessage-deflate")
    parser.add_argument("--transports", action="store_true", help="use the transports of the event loop")
    arguments = parser.parse_args()
    sock = socket.create_server(("127.0.0.1", 0))
    options = Options(arguments.mode, sock, _tls_context(arguments.tls), arguments.deflate, arguments.transports)
    run(_serve(start, options), arguments.loop)


async def _serve(start: Start, options: Options) -> None:
    # os._exit: a server that is no longer wanted needs no closing handshakes.
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), os._exit, 0)
    server = await start(options)  # kept: a server may live only as long as its object
    print("listening", options.sock.getsockname()[1], flush=True)
    await asyncio.Event().wait()
    del server


def _tls_context(pem: str | None) -> ssl.SSLContext | None:
    if pem is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context

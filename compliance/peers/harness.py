"""Tools for every peer: a role, a port to announce, and the dialogue with the fuzzing server."""

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

CASE_SECONDS = 60
"""How long a client stays in a case; the longest takes a tenth of that."""

Serve = Callable[[socket.socket], Awaitable[object]]
"""Starts an echo server on a listening socket."""
Receive = Callable[[str], Awaitable[str]]
"""Connects to a URL and returns the first message."""
Echo = Callable[[str], Awaitable[None]]
"""Connects to a URL and echoes until the connection ends, however it ends."""


def main(serve: Serve, receive: Receive, echo: Echo) -> None:
    """Be a server until standard input ends, or a client for all cases of a fuzzing server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("server", "client"))
    parser.add_argument("--url", help="of the fuzzing server, for a client")
    arguments = parser.parse_args()
    if arguments.role == "server":
        asyncio.run(_serve(serve))
    else:
        asyncio.run(_run_cases(receive, echo, arguments.url))


async def _serve(serve: Serve) -> None:
    # os._exit: a server that is no longer wanted needs no closing handshakes.
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), os._exit, 0)
    sock = socket.create_server(("127.0.0.1", 0))
    server = await serve(sock)  # kept: a server may live only as long as its object
    print("listening", sock.getsockname()[1], flush=True)
    await asyncio.Event().wait()
    del server


async def _run_cases(receive: Receive, echo: Echo, url: str) -> None:
    """The dialogue of Autobahn|Testsuite: how many cases, each of them, and the end."""
    for case in range(1, int(await receive(f"{url}/getCaseCount")) + 1):
        try:
            async with asyncio.timeout(CASE_SECONDS):
                await echo(f"{url}/runCase?{urlencode({'case': case, 'agent': 'peer'})}")
        except TimeoutError:
            print(f"case {case} did not end in {CASE_SECONDS} s", file=sys.stderr)
    await echo(f"{url}/updateReports?{urlencode({'agent': 'peer'})}")

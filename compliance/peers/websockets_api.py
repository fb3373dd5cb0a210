"""The peer for the libraries that share the API of websockets."""

import contextlib
import socket
from types import ModuleType
from typing import Any

from compliance.peers import harness

# Group 9 sends messages of 16 MiB; a keepalive ping is an event that no case expects.
OPTIONS = {"max_size": None, "ping_interval": None}


def main(library: ModuleType, **only_its_own: Any) -> None:
    """Run the peer; `only_its_own` are options of `serve` and `connect` that other libraries do not have."""
    options = OPTIONS | only_its_own

    async def echo_messages(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async def serve(sock: socket.socket) -> object:
        return await library.serve(echo_messages, sock=sock, **options)

    async def receive(url: str) -> str:
        async with library.connect(url, **options) as connection:
            return str(await connection.recv())

    async def echo(url: str) -> None:
        # Who closed the connection, and how, is for the fuzzing server to judge.
        async with library.connect(url, **options) as connection:
            with contextlib.suppress(library.ConnectionClosed):
                await echo_messages(connection)

    harness.main(serve, receive, echo)

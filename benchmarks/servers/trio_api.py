"""The server for the peers with the trio API of websockets: an echo."""

import argparse
import os
import sys
from types import ModuleType
from typing import Any

import trio

from benchmarks.servers.harness import MAX_SIZE


def main(library: ModuleType) -> None:
    """Run the server of `library.serve` until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=("echo",))
    parser.add_argument("--loop", choices=("trio",), default="trio")
    parser.parse_args()
    trio.run(_serve, library)


async def _serve(library: ModuleType) -> None:
    async def echo(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def serve(task_status: Any) -> None:
            await library.serve(echo, listeners=listeners, compression=None, max_size=MAX_SIZE, task_status=task_status)

        await nursery.start(serve)
        print("listening", listeners[0].socket.getsockname()[1], flush=True)
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        os._exit(0)  # a server that is no longer wanted needs no closing handshakes

"""A trunkline server as a program of its own, so that a test can watch its memory, descriptors and CPU time.

Usage: servers.py HANDLER OPTIONS, where OPTIONS is a JSON object of keyword arguments of `serve`. It prints its port on
the first line. Then it answers each line of standard input with a line of JSON that counts the objects that it keeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trunkline
from trunkline.asyncio.server import Server, ServerConnection

Handler = Callable[[ServerConnection], Awaitable[None]]


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def describe(ws: ServerConnection) -> None:
    """Answer a message with its type and length, so that big messages need not come back."""
    async for message in ws:
        await ws.send(f"{type(message).__name__} {len(message)}")


async def idle(ws: ServerConnection) -> None:
    """Never receive."""
    await ws.wait_closed()


async def pour(ws: ServerConnection) -> None:
    """Send without end."""
    while True:
        await ws.send(b"x" * 65536)


published = asyncio.Event()


async def publish(ws: ServerConnection) -> None:
    """Broadcast 64 MiB to the connection that says "publish"; echo to others, once that is done."""
    if await ws.recv() == "publish":
        for _ in range(1024):
            trunkline.broadcast({ws}, b"x" * 65536)
            await asyncio.sleep(0)
        published.set()
        await ws.wait_closed()
    await published.wait()
    await ws.send("published")


async def crash(ws: ServerConnection) -> None:
    await ws.recv()
    raise ValueError("the handler is broken")


HANDLERS: dict[str, Handler] = {handler.__name__: handler for handler in (echo, describe, idle, pour, publish, crash)}


def census(server: Server) -> dict[str, float]:
    """Counts of the objects that this process keeps alive now."""
    gc.collect()
    return {
        "tasks": len(asyncio.all_tasks()),
        "connections": len(server.connections),
        "objects": sum(isinstance(thing, ServerConnection) for thing in gc.get_objects()),
        "cpu": time.process_time(),
    }


async def serve_until_closed(handler: Handler, ws: ServerConnection) -> None:
    """An application that expects connections to break, as any application must."""
    with contextlib.suppress(trunkline.ConnectionClosed):
        await handler(ws)


def parse_options(text: str) -> dict[str, Any]:
    """Options of `serve`; limits that are pairs are tuples, which JSON does not have."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()}


async def main(name: str, options: str) -> None:
    handler = functools.partial(serve_until_closed, HANDLERS[name])
    loop = asyncio.get_running_loop()
    async with trunkline.serve(handler, "127.0.0.1", 0, **parse_options(options)) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        commands = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        while await commands.readline():
            print(json.dumps(census(server)), flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s %(message)s")
    asyncio.run(main(*sys.argv[1:]))

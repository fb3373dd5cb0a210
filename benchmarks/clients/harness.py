"""Tools for every Python client: options, a loop, and the dialogue with the runner (see load/wire.h)."""

import argparse
import json
import sys
from collections.abc import Awaitable, Callable
from time import monotonic

from benchmarks.loops import LOOPS, run

SIZE = 32
"""Bytes in a message."""
UNTIMED = 50
"""Messages between two looks at the clock, so that looking costs next to nothing."""

Send = Callable[[bytes], Awaitable[object]]
Receive = Callable[[], Awaitable[object]]
Connect = Callable[[str], Awaitable[tuple[Send, Receive]]]


def main(connect: Connect) -> None:
    """Connect with `connect`, which returns how to send and how to receive, and exchange messages when told to."""
    arguments = parse()
    run(_talk(connect, f"ws://127.0.0.1:{arguments.port}/", arguments.depth), arguments.loop)


def parse() -> argparse.Namespace:
    """The arguments of every client."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--depth", type=int, default=1, help="messages in flight")
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    return parser.parse_args()


async def _talk(connect: Connect, uri: str, depth: int) -> None:
    send, receive = await connect(uri)
    print("ready", flush=True)
    for line in sys.stdin:
        seconds = float(line.removeprefix("run "))
        start = monotonic()
        messages = await _exchange(send, receive, depth, seconds)
        print("done", json.dumps({"messages": messages, "seconds": monotonic() - start}), flush=True)


async def _exchange(send: Send, receive: Receive, depth: int, seconds: float) -> int:
    """Keep `depth` messages in flight; return how many were sent, all of them answered."""
    message = bytes(SIZE)
    end = monotonic() + seconds
    messages = depth
    for _ in range(depth):
        await send(message)
    while monotonic() < end:
        for _ in range(UNTIMED):
            await receive()
            await send(message)
        messages += UNTIMED
    for _ in range(depth):
        await receive()
    return messages

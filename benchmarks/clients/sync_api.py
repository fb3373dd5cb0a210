"""The client for the peers that share the API of websockets.sync: the dialogue of `harness`, without an event loop."""

import json
import sys
from time import monotonic
from types import ModuleType
from typing import Any

from benchmarks.clients.harness import SIZE, UNTIMED, parse


def main(library: ModuleType) -> None:
    """Connect with `library.connect`, and exchange messages when told to."""
    arguments = parse()
    with library.connect(f"ws://127.0.0.1:{arguments.port}/", compression=None, proxy=None) as connection:
        print("ready", flush=True)
        for line in sys.stdin:
            start = monotonic()
            messages = _exchange(connection, arguments.depth, float(line.removeprefix("run ")))
            print("done", json.dumps({"messages": messages, "seconds": monotonic() - start}), flush=True)


def _exchange(connection: Any, depth: int, seconds: float) -> int:
    """Keep `depth` messages in flight; return how many were sent, all of them answered."""
    message = bytes(SIZE)
    end = monotonic() + seconds
    messages = depth
    for _ in range(depth):
        connection.send(message)
    while monotonic() < end:
        for _ in range(UNTIMED):
            connection.recv()
            connection.send(message)
        messages += UNTIMED
    for _ in range(depth):
        connection.recv()
    return messages

"""The behaviour of every foreign peer, as server and as client: it echoes messages, and obeys a few commands.

| command              | the peer                                                     |
| -------------------- | ------------------------------------------------------------ |
| `!close CODE REASON` | starts the closing handshake                                 |
| `!ping`              | sends a Ping, and once the Pong is there the text `!pong`    |
| `!fragments`         | sends the text `fragmented` in three frames                  |
| `!subprotocol`       | sends the name of the subprotocol                            |
| `!abort`             | drops the TCP connection                                     |

A peer program that is started with `listen` prints its port. With `connect`, it opens a connection to each URI that it
reads from standard input. It offers, or accepts, the subprotocol `chat`.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple

SUBPROTOCOL = "chat"
MAX_SIZE = 1 << 22
FRAGMENTS = ["frag", "ment", "ed"]


class Command(NamedTuple):
    name: str
    code: int = 1000
    reason: str = ""


def parse(message: str | bytes) -> Command | None:
    """The command in a message, None if it is to be echoed."""
    if not isinstance(message, str) or not message.startswith("!"):
        return None
    name, _, arguments = message[1:].partition(" ")
    code, _, reason = arguments.partition(" ")
    return Command(name, int(code or 1000), reason)


def announce(port: int) -> None:
    print(port, flush=True)


def uris() -> Iterator[str]:
    """The URIs to connect to."""
    return (line.strip() for line in sys.stdin)


def run_async(listen: Callable[[], Awaitable[int]], connect: Callable[[str], Awaitable[None]]) -> None:
    """The main program of a peer on asyncio; `listen` returns the port."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        if sys.argv[1] == "listen":
            announce(await listen())
            await loop.run_in_executor(None, sys.stdin.read)
            return
        connections = []
        while uri := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            connections.append(asyncio.ensure_future(connect(uri)))

    asyncio.run(main())


def run_threads(listen: Callable[[], int], connect: Callable[[str], None]) -> None:
    """The main program of a peer that blocks; `listen` serves in threads of its own and returns the port."""
    if sys.argv[1] == "listen":
        announce(listen())
        sys.stdin.read()
        return
    for uri in uris():
        threading.Thread(target=connect, args=[uri], daemon=True).start()

"""Measure what a client that reads nothing costs the others in its room.

    python -m benchmarks.slow_reader                             # 500 clients, 7 rounds of 2 seconds
    python -m benchmarks.slow_reader --slow drop_oldest

Rounds without the slow client and with it take turns. The program measures the time from publishing to a client that
reads, and shows its 99th percentile. It shows the memory of the server and the fate of the slow client, too. The exit
status is 1 if the median of the percentiles is more than twice as large with the slow client.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import os
import socket
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from benchmarks.measure import allow_many_files
from trunkline import connect
from trunkline.realtime import Limits, Realtime

PAGE = os.sysconf("SC_PAGE_SIZE")
BAR = 2
QUEUE = 1 << 17  # bytes that may wait for a client
HELLO = '{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"room"}}'


# The server, a process of its own


async def serve(slow: str) -> None:
    """Publish as told in lines on standard input; answer each with a line of numbers."""
    rt = Realtime(limits=Limits(rate=None, queue=QUEUE))
    rt.channel("room", slow=slow)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 15)  # or the kernel keeps megabytes for a client
    async with rt, rt.serve(sock=sock, compression=None):
        print(sock.getsockname()[1], flush=True)
        while line := await commands.readline():
            count, rate, size = map(int, line.split())
            await publish(rt, count, rate, size)
            stats = rt.stats().channels["room"]
            memory = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
            print(stats.dropped, stats.slow, memory, flush=True)


async def publish(rt: Realtime, count: int, rate: int, size: int) -> None:
    """Publish the time, with some ballast, so many times a second."""
    start = time.monotonic()
    ballast = "x" * size
    for number in range(count):
        await asyncio.sleep(max(0, start + number / rate - time.monotonic()))
        await rt.publish("room", [time.monotonic(), ballast])


# The clients


class Publication(msgspec.Struct):
    data: tuple[float, str]


class Push(msgspec.Struct):
    pub: Publication | None = None


class Reply(msgspec.Struct):
    id: int = 0
    push: Push | None = None


#: All clients get the same bytes, and one core has to do for them.
decode = functools.lru_cache(8)(msgspec.json.Decoder(Reply).decode)


PING = Reply()


@dataclass
class Reader:
    """A client that reads."""

    delays: list[float] = field(default_factory=list)
    """How late each publication was, in seconds."""
    subscribed: asyncio.Event = field(default_factory=asyncio.Event)

    async def live(self, url: str) -> None:
        async with connect(url, compression=None, max_size=None, proxy=None) as websocket:
            await websocket.send(HELLO)
            while True:
                reply = decode(await websocket.recv(decode=False))
                if reply.id == 2:
                    self.subscribed.set()
                elif reply.push is not None and reply.push.pub is not None:
                    self.delays.append(time.monotonic() - reply.push.pub.data[0])
                elif reply == PING:
                    await websocket.send("{}")


async def read_nothing(url: str) -> None:
    """Subscribe, and never read again; a small window keeps the kernel from reading in our place."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", urlsplit(url).port))
    async with connect(url, compression=None, proxy=None, sock=sock) as websocket:
        await websocket.send(HELLO)
        await websocket.recv()
        websocket.transport.pause_reading()
        try:
            await asyncio.Event().wait()
        finally:
            websocket.transport.abort()


# Rounds


@dataclass
class Room:
    """The server with its readers."""

    process: Any
    url: str
    readers: list[Reader]

    @classmethod
    async def open(cls, clients: int, slow: str) -> Self:
        command = [sys.executable, "-m", "benchmarks.slow_reader", "--serve", "--slow", slow]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        return cls(process, f"ws://127.0.0.1:{port}/connection/websocket", [Reader() for _ in range(clients)])

    async def publish(self, count: int, rate: int, size: int) -> tuple[float, list[int]]:
        """The 99th percentile in seconds; publications dropped and clients disconnected so far, and bytes of memory."""
        for reader in self.readers:
            reader.delays.clear()
        self.process.stdin.write(f"{count} {rate} {size}\n".encode())
        numbers = [int(word) for word in (await self.process.stdout.readline()).split()]
        while any(len(reader.delays) < count for reader in self.readers):
            await asyncio.sleep(0.01)
        return statistics.quantiles([delay for reader in self.readers for delay in reader.delays], n=100)[-1], numbers


async def run(options: argparse.Namespace) -> float:
    """Measure; returns the 99th percentile with the slow client as a multiple of that without."""
    room = await Room.open(options.clients, options.slow)
    living = [asyncio.create_task(reader.live(room.url)) for reader in room.readers]
    await asyncio.gather(*(reader.subscribed.wait() for reader in room.readers))
    p99: dict[bool, list[float]] = {False: [], True: []}
    for number in range(1 + 2 * options.rounds):
        with_slow = number % 2 == 0 and number > 0
        stuck = asyncio.create_task(read_nothing(room.url)) if with_slow else None
        await asyncio.sleep(0.5)
        value, (dropped, slow, memory) = await room.publish(
            round(options.rate * options.seconds), options.rate, options.size
        )
        if stuck is not None:
            stuck.cancel()
        if number > 0:  # the first one warms up
            p99[with_slow].append(value)
            print(
                f"{'with' if with_slow else 'without':8}p99 {value * 1e3:9.2f} ms   server {memory / 2**20:6.1f} MiB   "
                f"dropped {dropped}, disconnected {slow}"
            )
    for task in living:
        task.cancel()
    await asyncio.wait(living)
    room.process.kill()
    await room.process.wait()
    return statistics.median(p99[True]) / statistics.median(p99[False])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slow_reader", description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rate", type=int, default=20, help="messages a second (default: 20)")
    parser.add_argument("--size", type=int, default=10_000, help="bytes in a message (default: 10000)")
    parser.add_argument("--slow", default="disconnect", help="what the channel does (default: disconnect)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    allow_many_files()
    if options.serve:
        asyncio.run(serve(options.slow))
        return 0
    ratio = asyncio.run(run(options))
    print(f"p99 with the slow client is {ratio:.2f} times that without; the bar is {BAR}")
    return int(ratio > BAR)


if __name__ == "__main__":
    sys.exit(main())

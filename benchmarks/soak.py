"""Keep a server busy with well-behaved and rude clients for long, and see whether anything stays behind.

    python -m benchmarks.soak --minutes 10

The server runs in a process of its own. After a warm-up all clients leave and the server is measured. Then the clients
come back for the given time. When they have left again, everything must be as it was: descriptors, tasks and connection
objects exactly, memory nearly. If not, the exit status is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import json
import os
import random
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import trunkline
from benchmarks.build import CERTIFICATE, build
from trunkline.asyncio.server import ServerConnection
from trunkline.exceptions import ConnectionClosed

PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20
SIZES = (0, 1, 20, 125, 126, 1000, 16_384, 65_536, 300_000)
MEMORY_TOLERANCE = 4 * MIB  # of an idle server, whose allocator doesn't return everything
SAMPLES = 20
# Patient, for all clients share one core, which may be busy with other things, too.
OPTIONS = {"compression": None, "ping_interval": 2, "ping_timeout": 60, "close_timeout": 2, "open_timeout": 60}

Behaviour = Callable[[str, random.Random], Awaitable[None]]


# Server


async def serve(engine: str, tls: bool) -> None:
    """Echo. Print the URI, then a line of JSON for each line read."""
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)

    async def echo(ws: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in ws:
                await ws.send(message)

    async with trunkline.serve(echo, "127.0.0.1", 0, backlog=1024, engine=engine, ssl=context, **OPTIONS) as server:
        print(f"{'wss' if tls else 'ws'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
        commands = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        while await commands.readline():
            gc.collect()
            give_back_memory()
            objects = sum(isinstance(thing, ServerConnection) for thing in gc.get_objects())
            print(json.dumps([len(asyncio.all_tasks()), objects, len(server.connections)]), flush=True)


def give_back_memory() -> None:
    """Let the C library return what is free, so that what is resident is in use. Others than glibc can't."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Sample(NamedTuple):
    """The resources that a server holds."""

    seconds: float
    rss: int
    descriptors: int
    tasks: int
    objects: int
    connections: int

    def __str__(self) -> str:
        numbers = f"{self.descriptors:>12} {self.tasks:>6} {self.objects:>8} {self.connections:>12}"
        return f"{self.seconds:>8.0f} {self.rss / MIB:>8.1f} {numbers}"


HEADING = f"{'seconds':>8} {'RSS MiB':>8} {'descriptors':>12} {'tasks':>6} {'objects':>8} {'connections':>12}"


class Server:
    """The server's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._started = time.monotonic()
        self.uri = self._read_line().strip()

    def _read_line(self) -> str:
        assert self._process.stdout is not None, "it is started with a pipe"
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the server ended with status {self._process.wait()}")
        return line

    def _sample(self) -> Sample:
        assert self._process.stdin is not None, "it is started with a pipe"
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        tasks, objects, connections = json.loads(self._read_line())
        proc = Path(f"/proc/{self._process.pid}")
        rss = int((proc / "statm").read_text().split()[1]) * PAGE
        descriptors = len(list((proc / "fd").iterdir()))
        return Sample(time.monotonic() - self._started, rss, descriptors, tasks, objects, connections)

    async def sample(self) -> Sample:
        """The resources that the server holds now."""
        return await asyncio.to_thread(self._sample)

    async def idle_sample(self) -> Sample:
        """The resources that the server holds when the last client has left, or after 30 seconds."""
        for _ in range(60):
            sample = await self.sample()
            if sample.connections == 0 and sample.tasks == 1:
                break
            await asyncio.sleep(0.5)
        return sample


@contextlib.contextmanager
def started_server(engine: str, tls: bool) -> Iterator[Server]:
    command = [sys.executable, "-m", "benchmarks.soak", "--serve", "--engine", engine, *["--tls"] * tls]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Server(process)
    finally:
        process.kill()
        process.communicate()


# Clients


TRUSTING = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TRUSTING.check_hostname, TRUSTING.verify_mode = False, ssl.CERT_NONE


def connect(uri: str) -> trunkline.connect:
    tls = {"ssl": TRUSTING} if uri.startswith("wss:") else {}
    return trunkline.connect(uri, proxy=None, **tls, **OPTIONS)


async def chat(uri: str, draw: random.Random) -> None:
    """Check the echoes of messages of all sizes, and close."""
    async with connect(uri) as ws:
        for _ in range(draw.randrange(1, 30)):
            sent = [message(draw) for _ in range(draw.choice((1, 1, 8)))]
            for each in sent:
                await ws.send(each)
            for each in sent:
                assert await ws.recv() == each, "an echo differs"


def message(draw: random.Random) -> str | bytes:
    size = draw.choice(SIZES)
    return "€" * (size // 3) if draw.random() < 0.5 else draw.randbytes(size)


async def read_slowly(uri: str, draw: random.Random) -> None:
    """Send more than the server may hold for us, and read much later."""
    async with connect(uri) as ws:
        ws.transport.pause_reading()
        sent = [draw.randbytes(65_536) for _ in range(60)]
        sending = asyncio.create_task(send_all(ws, sent))
        await asyncio.sleep(draw.uniform(0.2, 2))
        ws.transport.resume_reading()
        for each in sent:
            assert await ws.recv() == each, "an echo differs"
        await sending


async def send_all(ws: trunkline.ClientConnection, messages: list[bytes]) -> None:
    for each in messages:
        await ws.send(each)


async def break_off(uri: str, draw: random.Random) -> None:
    """Go away without a word, echoes on the way."""
    ws = await connect(uri)
    for _ in range(draw.randrange(5)):
        await ws.send(message(draw))
    reset(ws, draw.random() < 0.5)


def reset(ws: trunkline.ClientConnection, rst: bool) -> None:
    if rst:
        ws.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ws.transport.abort()


async def leave_unread(uri: str, draw: random.Random) -> None:
    """Never read, and go away while the server waits for us."""
    ws = await connect(uri)
    ws.transport.pause_reading()
    sending = asyncio.create_task(send_all(ws, [draw.randbytes(65_536)] * 100))
    await asyncio.wait([sending], timeout=draw.uniform(0.1, 1))
    reset(ws, draw.random() < 0.5)
    with contextlib.suppress(ConnectionClosed):
        await sending


async def knock(uri: str, draw: random.Random) -> None:
    """Begin an opening handshake, and no more."""
    host, port = uri.rstrip("/").rpartition("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        draw.choice((b"", b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00"))
    )
    with contextlib.suppress(TimeoutError, ConnectionError):
        await asyncio.wait_for(reader.read(), draw.random())
    writer.transport.abort()


async def sit(uri: str, draw: random.Random) -> None:
    """Stay connected, for keepalive to work."""
    async with connect(uri) as ws:
        await asyncio.sleep(draw.uniform(1, 8))
        await (await ws.ping())


BEHAVIOURS: dict[Behaviour, int] = {chat: 12, read_slowly: 1, break_off: 4, leave_unread: 1, knock: 2, sit: 4}


async def client(uri: str, seed: int, end: float, done: dict[str, int]) -> None:
    """One behaviour after the other. An error that isn't of our own making ends the program: the server is at fault."""
    draw = random.Random(seed)
    while time.monotonic() < end:
        (behaviour,) = draw.choices(list(BEHAVIOURS), list(BEHAVIOURS.values()))
        await behaviour(uri, draw)
        done[behaviour.__name__] = done.get(behaviour.__name__, 0) + 1
        await asyncio.sleep(draw.random())


async def load(server: Server, clients: int, seconds: float, samples: int, done: dict[str, int]) -> list[Sample]:
    """All clients for so long; returns what the server held meanwhile."""
    end = time.monotonic() + seconds
    taken = []
    async with asyncio.TaskGroup() as group:
        for seed in range(clients):
            group.create_task(client(server.uri, seed, end, done))
        for _ in range(samples):
            await asyncio.sleep(seconds / samples)
            taken.append(await server.sample())
            print(taken[-1], flush=True)
    return taken


# Verdict


def slope(samples: list[Sample]) -> float:
    """Bytes of memory per minute, by least squares."""
    n = len(samples)
    seconds = sum(sample.seconds for sample in samples) / n
    rss = sum(sample.rss for sample in samples) / n
    spread = sum((sample.seconds - seconds) ** 2 for sample in samples)
    return 60 * sum((sample.seconds - seconds) * (sample.rss - rss) for sample in samples) / spread


def left_behind(before: Sample, after: Sample) -> list[str]:
    """The resources of which a server that is idle again holds more than before."""
    problems = [
        f"{name}: {getattr(before, name)} before, {getattr(after, name)} after"
        for name in ("descriptors", "tasks", "objects", "connections")
        if getattr(after, name) > getattr(before, name)
    ]
    if after.rss > before.rss + max(MEMORY_TOLERANCE, before.rss // 10):
        problems.append(f"memory: {before.rss / MIB:.1f} MiB before, {after.rss / MIB:.1f} MiB after")
    return problems


async def soak(minutes: float, clients: int, engine: str, tls: bool) -> int:
    with started_server(engine, tls) as server:
        done: dict[str, int] = {}
        print(HEADING)
        await load(server, clients, min(30, 60 * minutes / 5), 2, done)
        before = await server.idle_sample()
        print(f"{before}  idle")
        samples = await load(server, clients, 60 * minutes, SAMPLES, done)
        after = await server.idle_sample()
        print(f"{after}  idle")
    print("done: " + ", ".join(f"{count} {name}" for name, count in sorted(done.items())))
    print(
        f"memory under load: {slope(samples) / MIB:+.2f} MiB a minute; idle: {(after.rss - before.rss) / MIB:+.2f} MiB"
    )
    problems = left_behind(before, after)
    print("\n".join(f"LEFT BEHIND {problem}" for problem in problems) or "nothing was left behind")
    return 1 if problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long (default: 10)")
    parser.add_argument("--clients", type=int, default=500, help="at a time (default: 500)")
    parser.add_argument("--engine", choices=("auto", "reactor", "transports"), default="auto", help="of the server")
    parser.add_argument("--tls", action="store_true", help="encrypted")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.engine, options.tls))
        return 0
    if options.tls:
        build()
    return asyncio.run(soak(options.minutes, options.clients, options.engine, options.tls))


if __name__ == "__main__":
    sys.exit(main())

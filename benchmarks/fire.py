"""Cut the connections of many subscribers at random, restart the server, and see whether a subscriber misses anything.

    python -m benchmarks.fire --seconds 60

A server with a store in SQLite runs in a process of its own. Clients subscribe to one channel. A publisher publishes
numbers there, through the server's `rpc`. Each number has an id, so that the publisher can repeat what wasn't
acknowledged; it waits for no answer before it goes on. All the while, the program cuts connections without a word, on
either side, that of the publisher too. Half way, it kills the server and starts it again. Afterwards every client must
have every number, once, in order, be it live or recovered. Among the clients are some of the official Python SDK, in
both encodings. If anything is missing, or the publisher couldn't keep up its rate, the exit status is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import random
import resource
import signal
import socket
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

import trunkline
from trunkline import State
from trunkline.exceptions import WebSocketException
from trunkline.realtime import Limits, Realtime

CHANNEL = "numbers"
HISTORY = 1_000_000
TICK = 0.002  # seconds that the publisher sleeps when nothing is due
LARGEST = 50  # numbers in a command
WINDOW = 2000  # numbers without an answer, above which the publisher waits
FRAMES = 256  # that are remembered, see `replies`
PATIENCE = 120  # seconds in which each client must have everything, once the publisher has stopped
PADDING = "x" * 60


# Server


async def serve(port: int, store: str) -> None:
    """Until SIGTERM, which closes it, or the end of standard input. Print a line when it is there."""
    rt = Realtime(store, limits=Limits(history=HISTORY, queue=1 << 20, calls=WINDOW, rate=None))
    rt.channel(CHANNEL, history=HISTORY, ttl=3600)

    @rt.rpc("publish")
    async def publish(client: Any, numbers: list[int]) -> None:
        await asyncio.gather(
            *(rt.publish(CHANNEL, {"n": number, "padding": PADDING}, id=str(number)) for number in numbers)
        )

    @rt.rpc("cut")
    def cut(client: Any) -> None:
        client.connection.transport.abort()

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(sys.stdin, stop.set)
    async with rt.serve("127.0.0.1", port):
        print("ready", flush=True)
        await stop.wait()


class Server:
    """The server's process."""

    def __init__(self, port: int, store: str) -> None:
        self.url = f"ws://127.0.0.1:{port}/"
        self._command = ["-m", "benchmarks.fire", "--serve", str(port), "--store", store]

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None, "it is started with a pipe"
        if not await self._process.stdout.readline():
            raise SystemExit(f"the server ended with status {await self._process.wait()}")

    async def stop(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        await self._process.wait()


# Clients


class Subscriber(Protocol):
    """A subscriber that counts.

    Attributes:
        next: the number that must come.
        faults: what came instead.
        counts: what happened.
    """

    next: int
    faults: list[str]
    counts: Counter[str]

    def cut(self) -> None: ...
    async def close(self) -> None: ...


class Data(msgspec.Struct):
    n: int


class Publication(msgspec.Struct):
    data: Data
    offset: int = 0


class SubscribeResult(msgspec.Struct):
    epoch: str = ""
    offset: int = 0
    recovered: bool = False
    was_recovering: bool = False
    publications: list[Publication] = []


class Unsubscribe(msgspec.Struct):
    code: int


class Push(msgspec.Struct):
    pub: Publication | None = None
    unsubscribe: Unsubscribe | None = None


class Error(msgspec.Struct):
    code: int
    message: str = ""


class Reply(msgspec.Struct):
    """Of the client protocol, as much as this needs."""

    id: int = 0
    error: Error | None = None
    subscribe: SubscribeResult | None = None
    push: Push | None = None


decode_replies = msgspec.json.Decoder(Reply).decode_lines


@functools.lru_cache(FRAMES)
def replies(frame: bytes) -> list[Reply]:
    """The replies in a frame. Many clients get the same bytes, and one core has to do for all of them."""
    return decode_replies(frame)


def command(id: int, **request: Any) -> bytes:
    return msgspec.json.encode({"id": id} | request)


class Counting:
    """The counting that all subscribers share."""

    def __init__(self) -> None:
        self.next = 0
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()

    def got(self, number: int) -> None:
        if number != self.next:
            self.faults.append(f"{number} came instead of {self.next}")
        self.next = number + 1


class PlainSubscriber(Counting):
    """Speaks the protocol itself: connects again at once, and recovers by offset and epoch."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._position: tuple[int, str] | None = None
        self._connection: trunkline.ClientConnection | None = None
        self.subscribed = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def cut(self) -> None:
        if self._connection is not None:
            self._connection.transport.abort()

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task  # raises what went wrong with our own code

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(OSError, WebSocketException):
                async with trunkline.connect(self._url, proxy=None, compression=None, max_size=None) as connection:
                    self._connection = connection
                    await self._speak(connection)
            self._connection = None
            self.counts["lost"] += 1
            await asyncio.sleep(random.uniform(0, 0.2))

    async def _speak(self, connection: trunkline.ClientConnection) -> None:
        await connection.send(command(1, connect={}))
        await connection.send(self._subscription())
        while True:
            for reply in replies(await connection.recv(decode=False)):
                if reply.push is not None and reply.push.pub is not None:
                    self._publication(reply.push.pub)
                else:
                    await self._take(connection, reply)

    def _subscription(self) -> bytes:
        request: dict[str, Any] = {"channel": CHANNEL}
        if self._position is not None:
            request |= {"recover": True, "offset": self._position[0], "epoch": self._position[1]}
        return command(2, subscribe=request)

    async def _take(self, connection: trunkline.ClientConnection, reply: Reply) -> None:
        if reply.subscribe is not None:
            self._subscribed(reply.subscribe)
        elif reply.push is not None and reply.push.unsubscribe is not None:
            self.counts[f"unsubscribed {reply.push.unsubscribe.code}"] += 1
            await connection.send(self._subscription())
        elif reply.error is not None:
            self.counts[f"error {reply.error.code}"] += 1
            await connection.close()
        elif not reply.id:
            await connection.send("{}")

    def _subscribed(self, result: SubscribeResult) -> None:
        if self._position is None:
            self._position = result.offset, result.epoch
            self.subscribed.set()
            return
        self.counts["recovered"] += result.recovered
        if not result.recovered:
            self.faults.append(f"not recovered from {self._position}: {result}")
        self.counts["recovered publications"] += len(result.publications)
        self._position = self._position[0], result.epoch
        for publication in result.publications:
            self._publication(publication)

    def _publication(self, publication: Publication) -> None:
        assert self._position is not None, "it is subscribed"
        if publication.offset <= self._position[0]:
            self.faults.append(f"offset {publication.offset} after {self._position[0]}")
        self._position = publication.offset, self._position[1]
        self.got(publication.data.n)


class SDKSubscriber(Counting):
    """The official Python SDK."""

    def __init__(self, url: str, protobuf: bool) -> None:
        from centrifuge import Client, SubscriptionEventHandler

        super().__init__()
        self.subscribed = asyncio.Event()
        subscriber = self

        class Events(SubscriptionEventHandler):  # type: ignore[misc]
            async def on_publication(self, context: Any) -> None:
                data = context.pub.data
                subscriber.got((msgspec.json.decode(data) if isinstance(data, bytes) else data)["n"])

            async def on_subscribed(self, context: Any) -> None:
                subscriber.subscribed.set()
                subscriber.counts["recovered"] += context.recovered
                if context.was_recovering and not context.recovered:
                    subscriber.faults.append("not recovered")

        self._client = Client(url, use_protobuf=protobuf, proxy=None, min_reconnect_delay=0.05, max_reconnect_delay=0.5)
        self._subscription = self._client.new_subscription(CHANNEL, Events())
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        await self._client.connect()
        await self._subscription.subscribe()

    def cut(self) -> None:
        """Let the server cut the connection: the SDK doesn't let us."""
        self.counts["lost"] += 1
        task = asyncio.create_task(self._call_cut())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call_cut(self) -> None:
        with contextlib.suppress(Exception):  # the answer is that the connection is gone
            await self._client.rpc("cut", b"null" if self._client._use_protobuf else None)

    async def close(self) -> None:
        await self._client.disconnect()


class Publisher:
    """Publishes numbers in order, as many as it should by now. Those without an answer are repeated, in order, too.

    Attributes:
        published: numbers that have an answer.
        repeated: numbers that were sent again.
    """

    def __init__(self, url: str, rate: float) -> None:
        self._url = url
        self._rate = rate
        self._connection: trunkline.ClientConnection | None = None
        self._waiting: deque[int] = deque()  # for answers: ids of commands, each the number up to which it publishes
        self._answered: set[int] = set()
        self._until = 0.0
        self._sent = 0  # numbers, on this connection
        self._highest = 0  # number of those that were ever sent
        self.published = 0
        self.repeated = 0

    def cut(self) -> None:
        if self._connection is not None:
            self._connection.transport.abort()

    async def run(self, seconds: float) -> None:
        """Publish for so long, and have it all answered."""
        started = time.monotonic()
        self._until = started + seconds
        while not self._done():
            with contextlib.suppress(OSError, WebSocketException):
                async with trunkline.connect(self._url, proxy=None, compression=None) as self._connection:
                    await self._publish(self._connection, started)
            self._waiting.clear()
            self._answered.clear()
            self.repeated += self._sent - self.published
            self._sent = self.published
            await asyncio.sleep(0.05)

    def _done(self) -> bool:
        return time.monotonic() >= self._until and self.published == self._highest

    async def _publish(self, connection: trunkline.ClientConnection, started: float) -> None:
        """Until the connection is gone, or it is done."""
        await connection.send(command(1, connect={}))
        self._waiting.append(1)
        answers = asyncio.create_task(self._take_answers(connection))
        try:
            await self._send(connection, started)
        finally:
            answers.cancel()

    async def _send(self, connection: trunkline.ClientConnection, started: float) -> None:
        while not self._done() and connection.state is State.OPEN:
            now = time.monotonic()
            due = max(self._highest, int((now - started) * self._rate) if now < self._until else 0)
            upto = min(due, self._sent + LARGEST, self.published + WINDOW)
            if upto <= self._sent:
                await asyncio.sleep(TICK)
                continue
            self._waiting.append(upto + 1)
            await connection.send(command(upto + 1, rpc={"method": "publish", "data": list(range(self._sent, upto))}))
            self._sent = upto
            self._highest = max(self._highest, upto)

    async def _take_answers(self, connection: trunkline.ClientConnection) -> None:
        with contextlib.suppress(WebSocketException):
            while True:
                for reply in decode_replies(await connection.recv(decode=False)):
                    if not reply.id:
                        await connection.send("{}")
                    elif reply.error is None:
                        self._answered.add(reply.id)
                while self._waiting and self._waiting[0] in self._answered:
                    self._answered.remove(id := self._waiting.popleft())
                    self.published = max(self.published, id - 1)


# The fire


@contextlib.asynccontextmanager
async def subscribers(url: str, plain: int, sdk: int) -> AsyncIterator[list[PlainSubscriber | SDKSubscriber]]:
    sdks = [SDKSubscriber(url, protobuf=bool(number % 2)) for number in range(sdk)]
    everybody: list[PlainSubscriber | SDKSubscriber] = [*(PlainSubscriber(url) for _ in range(plain)), *sdks]
    try:
        for each in sdks:
            await each.start()
        for each in everybody:
            await asyncio.wait_for(each.subscribed.wait(), 30)
        yield everybody
    finally:
        await asyncio.gather(*(each.close() for each in everybody))


async def cut_at_random(targets: list[Any], every: float) -> None:
    """Cut a connection, each target's once in so many seconds on average."""
    while True:
        await asyncio.sleep(random.expovariate(len(targets) / every))
        random.choice(targets).cut()


async def restart(server: Server, after: float, number: signal.Signals) -> None:
    await asyncio.sleep(after)
    started = time.monotonic()
    await server.stop(number)
    await server.start()
    print(f"{number.name}, and started again within {time.monotonic() - started:.1f} s", flush=True)


async def tell(everybody: list[PlainSubscriber | SDKSubscriber], publisher: Publisher, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        numbers = sorted(each.next for each in everybody)
        print(
            f"published {publisher.published}, the last client is at {numbers[0]}, the median at "
            f"{numbers[len(numbers) // 2]}",
            flush=True,
        )


async def burn(options: argparse.Namespace, store: str) -> int:
    server = Server(free_port(), store)
    await server.start()
    plain = options.clients - options.sdk
    async with subscribers(server.url, plain, options.sdk) as everybody:
        publisher = Publisher(server.url, options.rate)
        print(f"{plain} clients, and {options.sdk} of the SDK; {options.rate} publications a second", flush=True)
        cutting = asyncio.create_task(cut_at_random([*everybody, publisher], options.every))
        restarting = asyncio.create_task(
            restart(server, options.seconds / 2, signal.Signals[f"SIG{options.signal.upper()}"])
        )
        telling = asyncio.create_task(tell(everybody, publisher, 5))
        await publisher.run(options.seconds)
        await restarting
        cutting.cancel()
        waited = time.monotonic()
        while any(each.next < publisher.published for each in everybody) and time.monotonic() - waited < PATIENCE:
            await asyncio.sleep(0.1)
        waited = time.monotonic() - waited
        telling.cancel()
        status = report(everybody, publisher, waited, options.rate * options.seconds, options.enough)
    await server.stop(signal.SIGTERM)
    servers = resource.getrusage(resource.RUSAGE_CHILDREN)
    for name, cpu in (("servers", servers.ru_utime + servers.ru_stime), ("clients", time.process_time())):
        deliveries = publisher.published * options.clients
        print(f"CPU of the {name}: {cpu:.1f} s, {cpu / deliveries * 1e6:.2f} µs for a delivery")
    return status


def report(
    everybody: list[PlainSubscriber | SDKSubscriber], publisher: Publisher, waited: float, wanted: float, enough: float
) -> int:
    counts = sum((each.counts for each in everybody), Counter())
    share = publisher.published / wanted
    print(f"published {publisher.published}, {share:.0%} of what the rate asks; {publisher.repeated} were sent again")
    print("clients: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    print(f"the last one had everything {waited:.1f} s after the publisher stopped")
    bad = [each for each in everybody if each.faults or each.next != publisher.published]
    for each in bad[:10]:
        print(f"FAULT {type(each).__name__} has {each.next}; {'; '.join(each.faults[:3])}")
    print(f"{len(everybody) - len(bad)} of {len(everybody)} have everything, once, in order")
    return 1 if bad or share < enough else 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fire", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long to publish (default: 60)")
    parser.add_argument("--clients", type=int, default=200, help="subscribers (default: 200)")
    parser.add_argument("--sdk", type=int, default=4, help="how many of them are the official SDK (default: 4)")
    parser.add_argument("--rate", type=float, default=500, help="publications a second (default: 500)")
    parser.add_argument("--enough", type=float, default=0.99, help="share of the rate to keep up (default: 0.99)")
    parser.add_argument("--every", type=float, default=10, help="seconds between two cuts of one client (default: 10)")
    parser.add_argument("--signal", choices=("kill", "term"), default="kill", help="to end the server with half way")
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--store", help="URL of the store (default: SQLite in a temporary directory)")
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(serve(options.serve, options.store))
        return 0
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(burn(options, options.store or f"sqlite:///{Path(directory) / 'store.db'}"))


if __name__ == "__main__":
    sys.exit(main())

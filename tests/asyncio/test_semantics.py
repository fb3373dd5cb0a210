"""Promises to programs, on any carrier of connections: one suite for all engines, event loops and modes.

Each test takes a `world`: an engine together with a kind of event loop. Nothing depends on how long something takes:
where something must *not* happen, the test counts what happens instead of waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import itertools
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import pytest

import trunkline
from tests.support import loop as loops
from tests.support import pair as pairs
from tests.support.loop import settled
from tests.support.pair import Accepted, echo, idle, port_of
from tests.support.raw import (
    BINARY,
    PONG,
    TEXT,
    RawPeer,
    accept_handshake,
    close_frame,
    encode_frame,
    request,
)
from trunkline.asyncio import engine as engines
from trunkline.asyncio.client import ClientConnection
from trunkline.asyncio.server import Server, ServerConnection
from trunkline.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

MIB = 1 << 20
FLOOD = 100_000  # messages; a task that gets so far before others had a turn starves them
SMALL = encode_frame(TEXT, b"x")


def plain_loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def debug_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    return loop


def eager_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    return loop


def uv_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


ENGINES = ["transports"] if engines.sockets is None else ["reactor", "transports"]
LOOPS = [plain_loop, debug_loop, *([eager_loop] if sys.version_info >= (3, 12) else []), uv_loop]


class World:
    """An engine on a kind of event loop."""

    def __init__(self, engine: engines.Engine, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.engine = engine
        self.loop_factory = loop_factory

    def __str__(self) -> str:
        return f"{self.engine}-{self.loop_factory.__name__.removesuffix('_loop')}"

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a test; it fails when tasks or errors are left behind, or when it hangs."""

        async def bounded() -> None:
            async with asyncio.timeout(60):
                await main()

        loops.run_clean(bounded, self.loop_factory)

    def serve(self, handler: Any = echo, **options: Any) -> Any:
        return pairs.serve(handler, engine=self.engine, **options)

    def connect(self, to: Server | int, **options: Any) -> Any:
        return pairs.connect(to, engine=self.engine, **options)

    @contextlib.asynccontextmanager
    async def pair(self, **options: Any) -> AsyncIterator[tuple[ClientConnection, ServerConnection]]:
        """Both ends of one connection."""
        async with pairs.pair(engine=self.engine, **options) as both:
            yield both

    @contextlib.asynccontextmanager
    async def raw_pair(self, **options: Any) -> AsyncIterator[tuple[RawPeer, ServerConnection]]:
        """A raw client that hardly buffers, and the server's end of its connection."""
        async with pairs.raw_pair(engine=self.engine, **options) as both:
            yield both


WORLDS = [World(engine, factory) for engine in ENGINES for factory in LOOPS]
PLAIN_WORLDS = [world for world in WORLDS if world.loop_factory is plain_loop]


@pytest.fixture(params=WORLDS, ids=str)
def world(request: pytest.FixtureRequest) -> World:
    """Each engine on each kind of event loop."""
    this: World = request.param
    return this


@pytest.fixture(params=PLAIN_WORLDS, ids=str)
def plain_world(request: pytest.FixtureRequest) -> World:
    """Each engine on the stock loop, for what is expensive."""
    this: World = request.param
    return this


async def turns(count: int) -> None:
    """Let the loop turn so often."""
    for _ in range(count):
        await asyncio.sleep(0)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a condition that the loop will make true."""
    await settled(condition)
    assert condition()


def keep_small(ws: Any) -> None:
    """Let the kernel buffer little of what is sent."""
    ws.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


def descriptors() -> int:
    """Number of open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


# --- cancellation ---


async def receive_all(ws: Any) -> list[Any]:
    return [message async for message in ws]


async def receive_one(ws: ClientConnection, how: str) -> Any:
    if how == "recv":
        return await ws.recv()
    if how == "iteration":
        return await anext(ws)
    return "".join([str(fragment) async for fragment in ws.recv_streaming()])


@pytest.mark.parametrize("how", ["recv", "iteration", "recv_streaming"])
def test_cancelled_receiving_loses_no_message(world: World, how: str) -> None:
    count = 120

    async def main() -> None:
        async with world.pair(max_queue=4) as (client, server):

            async def send_slowly() -> None:
                for i in range(count):
                    await server.send(str(i))
                    await turns(i % 3)

            sending = asyncio.create_task(send_slowly())
            received: list[str] = []
            for patience in itertools.cycle(range(7)):
                task = asyncio.create_task(receive_one(client, how))
                await turns(patience)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    received.append(await task)
                if len(received) == count:
                    break
            await sending
        assert received == [str(i) for i in range(count)]

    world.run(main)


def test_recv_cancelled_together_with_the_arrival_of_its_message(world: World) -> None:
    """The message wakes the task, and is not given to it."""

    async def main() -> None:
        async with world.pair() as (client, server):
            for i in range(30):
                task = asyncio.create_task(receive_one(client, "recv"))
                await turns(2)
                asyncio.get_running_loop().call_soon(task.cancel)
                await server.send(str(i))
                with contextlib.suppress(asyncio.CancelledError):
                    assert await task == str(i)
                    continue
                assert await client.recv() == str(i)

    world.run(main)


def test_cancelled_send_leaves_whole_messages(world: World) -> None:
    size = 40_000

    async def main() -> None:
        async with world.raw_pair(ping_interval=None) as (peer, ws):
            keep_small(ws)
            sent = 0

            async def pour() -> None:
                nonlocal sent
                while True:
                    sent += 1
                    await ws.send(sent.to_bytes(4, "big") * (size // 4))

            task = asyncio.create_task(pour())
            await eventually(lambda: ws.transport.get_write_buffer_size() > 2**15)
            await turns(3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for i in range(1, sent + 1):
                assert await peer.read_frame() == (BINARY, i.to_bytes(4, "big") * (size // 4), True, 0, None)
            await ws.send("after")
            assert (await peer.read_frame()).payload == b"after"

    world.run(main)


def test_cancelled_ping_harms_nothing(world: World) -> None:
    async def main() -> None:
        async with world.pair(ping_interval=None) as (client, server):
            for patience in range(4):
                task = asyncio.create_task(client.ping(bytes([patience])))
                await turns(patience)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    (await task).cancel()
            pong = await client.ping(b"last")
            assert await pong >= 0
            await server.send("still there")
            assert await client.recv() == "still there"

    world.run(main)


def test_cancelled_connect_leaves_nothing(world: World) -> None:
    async def main() -> None:
        async with world.serve(idle) as server:
            before = descriptors()
            for patience in range(14):
                task = asyncio.create_task(world.connect(server).connect())
                await turns(patience)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await (await task).close()
            await eventually(lambda: not server.connections and descriptors() <= before)

    world.run(main)


def test_closing_a_server_forgets_no_connection_on_its_way_in(world: World) -> None:
    """A loop of asyncio accepts in one turn and makes the transport in the next; close at each of them."""

    async def main() -> None:
        async with world.serve(idle):
            pass  # loops open descriptors of their own when they are first needed
        open_before = descriptors()
        gc.collect()
        gc.disable()  # what only it would close is lost
        try:
            for before, behind in itertools.product(range(4), repeat=2):
                server = await world.serve(idle)
                await turns(before)
                with socket.create_connection(("127.0.0.1", port_of(server))):
                    await turns(behind)
                    server.close()
                await server.wait_closed()
            await eventually(lambda: descriptors() <= open_before)
        finally:
            gc.enable()

    world.run(main)


# --- timeouts, groups, threads ---


def test_timeouts_leave_the_connection_usable(world: World) -> None:
    async def main() -> None:
        async with world.pair() as (client, server):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.recv(), 0.001)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(receive_all(client), 0.001)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(client), 0.001)
            await asyncio.wait_for(server.send("a"), 1)
            async with asyncio.timeout(1):
                assert await client.recv() == "a"

    world.run(main)


def test_timeout_of_zero_takes_what_is_there(world: World) -> None:
    async def main() -> None:
        async with world.pair() as (client, server):
            await server.send("a")
            await server.send("b")
            assert await client.recv() == "a"
            await eventually(lambda: len(client.session.inbox) == 1)
            async with asyncio.timeout(0):
                assert await client.recv() == "b"

    world.run(main)


def test_shielded_recv_gets_its_message(world: World) -> None:
    async def main() -> None:
        async with world.pair() as (client, server):
            receiving = asyncio.ensure_future(client.recv())
            outer = asyncio.create_task(asyncio.wait_for(asyncio.shield(receiving), 10))
            await turns(2)
            outer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await outer
            await server.send("late")
            assert await receiving == "late"

    world.run(main)


def test_gather_of_sends(world: World) -> None:
    """The way of the tutorial to send to many."""

    async def main() -> None:
        async with world.serve(idle) as server, contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(world.connect(server)) for _ in range(10)]
            await eventually(lambda: len(server.connections) == 10)
            for i in range(3):
                assert await asyncio.gather(*(ws.send(str(i)) for ws in server.connections)) == [None] * 10
            await asyncio.wait([asyncio.create_task(ws.send("end")) for ws in server.connections])  # type: ignore[arg-type]
            for client in clients:
                assert [await client.recv() for _ in range(4)] == ["0", "1", "2", "end"]

    world.run(main)


def test_task_group_of_sends_and_receives(world: World) -> None:
    async def main() -> None:
        async with world.serve() as server, world.connect(server) as one, world.connect(server) as two:
            async with asyncio.TaskGroup() as group:
                received = [group.create_task(ws.recv()) for ws in (one, two)]
                group.create_task(one.send("1"))
                group.create_task(two.send("2"))
            assert [task.result() for task in received] == ["1", "2"]

    world.run(main)


def test_task_group_is_cancelled_by_a_closed_connection(world: World) -> None:
    async def main() -> None:
        async with world.pair() as (client, server):
            waiting: list[asyncio.Task[Any]] = []

            async def both() -> None:
                async with asyncio.TaskGroup() as group:
                    group.create_task(client.recv())
                    waiting.append(group.create_task(asyncio.Event().wait()))
                    await turns(1)
                    await server.close()

            with pytest.raises(ExceptionGroup) as raised:
                await both()
            assert waiting[0].cancelled()
            assert isinstance(raised.value.exceptions[0], ConnectionClosedOK)

    world.run(main)


def test_sending_and_receiving_from_another_thread(world: World) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with world.serve() as server, world.connect(server) as client:

            def converse() -> list[Any]:
                answers = []
                for i in range(50):
                    asyncio.run_coroutine_threadsafe(client.send(str(i)), loop).result(10)  # type: ignore[arg-type]
                    answers.append(asyncio.run_coroutine_threadsafe(client.recv(), loop).result(10))  # type: ignore[arg-type]
                return answers

            assert await asyncio.to_thread(converse) == [str(i) for i in range(50)]

    world.run(main)


# --- whose task, whose context ---

colour = contextvars.ContextVar("colour", default="none")


def test_handlers_keep_their_task_and_their_context(world: World) -> None:
    """Each handler has a copy of the context in which its server was started, whatever else runs on the loop."""

    async def main() -> None:
        async def handler(ws: ServerConnection) -> None:
            task = asyncio.current_task()
            assert colour.get() == "of the server"
            colour.set(await ws.recv())
            async for message in ws:
                assert asyncio.current_task() is task
                async with asyncio.timeout(10):  # needs the current task
                    await ws.send(f"{colour.get()} {message}")
                await asyncio.sleep(0)
                assert asyncio.current_task() is task

        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(world.serve(idle))
            colour.set("of the server")
            server = await stack.enter_async_context(world.serve(handler))
            colour.set("of the client")
            clients = [await stack.enter_async_context(world.connect(server)) for _ in range(5)]
            for i, client in enumerate(clients):
                await client.send(str(i))
            for _ in range(3):
                for client in clients:
                    await client.send("hello")
                assert [await client.recv() for client in clients] == [f"{i} hello" for i in range(5)]
        assert colour.get() == "of the client"

    world.run(main)


def test_tasks_of_a_handler_inherit_its_context(world: World) -> None:
    async def main() -> None:
        async def answer(ws: ServerConnection) -> None:
            await ws.send(colour.get())

        async def handler(ws: ServerConnection) -> None:
            colour.set(await ws.recv())
            await asyncio.create_task(answer(ws))

        async with world.serve(handler) as server, world.connect(server) as client:
            await client.send("red")
            assert await client.recv() == "red"

    world.run(main)


# --- what handlers may raise and do ---


def test_handler_that_raises_harms_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def handler(ws: ServerConnection) -> None:
            async for message in ws:
                if message == "bad":
                    raise ValueError("this handler is broken")
                await ws.send(message)

        async with world.serve(handler) as server, contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(world.connect(server)) for _ in range(6)]
            for i, client in enumerate(clients):  # all of it arrives in one batch
                await client.send("bad" if i % 2 else "good")
            for i, client in enumerate(clients):
                if i % 2:
                    with pytest.raises(ConnectionClosedError) as raised:
                        await client.recv()
                    assert raised.value.rcvd is not None
                    assert raised.value.rcvd.code == 1011
                else:
                    assert await client.recv() == "good"

    world.run(main)
    assert len([record for record in caplog.records if record.exc_info]) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_exit_leaves_the_loop(world: World, error: type[BaseException]) -> None:
    async def main() -> None:
        async def handler(ws: ServerConnection) -> None:
            await ws.recv()
            raise error

        async with world.serve(handler) as server, world.connect(server) as client:
            await client.send("quit")
            await client.wait_closed()

    with asyncio.Runner(loop_factory=world.loop_factory) as runner:
        runner.get_loop().set_exception_handler(lambda loop, context: None)  # "Task exception was never retrieved"
        with pytest.raises(error):
            runner.run(main())


def test_sending_within_the_task_of_another_connection(world: World) -> None:
    async def main() -> None:
        members: list[ServerConnection] = []

        async def relay(ws: ServerConnection) -> None:
            members.append(ws)
            async for message in ws:
                for member in members:
                    if member is not ws:
                        await member.send(message)

        async with world.serve(relay) as server, contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(world.connect(server)) for _ in range(4)]
            await eventually(lambda: len(members) == 4)
            for client in clients:
                await client.send("hello")
            for client in clients:
                assert [await client.recv() for _ in range(3)] == ["hello"] * 3

    world.run(main)


def test_sending_to_others_when_a_connection_ends(world: World) -> None:
    async def main() -> None:
        members: set[ServerConnection] = set()

        async def handler(ws: ServerConnection) -> None:
            members.add(ws)
            try:
                async for _ in ws:
                    pass
            finally:
                members.discard(ws)
                for member in members:
                    await member.send("left")
                trunkline.broadcast(members, "bye")

        async with world.serve(handler) as server, contextlib.AsyncExitStack() as stack:
            stays = await stack.enter_async_context(world.connect(server))
            for ending in ("close", "abort"):
                leaves = await world.connect(server)
                await eventually(lambda: len(members) == 2)
                if ending == "close":
                    await leaves.close()
                else:
                    leaves.transport.abort()
                assert [await stays.recv(), await stays.recv()] == ["left", "bye"]

    with contextlib.suppress(ConnectionClosed):
        world.run(main)


def test_broadcast_within_handlers_of_its_receivers(world: World) -> None:
    """Every client sends to all others, while some leave."""
    members, leavers, rounds = 8, 3, 5

    async def main() -> None:
        handled = 0

        async def handler(ws: ServerConnection) -> None:
            nonlocal handled
            async for message in ws:
                trunkline.broadcast(server.connections, message)
                await ws.send("told")
                handled += message[:1] != "-"

        async def talk(ws: ClientConnection, name: str) -> None:
            for i in range(rounds):
                await ws.send(f"{name} {i}")
                if name[0] == "-" and i == 2:
                    ws.transport.abort()
                    return
                await turns(1)

        async with world.serve(handler) as server, contextlib.AsyncExitStack() as stack:
            stays = [await stack.enter_async_context(world.connect(server)) for _ in range(members)]
            leaves = [await stack.enter_async_context(world.connect(server)) for _ in range(leavers)]
            await eventually(lambda: len(server.connections) == members + leavers)
            hearing = [asyncio.create_task(receive_all(ws)) for ws in stays]
            talking = [talk(ws, str(i)) for i, ws in enumerate(stays)] + [
                talk(ws, f"-{i}") for i, ws in enumerate(leaves)
            ]
            await asyncio.gather(*talking)
            await eventually(lambda: handled == members * rounds)
            server.close()
            for heard in await asyncio.gather(*hearing):
                assert heard.count("told") == rounds
                for i in range(members):
                    assert [message for message in heard if message.startswith(f"{i} ")] == [
                        f"{i} {n}" for n in range(rounds)
                    ]

    world.run(main)


# --- many connections in one batch ---


async def open_peers(server: Server, count: int) -> list[RawPeer]:
    return [await RawPeer.open(port_of(server)) for _ in range(count)]


async def first_message(peer: RawPeer) -> str | None:
    """A text message, or None when the connection ends before."""
    with contextlib.suppress(ConnectionError, EOFError):
        frame = await peer.read_frame()
        return frame.payload.decode() if frame.opcode == TEXT else None
    return None


@pytest.mark.parametrize("how", ["abort", "close", "transport close"])
def test_events_of_connections_that_ended_in_the_same_batch(world: World, how: str) -> None:
    """The first handler whose message arrives ends all others, whose messages have arrived, too."""
    count = 12

    async def main() -> None:
        async def handler(ws: ServerConnection) -> None:
            message = await ws.recv()
            for other in server.connections - {ws}:
                if how == "abort":
                    other.transport.abort()
                elif how == "close":
                    asyncio.ensure_future(other.close(1001))  # noqa: RUF006  # it ends with the server
                else:
                    other.transport.close()
            await ws.send(message)

        async with world.serve(handler) as server:
            for _ in range(3):
                peers = await open_peers(server, count)
                await eventually(lambda: len(server.connections) == count)
                for peer in peers:
                    peer.sock.send(SMALL)
                assert "x" in [await first_message(peer) for peer in peers]
                for peer in peers:
                    peer.close()
                await eventually(lambda: not server.connections)

    world.run(main)


def test_connections_come_and_go_without_trace(plain_world: World) -> None:
    world = plain_world

    def census() -> tuple[int, int, int]:
        gc.collect()
        objects = sum(isinstance(thing, ServerConnection) for thing in gc.get_objects())
        return descriptors(), len(asyncio.all_tasks()), objects

    async def main() -> None:
        async with world.serve() as server:
            for peer in await open_peers(server, 1):  # what is made once is made now
                peer.close()
            await eventually(lambda: len(asyncio.all_tasks()) == 1)
            before = census()
            for cycle in range(1000):
                peer = await (RawPeer.connect(port_of(server)) if cycle % 5 == 4 else RawPeer.open(port_of(server)))
                match cycle % 5:
                    case 0:
                        peer.reset()
                    case 1:
                        await peer.send(SMALL, close_frame())
                        peer.close()
                    case 2:
                        await peer.send(SMALL[:3])
                        peer.close()
                    case 3:
                        await peer.send(SMALL)
                        assert (await peer.read_frame()).payload == b"x"
                        peer.close()
                    case 4:
                        await peer.send(request()[: cycle % 90])
                        peer.close()
            await eventually(lambda: len(asyncio.all_tasks()) == 1 and descriptors() <= before[0])
            assert all(now <= then for now, then in zip(census(), before, strict=True))

    world.run(main)


# --- fairness ---


def test_peer_that_floods_does_not_delay_others(world: World) -> None:
    async def main() -> None:
        flooded = 0

        async def handler(ws: ServerConnection) -> None:
            nonlocal flooded
            async for message in ws:
                if message == "x":
                    flooded += 1
                else:
                    await ws.send(message)

        async with world.serve(handler) as server, world.connect(server) as polite:
            async with await RawPeer.open(port_of(server)) as flooder:
                flood = asyncio.create_task(flooder.send(SMALL * 300_000, patience=60))
                await eventually(lambda: flooded > 0)
                delays = []
                for i in range(10):
                    before = flooded
                    await polite.send(str(i))
                    assert await polite.recv() == str(i)
                    delays.append(flooded - before)
                flood.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await flood
            assert max(delays) < FLOOD // 5, delays

    world.run(main)


def test_handler_that_finds_messages_all_the_time_lets_others_run(world: World) -> None:
    """Its messages are there already, so receiving them needs no turn of the loop."""
    count = 20_000

    async def main() -> None:
        progress = 0
        done = asyncio.Event()

        async def handler(ws: ServerConnection) -> None:
            nonlocal progress
            while await ws.recv() == "x":
                progress += 1
            done.set()

        async with world.serve(handler) as server, await RawPeer.open(port_of(server)) as peer:
            sending = asyncio.create_task(peer.send(SMALL * count + encode_frame(TEXT, b"end") + close_frame()))
            steps = [0]
            while not done.is_set():
                await asyncio.sleep(0)
                steps.append(progress)
            await sending
        assert progress == count
        assert max(after - before for before, after in itertools.pairwise(steps)) <= 4096

    world.run(main)


def test_handler_that_sends_all_the_time_lets_others_run(world: World) -> None:
    """Its peer reads so fast, in a thread, that sending never has to wait."""
    enough = False

    def read_all(sock: socket.socket) -> None:
        sock.setblocking(True)
        while not enough:
            sock.recv(MIB)
        sock.close()

    async def main() -> None:
        nonlocal enough
        sent = 0

        async def handler(ws: ServerConnection) -> None:
            nonlocal sent
            with contextlib.suppress(ConnectionClosed):
                while sent < FLOOD:
                    await ws.send("x")
                    sent += 1

        async with world.serve(handler) as server, await RawPeer.open(port_of(server)) as peer:
            reader = threading.Thread(target=read_all, args=(peer.sock,))
            reader.start()
            await eventually(lambda: sent > 0)
            await turns(10)
            sent_meanwhile = sent  # not later: the thread may end when everything is sent
            enough = True
            await asyncio.to_thread(reader.join)
            assert sent_meanwhile < FLOOD

    world.run(main)


# --- back-pressure ---


def test_full_queue_stops_reading_and_empty_queue_resumes(world: World) -> None:
    size = 1000
    frame = encode_frame(BINARY, bytes(size))

    async def main() -> None:
        async with world.raw_pair(max_queue=8, ping_interval=None) as (peer, ws):
            peer.sock.setblocking(False)
            written = 0
            while ws.transport.is_reading():
                written += peer.sock.send(frame[written % len(frame) :])
                await turns(1)
            assert len(ws.session.inbox) <= 8 + 256 * 1024 // size
            with contextlib.suppress(BlockingIOError):  # the kernel takes what it has room for, and no more
                while written < 64 * MIB:
                    written += peer.sock.send(frame[written % len(frame) :])
            assert written < 64 * MIB
            await turns(20)
            assert not ws.transport.is_reading()
            received = 0
            while received < written // len(frame):
                assert await ws.recv() == bytes(size)
                received += 1
            await eventually(ws.transport.is_reading)
            await peer.send(frame[written % len(frame) :] if written % len(frame) else frame, close_frame())
            assert await ws.recv() == bytes(size)

    world.run(main)


def test_send_waits_for_a_peer_that_does_not_read(world: World) -> None:
    size, limit = 50_000, 100_000

    async def main() -> None:
        async with world.raw_pair(write_limit=limit, ping_interval=None) as (peer, ws):
            keep_small(ws)
            sent = 0

            async def pour(count: int) -> None:
                nonlocal sent
                for _ in range(count):
                    await ws.send(bytes(size))
                    sent += 1

            pouring = [asyncio.create_task(pour(20)) for _ in range(3)]
            await eventually(lambda: ws.transport.get_write_buffer_size() > limit)
            await turns(5)
            stuck = sent
            assert ws.transport.get_write_buffer_size() <= limit + len(pouring) * (size + 10)
            await turns(50)
            assert sent == stuck < 3 * 20
            for _ in range(3 * 20):
                assert (await peer.read_frame()).payload == bytes(size)
            await asyncio.gather(*pouring)
            assert ws.transport.get_write_buffer_size() == 0

    world.run(main)


# --- ends ---


async def pour_forever(ws: Any) -> None:
    while True:
        await ws.send(bytes(65536))


STATES = {
    "connected": b"",
    "within the head": request()[:50],
    "opened": request(),
    "within a header": request() + SMALL[:1],
    "within a payload": request() + encode_frame(BINARY, bytes(100_000))[:70_000],
    "within a message": request() + encode_frame(TEXT, b"a", fin=False),
    "with messages unread": request() + SMALL * 100,
    "closing": request() + close_frame(),
}


@pytest.mark.parametrize("ending", ["reset", "close"])
def test_peer_vanishes_in_each_state(world: World, ending: str) -> None:
    async def main() -> None:
        hooked, handled = asyncio.Event(), 0

        async def process_request(ws: ServerConnection, request: Any) -> None:
            await hooked.wait()

        async def handler(ws: ServerConnection) -> None:
            nonlocal handled
            handled += 1
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await ws.recv()

        async with world.serve(handler, process_request=process_request, max_queue=4, ping_interval=None) as server:
            before = descriptors()
            for answered in (False, True):
                hooked.clear()
                peers = [await RawPeer.connect(port_of(server)) for _ in STATES]
                for peer, sent in zip(peers, STATES.values(), strict=True):
                    await peer.send(sent)
                await turns(5)
                if answered:
                    hooked.set()
                    await turns(5)
                for peer in peers:
                    if ending == "reset":
                        peer.reset()
                    peer.close()
                await turns(5)
                hooked.set()
                await eventually(lambda: not server.connections and descriptors() <= before)
            assert handled >= len(STATES) - 2
            async with world.connect(server) as client:
                await client.ping()

    world.run(main)


CALLS = ["pause_reading", "resume_reading", "close", "abort"]


@pytest.mark.parametrize("order", list(itertools.permutations(CALLS)), ids="-".join)
def test_calls_of_the_transport_in_every_order(world: World, order: Iterable[str]) -> None:
    async def main() -> None:
        async with world.serve(idle) as server:
            for turns_between in (0, 1, 3):
                async with await RawPeer.open(port_of(server)) as peer:
                    await eventually(lambda: len(server.connections) == 1)
                    (ws,) = server.connections
                    await peer.send(SMALL * 3)
                    for call in order:
                        if world.loop_factory is not uv_loop or not ws.transport.is_closing():
                            getattr(ws.transport, call)()  # uvloop's raise RuntimeError once they close
                        await turns(turns_between)
                    await asyncio.wait_for(ws.wait_closed(), 10)
                    assert ws.transport.is_closing()
                    assert ws.close_code == 1006

    world.run(main)


def test_receiving_after_the_transport_was_aborted(world: World) -> None:
    """Messages that arrived are given, though reading was paused and can't be resumed any more."""

    async def main() -> None:
        async with world.raw_pair(max_queue=4) as (peer, ws):
            await peer.send(SMALL * 50)
            await eventually(lambda: not ws.transport.is_reading())
            ws.transport.abort()
            arrived = len(ws.session.inbox)
            assert [await ws.recv() for _ in range(arrived)] == ["x"] * arrived
            with pytest.raises(ConnectionClosedError):
                await ws.recv()

    world.run(main)


# --- sockets of all kinds ---


async def check_both_ends(client: ClientConnection, server: ServerConnection, family: int) -> None:
    """Transports answer questions about their sockets, while and after they are open."""
    for ws in (client, server):
        sock = ws.transport.get_extra_info("socket")
        assert sock.family == family
        assert ws.transport.get_extra_info("sockname") == sock.getsockname() == ws.local_address
        assert ws.transport.get_extra_info("peername") == sock.getpeername() == ws.remote_address
        assert ws.transport.get_extra_info("unknown", "default") == "default"
        with pytest.raises(ValueError, match=r"setblocking|settimeout"):
            sock.setblocking(True)
    assert client.remote_address == server.local_address
    before = client.local_address, client.remote_address
    await client.send("hello")
    assert await server.recv() == "hello"
    await client.close()
    await server.wait_closed()
    assert (client.local_address, client.remote_address) == before
    for ws in (client, server):
        sock = ws.transport.get_extra_info("socket")
        assert sock is None or sock.fileno() == -1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("local_host", ["localhost", "127.0.0.1", "::1"])
def test_local_address(world: World, host: str, local_host: str) -> None:
    """`local_addr` may be a name; an address of another family is of no use."""

    async def main() -> None:
        accepted = Accepted()
        uri_host = f"[{host}]" if ":" in host else host
        async with trunkline.serve(accepted, host, 0, engine=world.engine) as server:
            uri = f"ws://{uri_host}:{port_of(server)}"
            options: dict[str, Any] = {"local_addr": (local_host, 0), "proxy": None, "engine": world.engine}
            if local_host not in (host, "localhost"):
                with pytest.raises(OSError):  # noqa: PT011  # each loop says it in its own way
                    await trunkline.connect(uri, **options)
                return
            try:
                async with trunkline.connect(uri, **options) as ws:
                    assert ws.local_address[0] == host
            except OSError:
                assert (host, local_host) == ("::1", "localhost")  # which may have no address of this family

    world.run(main)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_tcp(world: World, host: str) -> None:
    async def main() -> None:
        accepted = Accepted()
        uri_host = f"[{host}]" if ":" in host else host
        async with trunkline.serve(accepted, host, 0, engine=world.engine) as server:
            uri = f"ws://{uri_host}:{port_of(server)}"
            async with trunkline.connect(uri, proxy=None, engine=world.engine) as client:
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                await check_both_ends(client, await accepted.connection(), family)

    world.run(main)


def test_unix_socket(world: World, tmp_path: Path) -> None:
    async def main() -> None:
        accepted = Accepted()
        path = tmp_path / "socket"
        async with (
            trunkline.unix_serve(accepted, path, engine=world.engine),
            trunkline.unix_connect(path, engine=world.engine) as client,
        ):
            await check_both_ends(client, await accepted.connection(), socket.AF_UNIX)

    world.run(main)


def test_socket_pair(world: World) -> None:
    """A connected socket that the program made itself."""

    async def main() -> None:
        left, right = socket.socketpair()
        client = asyncio.create_task(
            trunkline.connect("ws://localhost/", sock=left, engine=world.engine, compression=None).connect()
        )
        async with RawPeer(right) as peer:
            await accept_handshake(peer)
            ws = await client
            await peer.send(encode_frame(PONG, mask=None), encode_frame(TEXT, b"hi", mask=None))
            assert await ws.recv() == "hi"
            peer.close()
            await ws.wait_closed()

    world.run(main)

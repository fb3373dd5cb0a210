"""When a send returns, its bytes have left, and a busy task delays no other: on all engines, event loops and modes.

`trunkline.testing.conformance.sending` holds what all drivers promise; here is what needs an event loop of asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any

import pytest

import trunkline
from tests.asyncio.test_semantics import ENGINES, LOOPS, WORLDS, World, uv_loop
from tests.support.nested import run_nested
from tests.support.pair import echo, port_of
from tests.support.process import environment
from tests.support.raw import TEXT, RawPeer, accept_handshake, encode_frame, request, status_of
from trunkline.asyncio.server import ServerConnection
from trunkline.exceptions import ConnectionClosed

NESTING_WORLDS = [world for world in WORLDS if world.loop_factory is not uv_loop]  # which refuses to run in itself


@pytest.fixture(params=WORLDS, ids=str)
def world(request: pytest.FixtureRequest) -> World:
    assert isinstance(request.param, World)
    return request.param


@pytest.fixture(params=NESTING_WORLDS, ids=str)
def nesting_world(request: pytest.FixtureRequest) -> World:
    assert isinstance(request.param, World)
    return request.param


# An event loop in a task


@pytest.mark.parametrize("behind", [0, 3], ids=["alone", "with messages behind"])
def test_request_from_a_loop_within_a_woken_task(nesting_world: World, behind: int) -> None:
    """The request is sent, and its answer received, also when the task has messages left."""
    world = nesting_world

    async def main() -> None:
        async with world.serve(echo) as server, world.connect(server) as ws:

            async def request(text: str) -> Any:
                await ws.send(text)
                return [await ws.recv() for _ in range(behind + 1)][-1]

            for text in [str(i) for i in range(behind + 1)]:
                await ws.send(text)
            await ws.recv()
            assert run_nested(request("nested")) == "nested"

    world.run(main)


def test_request_from_a_loop_within_a_handler(nesting_world: World) -> None:
    """Handlers that were about to be woken are woken in the inner loop: here it waits for one of them."""
    world = nesting_world
    count = 5

    async def main() -> None:
        told: list[asyncio.Future[str]] = [asyncio.get_running_loop().create_future() for _ in range(count)]
        handled = 0

        async def handler(ws: ServerConnection) -> None:
            nonlocal handled
            async for message in ws:
                told[int(message)].set_result(str(message))
                handled += 1
                if handled == 1:  # the first handler waits for all others
                    run_nested(asyncio.wait_for(asyncio.gather(*told), 10))
                await ws.send(f"handled {message}")

        async with world.serve(handler) as server, contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(world.connect(server)) for _ in range(count)]
            for i, client in enumerate(clients):
                await client.send(str(i))
            assert [await client.recv() for client in clients] == [f"handled {i}" for i in range(count)]

    world.run(main)


def test_request_from_a_loop_within_a_quick_batch(nesting_world: World) -> None:
    """Frames that were allowed to wait don't wait for the inner loop, which may wait for what they bring about."""
    world = nesting_world
    batch = 8

    async def main() -> None:
        arrived = asyncio.Event()

        async def handler(ws: ServerConnection) -> None:
            async for message in ws:
                await ws.send(message)
                if message == "nest":
                    run_nested(asyncio.wait_for(arrived.wait(), 10))

        async with world.serve(handler) as server, world.connect(server) as client:
            for _ in range(50):  # so the handler has proved that it is quick
                for _ in range(batch):
                    client.send("quick")
                for _ in range(batch):
                    await client.recv()
            for message in ("nest", "a", "b"):
                client.send(message)
            assert await client.recv() == "nest"
            arrived.set()
            assert [await client.recv(), await client.recv()] == ["a", "b"]

    world.run(main)


def test_context_of_a_task_that_runs_a_loop(nesting_world: World) -> None:
    world = nesting_world
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="of nobody")

    async def main() -> None:
        seen: list[str] = []

        async def handler(ws: ServerConnection) -> None:
            variable.set("of the handler")
            async for message in ws:
                run_nested(asyncio.sleep(0))
                seen.append(variable.get())
                await ws.send(message)

        async with world.serve(handler) as server, world.connect(server) as client:
            for _ in range(3):
                await client.send("a")
                await client.recv()
        assert seen == ["of the handler"] * 3
        assert variable.get() == "of nobody"

    world.run(main)


# Clients that end their half of the stream


@pytest.mark.parametrize("hook", ["none", "function", "coroutine"])
def test_messages_of_a_client_that_ended_its_half_are_answered(world: World, hook: str) -> None:
    """The client sends its request, messages and the end of the stream at once."""

    def plain_hook(connection: ServerConnection, request: Any) -> None:
        pass

    async def slow_hook(connection: ServerConnection, request: Any) -> None:
        await asyncio.sleep(0.01)

    async def greet_and_echo(ws: ServerConnection) -> None:
        await ws.send("hello")
        async for message in ws:
            await ws.send(message)

    async def main() -> None:
        process_request = {"none": None, "function": plain_hook, "coroutine": slow_hook}[hook]
        async with world.serve(greet_and_echo, process_request=process_request) as server:
            for i in range(5):
                async with await RawPeer.connect(port_of(server)) as peer:
                    await peer.send(request(), *[encode_frame(TEXT, b"x")] * i)
                    peer.sock.shutdown(socket.SHUT_WR)
                    await peer.read_head()
                    assert [(await peer.read_frame()).payload for _ in range(i + 1)] == [b"hello"] + [b"x"] * i
                    with pytest.raises(EOFError):
                        await peer.read_frame()

    world.run(main)


def test_messages_of_a_server_that_ended_its_half_are_answered(world: World) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            connecting = asyncio.create_task(world.connect(listening.getsockname()[1]).connect())
            sock, _ = await asyncio.get_running_loop().sock_accept(listening)
        async with RawPeer(sock) as peer:
            await accept_handshake(peer)
            client = await connecting
            echoing = asyncio.create_task(echo(client))
            await peer.send(*[encode_frame(TEXT, b"x", mask=None)] * 3)
            peer.sock.shutdown(socket.SHUT_WR)
            assert [(await peer.read_frame()).payload for _ in range(3)] == [b"x"] * 3
            with pytest.raises(ConnectionClosed):
                await echoing

    world.run(main)


@pytest.mark.parametrize("answer", ["response", "exception", "slow"])
def test_requests_of_a_client_that_ended_its_half_are_answered(
    world: World, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def process_request(connection: ServerConnection, request: Any) -> Any:
        await asyncio.sleep(0.05 if answer == "slow" else 0)
        if answer == "exception":
            raise ValueError("this hook is broken")
        return connection.respond(200, "OK")

    async def main() -> None:
        async with world.serve(process_request=process_request) as server:
            for _ in range(5):
                async with await RawPeer.connect(port_of(server)) as peer:
                    await peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    peer.sock.shutdown(socket.SHUT_WR)
                    assert status_of(await peer.read_head()) == (500 if answer == "exception" else 200)

    world.run(main)


# asyncio's debug mode


@pytest.mark.parametrize("loop_factory", [LOOPS[0], uv_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("engine", ENGINES)
def test_debug_mode_names_the_task_that_is_slow(
    engine: Any, loop_factory: Callable[[], asyncio.AbstractEventLoop], caplog: pytest.LogCaptureFixture
) -> None:
    async def slow_handler(ws: ServerConnection) -> None:
        async for message in ws:
            time.sleep(0.05)
            await ws.send(message)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        async with world.serve(slow_handler) as server, world.connect(server) as client:
            loop.slow_callback_duration = 0.04
            await client.send("a")
            await client.recv()
            loop.slow_callback_duration = 10

    world = World(engine, loop_factory)
    with caplog.at_level(logging.WARNING, "asyncio"):
        world.run(main)
    slow = [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    assert len([message for message in slow if "slow_handler" in message]) == 1


# The end of the process

SCRIPT = """
import asyncio, os, sys
import trunkline

engine, loop_module, how = sys.argv[1:]

async def handler(ws):
    async for message in ws:
        await ws.send("answer to " + message)
        if message == "end":
            if how == "exit":
                os._exit(0)
            elif how == "exec":
                os.execv(sys.executable, [sys.executable, "-c", ""])
            elif how == "abort":
                ws.transport.abort()
            else:
                ws.transport.close()

async def main():
    async with trunkline.serve(handler, "127.0.0.1", 0, engine=engine) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.sleep(60)

loop = __import__(loop_module).new_event_loop()
loop.run_until_complete(main())
"""


@pytest.mark.parametrize("how", ["exit", "exec", "abort", "close"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_sent_before_the_end_arrives(engine: str, loop: str, how: str) -> None:
    async def main(port: str) -> None:
        async with trunkline.connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
            for _ in range(3):
                await client.send("a")
                assert await client.recv() == "answer to a"
            await client.send("end")
            assert await client.recv() == "answer to end"
            with pytest.raises(ConnectionClosed):
                await client.recv()

    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), engine, loop, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            assert process.stdout is not None
            asyncio.run(main(process.stdout.readline().strip()))
        finally:
            process.kill()

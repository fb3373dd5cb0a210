"""Promises to programs that need a process of their own: the end of a loop, fork, running out of descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from tests.support.process import environment, server_process
from tests.support.raw import TEXT, RawPeer, encode_frame, request
from trunkline.asyncio import engine as engines

ENGINES = ["transports"] if engines.sockets is None else ["reactor", "transports"]
LOOPS = ["asyncio", "uvloop"]

SCRIPT = """
import asyncio, gc, os, sys, weakref
import trunkline

engine, loop_module = sys.argv[1:]
new_event_loop = __import__(loop_module).new_event_loop

async def echo(ws):
    async for message in ws:
        await ws.send(message)

async def serve():
    server = await trunkline.serve(echo, "127.0.0.1", 0, engine=engine)
    return server, f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"

def connect(uri):
    return trunkline.connect(uri, engine=engine, proxy=None)

def descriptors():
    return len(os.listdir("/proc/self/fd"))
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run SCRIPT and `script` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", SCRIPT + textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(),
    )


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("engine", ENGINES)
def test_loop_closed_with_open_connections(engine: str, loop: str) -> None:
    """Nothing is raised, then or at exit, and neither the loop nor a descriptor stays."""
    result = run(
        """
        async def main():
            server, uri = await serve()
            clients = [await connect(uri) for _ in range(3)]
            await clients[0].send("x")
            assert await clients[0].recv() == "x"
            for ws in server.connections:
                ws.transport.get_extra_info("socket")
            clients[1].transport.abort()  # its connection_lost will not be called any more
            return server, clients

        def run_and_leave():
            loop = new_event_loop()
            kept = loop.run_until_complete(main())
            reference = weakref.ref(loop)
            loop.close()
            return reference

        new_event_loop().close()
        before = descriptors()
        for _ in range(3):
            reference = run_and_leave()
            gc.collect()
            assert reference() is None, gc.get_referrers(reference())
        left = descriptors() - before
        # A closed uvloop keeps two descriptors of its own until it is freed.
        assert left <= (0 if loop_module == "asyncio" else 2), left
        kept = run_and_leave()
        """,
        engine,
        loop,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("engine", ENGINES)
def test_objects_that_outlive_their_loop_can_be_used_and_freed(engine: str, loop: str) -> None:
    result = run(
        """
        async def main():
            server, uri = await serve()
            client = await connect(uri)
            return server, client, next(iter(server.connections))

        loop = new_event_loop()
        server, client, connection = loop.run_until_complete(main())
        loop.close()
        assert client.state is trunkline.State.OPEN
        client.remote_address, repr(client), server.sockets
        client.transport.get_write_buffer_size()
        try:
            client.send("x")
        except RuntimeError:  # uvloop's transports raise it
            pass
        del client, connection, server
        gc.collect()
        """,
        engine,
        loop,
    )
    assert result.returncode == 0, result.stderr
    assert "Exception ignored" not in result.stderr


@pytest.mark.parametrize("engine", ENGINES)
def test_fork_while_serving(engine: str) -> None:
    """The child runs a loop and a server of its own; the parent's connections do not notice."""
    result = run(
        """
        async def converse(ws, count):
            for i in range(count):
                await ws.send(str(i))
                assert await ws.recv() == str(i)

        async def of_the_child():
            server, uri = await serve()
            async with connect(uri) as ws:
                await converse(ws, 20)
            server.close()
            await server.wait_closed()

        async def of_the_parent():
            server, uri = await serve()
            async with connect(uri) as ws, connect(uri) as idle:
                await converse(ws, 5)
                child = os.fork()
                if child == 0:
                    try:
                        gc.collect()
                        asyncio.run(of_the_child())
                        if engine == "reactor":  # asyncio's transports share the parent's selector
                            ws.transport.abort()
                        gc.collect()
                    except BaseException:
                        import traceback
                        traceback.print_exc()
                        os._exit(1)
                    os._exit(0)
                await converse(ws, 20)
                _, status = await asyncio.to_thread(os.waitpid, child, 0)
                assert status == 0, status
                await converse(ws, 20)
                await converse(idle, 5)
            assert len(server.connections) == 0
            server.close()
            await server.wait_closed()

        asyncio.run(of_the_parent())
        """,
        engine,
        "asyncio",
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("engine", ENGINES)
def test_running_out_of_descriptors_is_overcome(engine: str) -> None:
    """Connections that can't be accepted wait; those that can be go on; accepting goes on when there is room again."""

    async def main(port: int, room: int) -> None:
        async with contextlib.AsyncExitStack() as stack:
            peers = [await stack.enter_async_context(await RawPeer.connect(port)) for _ in range(room + 10)]
            for peer in peers:
                await peer.send(request())
            assert b"101" in await peers[0].read_head()
            await peers[0].send(encode_frame(TEXT, b"still here"))
            assert (await peers[0].read_frame()).payload == b"still here"
            for peer in peers[1:room]:
                peer.close()
            for peer in peers[room:]:
                assert b"101" in await peer.read_head()
                await peer.send(encode_frame(TEXT, b"accepted late"))
                assert (await peer.read_frame()).payload == b"accepted late"

    room = 20
    with server_process("echo", engine=engine) as server:
        asyncio.run(first_connection(server.port))
        limit = server.descriptors() + room
        hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[1]  # type: ignore[attr-defined]
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (limit, hard))  # type: ignore[attr-defined]
        asyncio.run(main(server.port, room))
        assert "out of system resource" in server.log()


async def first_connection(port: int) -> Any:
    """Exchange a message, so that the server has made everything that it makes only once."""
    async with await RawPeer.open(port) as peer:
        await peer.send(encode_frame(TEXT, b"x"))
        return await peer.read_frame()

"""Clients on lines that take less than they ask for, over real sockets with small buffers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.loop import run_clean
from trunkline import connect
from trunkline.asyncio.client import ClientConnection
from trunkline.realtime import Limits, Realtime, Timeouts

PATIENCE = 60
BUFFER = 16 << 10  # bytes
CHANNELS, PUBLICATIONS = 30, 50
TEXT = "x" * 1000


def small(sock: socket.socket) -> socket.socket:
    """A socket through which little fits."""
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    return sock


@contextlib.asynccontextmanager
async def on_a_slow_line(rt: Realtime, engine: Any) -> AsyncIterator[ClientConnection]:
    """A client that is connected."""
    listening = small(socket.create_server(("127.0.0.1", 0)))
    async with rt, rt.serve(sock=listening, engine=engine):
        sock = small(socket.socket())
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, listening.getsockname())
        async with connect("ws://localhost/", sock=sock, max_size=None, max_queue=1, compression=None) as client:
            await client.send('{"id":1,"connect":{}}')
            await client.recv()
            yield client


def frame(*commands: Any) -> str:
    return "\n".join(json.dumps({"id": number, **command}) for number, command in enumerate(commands, 2))


async def answers(client: ClientConnection, count: int) -> list[Any]:
    """So many answers, in their order; pings are answered, and pushes passed over."""
    results: list[Any] = []
    while len(results) < count:
        for line in str(await client.recv()).split("\n"):
            if line == "{}":
                await client.send("{}")
            elif "id" in (message := json.loads(line)):
                results.append(message)
    assert [message["id"] for message in results] == list(range(2, count + 2))
    return results


@pytest.mark.parametrize("engine", ["auto", "transports"])
@pytest.mark.parametrize("slow", ["disconnect", "drop_oldest", "conflate", "block"])
def test_many_channels_are_recovered_in_one_frame(slow: Any, engine: str) -> None:
    async def main() -> None:
        rt = Realtime(limits=Limits(queue=64 << 10))
        rt.channel("room:{n}", history=PUBLICATIONS, slow=slow)
        async with asyncio.timeout(PATIENCE), on_a_slow_line(rt, engine) as client:
            for n in range(CHANNELS):
                for _ in range(PUBLICATIONS):
                    await rt.publish(f"room:{n}", TEXT)
            recover = [{"subscribe": {"channel": f"room:{n}", "recover": True}} for n in range(CHANNELS)]
            await client.send(frame(*recover))
            for answer in await answers(client, CHANNELS):
                assert len(answer["subscribe"]["publications"]) == PUBLICATIONS

    run_clean(main)


@pytest.mark.parametrize("engine", ["auto", "transports"])
@pytest.mark.parametrize("frames", ["one frame", "a frame each"])
def test_many_long_answers(frames: str, engine: str) -> None:
    async def main() -> None:
        rt = Realtime(limits=Limits(queue=64 << 10), timeouts=Timeouts(ping=0.05))
        rt.rpc("long")(lambda client: TEXT * 100)
        calls = [{"rpc": {"method": "long"}}] * 30
        async with asyncio.timeout(PATIENCE), on_a_slow_line(rt, engine) as client:
            if frames == "one frame":
                await client.send(frame(*calls))
                await answers(client, len(calls))
            else:
                asking = asyncio.create_task(ask(client, calls))
                await answers(client, len(calls))
                await asking

    run_clean(main)


async def ask(client: ClientConnection, commands: list[Any]) -> None:
    for line in frame(*commands).split("\n"):
        await client.send(line)


@pytest.mark.parametrize("engine", ["auto", "transports"])
def test_many_channels_are_recovered_at_connect(engine: str) -> None:
    async def main() -> None:
        rt = Realtime(limits=Limits(queue=64 << 10))
        rt.channel("room:{n}", history=PUBLICATIONS)
        async with asyncio.timeout(PATIENCE), on_a_slow_line(rt, engine) as client:
            for n in range(CHANNELS):
                for _ in range(PUBLICATIONS):
                    await rt.publish(f"room:{n}", TEXT)
            subs = {f"room:{n}": {"recover": True} for n in range(CHANNELS)}
            # A second connection on the same server, whose answer is one long message.
            async with connect(
                "ws://localhost/", sock=await same_server(client), max_size=None, max_queue=1, compression=None
            ) as again:
                await again.send(frame({"connect": {"subs": subs}}))
                [answer] = await answers(again, 1)
                assert {len(each["publications"]) for each in answer["connect"]["subs"].values()} == {PUBLICATIONS}
                await rt.publish("room:0", "after")
                assert "after" in await again.recv()

    run_clean(main)


async def same_server(client: ClientConnection) -> socket.socket:
    sock = small(socket.socket())
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, client.remote_address)
    return sock

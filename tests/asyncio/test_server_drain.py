"""`Server.drain`: clients are sent to other servers one after the other."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack
from typing import Any

import pytest

import trunkline
from tests.support.loop import run_clean, settled
from tests.support.pair import port_of, serve
from trunkline.asyncio.server import ServerConnection
from trunkline.exceptions import ConnectionClosed
from trunkline.realtime import Realtime

HOUR = 3600


async def echo(ws: ServerConnection) -> None:
    await ws.send("ready")
    async for message in ws:
        await ws.send(message)


async def clients(stack: AsyncExitStack, url: str, number: int) -> list[Any]:
    """Clients whose handlers run, in the order of their connections."""
    opened = []
    for _ in range(number):
        opened.append(await stack.enter_async_context(trunkline.connect(url)))
        assert await opened[-1].recv() == "ready"
    return opened


async def last_words(ws: Any) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as caught:
        await ws.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


def test_connections_are_closed_one_after_the_other() -> None:
    async def main() -> None:
        async with serve(echo) as server, AsyncExitStack() as stack:
            url = f"ws://127.0.0.1:{port_of(server)}"
            opened = await clients(stack, url, 3)
            draining = asyncio.create_task(server.drain(HOUR))
            await settled(lambda: any(not each.open for each in opened))
            told = [each for each in opened if not each.open]
            assert [await last_words(each) for each in told] == [(1012, "")]
            with pytest.raises(OSError, match=r"Connect call failed|refused"):
                await trunkline.connect(url)
            others = [each for each in opened if each not in told]
            for each in others:  # they go on meanwhile
                await each.send("still here")
                assert await each.recv() == "still here"
            server.close()  # no more time
            assert [await last_words(each) for each in others] == [(1012, ""), (1012, "")]
            await draining

    run_clean(main)


def test_no_time_closes_all_at_once() -> None:
    async def main() -> None:
        async with serve(echo) as server, AsyncExitStack() as stack:
            opened = await clients(stack, f"ws://127.0.0.1:{port_of(server)}", 3)
            words = asyncio.gather(*map(last_words, opened))
            await server.drain(0)
            assert await words == [(1012, "")] * 3
            await server.drain()  # it is closed

    run_clean(main)


def test_connections_that_end_by_themselves_are_not_waited_for() -> None:
    async def main() -> None:
        async with serve(echo) as server, AsyncExitStack() as stack:
            opened = await clients(stack, f"ws://127.0.0.1:{port_of(server)}", 2)
            draining = asyncio.create_task(server.drain(HOUR))
            await settled(lambda: len(server.connections) == 1)
            for each in opened:
                await each.close()
            await draining

    run_clean(main)


def test_clients_of_rooms_are_told_to_come_back() -> None:
    async def main() -> None:
        rt = Realtime()
        async with (
            rt,
            rt.serve("127.0.0.1", 0) as server,
            trunkline.connect(f"ws://127.0.0.1:{port_of(server)}") as ws,
        ):
            await ws.send('{"id":1,"connect":{}}')
            await ws.recv()
            draining = asyncio.create_task(server.drain(0))
            assert await last_words(ws) == (3001, "shutdown")
            await draining

    run_clean(main)


@pytest.mark.parametrize("seconds", [None, "1", -1, math.nan, math.inf])
def test_what_is_no_time_closes_nothing(seconds: Any) -> None:
    async def main() -> None:
        async with serve(echo) as server:
            with pytest.raises((TypeError, ValueError), match="seconds"):
                await server.drain(seconds)
            assert not server.is_closing()

    run_clean(main)

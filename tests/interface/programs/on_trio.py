"""A program on trio, in which type checkers know each type."""

from functools import partial
from typing import assert_type

import trio

from trunkline.trio.client import ClientConnection, connect
from trunkline.trio.server import Server, ServerConnection, serve


class Move:
    x: int


async def handler(ws: ServerConnection) -> None:
    async for message in ws:
        assert_type(message, str | bytes)
        await ws.send(message)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(partial(serve, host="localhost"), handler, 8765)
        async with connect("ws://localhost") as ws:
            assert_type(ws, ClientConnection)
            assert_type(await ws.recv(), str | bytes)
            assert_type(await ws.recv_json(Move), Move)
            nursery.start_soon(ws.send, "x")
        async for again in connect("ws://localhost"):
            assert_type(again, ClientConnection)
        await server.aclose()

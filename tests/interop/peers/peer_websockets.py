"""The asyncio side of `websockets`."""

from __future__ import annotations

import contextlib
from typing import Any

import websockets
from dialogue import FRAGMENTS, MAX_SIZE, SUBPROTOCOL, parse, run_async

OPTIONS: dict[str, Any] = {"subprotocols": [SUBPROTOCOL], "max_size": MAX_SIZE, "compression": None}


async def talk(ws: Any) -> None:
    async for message in ws:
        match parse(message):
            case None:
                await ws.send(message)
            case ("close", code, reason):
                await ws.close(code, reason)
            case ("ping", _, _):
                await (await ws.ping(b"ping"))
                await ws.send("!pong")
            case ("fragments", _, _):
                await ws.send(FRAGMENTS)
            case ("subprotocol", _, _):
                await ws.send(str(ws.subprotocol))
            case ("abort", _, _):
                ws.transport.abort()


async def talk_to_the_end(ws: Any) -> None:
    with contextlib.suppress(websockets.ConnectionClosed):
        await talk(ws)


def select_subprotocol(ws: Any, offered: Any) -> Any:
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


async def listen() -> int:
    options = OPTIONS | {"select_subprotocol": select_subprotocol}
    server = await websockets.serve(talk_to_the_end, "127.0.0.1", 0, **options)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def connect(uri: str) -> None:
    async with websockets.connect(uri, proxy=None, **OPTIONS) as ws:
        await talk_to_the_end(ws)


if __name__ == "__main__":
    run_async(listen, connect)

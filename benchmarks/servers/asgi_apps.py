"""ASGI applications below uvicorn: plain ones, and those of FastAPI; with the class of trunkline, or uvicorn's own."""

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

import trunkline
import trunkline.asgi
from benchmarks.servers import harness

clients: set[Any] = set()


async def raw_echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": event.get("bytes"), "text": event.get("text")})


def fastapi(mode: str) -> FastAPI:
    app = FastAPI()

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_bytes(await websocket.receive_bytes())
        except WebSocketDisconnect:
            pass

    async def broadcast(websocket: WebSocket) -> None:
        async with trunkline.asgi.connection(websocket) as connection:
            clients.add(connection)
            try:
                async for message in connection:
                    trunkline.broadcast(clients, message)
            finally:
                clients.remove(connection)

    app.websocket("/{path:path}")({"echo": echo, "broadcast": broadcast}[mode])
    return app


def plain(mode: str) -> Any:
    return raw_echo


def main(make: Callable[[str], Any], ws: str) -> None:
    """Run the application that `make` makes for a mode, with `ws` of uvicorn."""

    async def start(options: harness.Options) -> object:
        config = uvicorn.Config(
            make(options.mode),
            ws=ws,
            ws_per_message_deflate=options.deflate,
            ws_max_size=harness.MAX_SIZE,
            log_level="error",
            lifespan="off",
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([options.sock]))
        while not server.started:
            await asyncio.sleep(0.01)
        return server, serving

    harness.main(start)

"""python-socketio on uvicorn."""

import asyncio

import socketio
import uvicorn

from benchmarks.servers import harness, socketio_room


async def start(options: harness.Options) -> object:
    application = socketio.ASGIApp(socketio_room.create("asgi"))
    config = uvicorn.Config(application, ws_per_message_deflate=options.deflate, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([options.sock]))
    while not server.started:
        await asyncio.sleep(0.01)
    return server, serving


harness.main(start)

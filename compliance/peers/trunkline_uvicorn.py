"""trunkline's class for uvicorn, below a plain ASGI application; the client is the one on asyncio."""

import asyncio
import socket
from typing import Any

import uvicorn

import trunkline
from compliance.peers import websockets_api
from trunkline.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from trunkline.uvicorn import WebSocketProtocol


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Echo."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})


async def serve(sock: socket.socket) -> object:
    config = uvicorn.Config(app, ws=WebSocketProtocol, ws_ping_interval=None, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    return server, asyncio.create_task(server.serve([sock]))


websockets_api.main(trunkline, websockets_api.offers(ClientPerMessageDeflateFactory), serve)

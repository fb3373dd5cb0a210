"""A Sanic application with the same manners as the ASGI application."""

from __future__ import annotations

import sys
from typing import Any

from sanic import Request, Sanic, Websocket

app = Sanic("chat")


@app.websocket("/chat", subprotocols=["b", "a"])
async def chat(request: Request, ws: Websocket) -> None:
    await ws.send(f"{request.path}?{request.query_string} {request.headers['x-name']}")
    async for message in ws:
        if message == "bye":
            await ws.close(4001, "as you like")
            return
        await ws.send(message)


@app.after_server_start
async def announce(app: Any) -> None:
    print("serving", flush=True)


if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]), single_process=True, motd=False, access_log=False)

"""aiohttp, which cannot send fragments."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import ClientSession, WSMsgType, web
from dialogue import MAX_SIZE, SUBPROTOCOL, parse, run_async

OPTIONS: dict[str, Any] = {"protocols": [SUBPROTOCOL], "max_msg_size": MAX_SIZE, "autoping": False}


async def talk(ws: Any) -> None:
    async for message in ws:
        match message.type:
            case WSMsgType.PING:
                await ws.pong(message.data)
                continue
            case WSMsgType.PONG:
                await ws.send_str("!pong")
                continue
        match parse(message.data):
            case None if message.type is WSMsgType.TEXT:
                await ws.send_str(message.data)
            case None:
                await ws.send_bytes(message.data)
            case ("close", code, reason):
                await ws.close(code=code, message=reason.encode())
            case ("ping", _, _):
                await ws.ping(b"ping")
            case ("subprotocol", _, _):
                # The client calls it `protocol`, the server `ws_protocol`.
                await ws.send_str(str(ws.protocol if hasattr(ws, "protocol") else ws.ws_protocol))
            case ("abort", _, _):
                ws.get_extra_info("socket").shutdown(2)


async def handle(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(**OPTIONS)
    await ws.prepare(request)
    await talk(ws)
    return ws


async def listen() -> int:
    application = web.Application()
    application.router.add_get("/", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port: int = runner.addresses[0][1]
    return port


async def connect(uri: str) -> None:
    async with ClientSession() as session, session.ws_connect(uri, **OPTIONS) as ws:
        await talk(ws)
        await asyncio.sleep(0)


if __name__ == "__main__":
    run_async(listen, connect)

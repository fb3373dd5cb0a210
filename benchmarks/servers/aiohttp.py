"""aiohttp. It has no broadcast."""

import asyncio

from aiohttp import WSMsgType, web

from benchmarks.servers import harness

DEFLATE = web.AppKey("deflate", bool)
clients: set[web.WebSocketResponse] = set()


async def accept(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse(compress=request.app[DEFLATE], max_msg_size=harness.MAX_SIZE)
    await connection.prepare(request)
    return connection


async def echo(request: web.Request) -> web.WebSocketResponse:
    connection = await accept(request)
    async for message in connection:
        if message.type is WSMsgType.TEXT:
            await connection.send_str(message.data)
        else:
            await connection.send_bytes(message.data)
    return connection


async def gather(request: web.Request) -> web.WebSocketResponse:
    connection = await accept(request)
    clients.add(connection)
    try:
        async for message in connection:
            await asyncio.gather(*(client.send_str(message.data) for client in clients))
    finally:
        clients.remove(connection)
    return connection


async def start(options: harness.Options) -> object:
    application = web.Application()
    application[DEFLATE] = options.deflate
    application.router.add_get("/", {"echo": echo, "gather": gather}[options.mode])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.SockSite(runner, options.sock, ssl_context=options.tls)
    await site.start()
    return site


harness.main(start)

"""aiohttp."""

import socket

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web

from compliance.peers import harness


async def echo_messages(connection: web.WebSocketResponse | ClientWebSocketResponse) -> None:
    async for message in connection:
        if message.type is WSMsgType.TEXT:
            await connection.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await connection.send_bytes(message.data)


async def handle(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse(max_msg_size=0)
    await connection.prepare(request)
    await echo_messages(connection)
    return connection


async def serve(sock: socket.socket) -> object:
    application = web.Application()
    application.router.add_get("/", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.SockSite(runner, sock)
    await site.start()
    return site


async def receive(url: str) -> str:
    async with ClientSession() as session, session.ws_connect(url) as connection:
        return await connection.receive_str()


async def echo(url: str) -> None:
    # compress=15: offers permessage-deflate, as the other libraries do without being asked.
    async with ClientSession() as session, session.ws_connect(url, max_msg_size=0, compress=15) as connection:
        await echo_messages(connection)


harness.main(serve, receive, echo)

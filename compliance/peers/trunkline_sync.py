"""trunkline with threads."""

import asyncio
import contextlib
import socket
import threading

import trunkline
from compliance.peers import harness
from compliance.peers.websockets_api import OPTIONS, offers
from trunkline.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from trunkline.sync.client import connect
from trunkline.sync.connection import Connection
from trunkline.sync.server import Server
from trunkline.sync.server import serve as serve_sync

CLIENT_OPTIONS = OPTIONS | {"extensions": offers(ClientPerMessageDeflateFactory)}


def echo_messages(connection: Connection) -> None:
    for message in connection:
        connection.send(message)


async def serve(sock: socket.socket) -> Server:
    server = serve_sync(echo_messages, sock=sock, **OPTIONS)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


async def receive(url: str) -> str:
    def receive_one() -> str:
        with connect(url, **CLIENT_OPTIONS) as connection:
            return str(connection.recv())

    return await asyncio.to_thread(receive_one)


async def echo(url: str) -> None:
    def echo_all() -> None:
        with connect(url, **CLIENT_OPTIONS) as connection, contextlib.suppress(trunkline.ConnectionClosed):
            echo_messages(connection)

    await asyncio.to_thread(echo_all)


harness.main(serve, receive, echo)

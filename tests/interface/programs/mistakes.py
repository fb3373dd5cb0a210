"""Mistakes that type checkers find, each in a line that says so."""

from typing import assert_type

import trunkline.sync.client
import trunkline.sync.server
import trunkline.trio.client
import trunkline.trio.server
from trunkline import ClientConnection, Headers, PreparedMessage, Response, ServerConnection, broadcast, connect, serve
from trunkline.client import ClientProtocol
from trunkline.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from trunkline.realtime import Client, Limits, Realtime
from trunkline.server import ServerProtocol
from trunkline.uri import parse_uri


async def handler(ws: ServerConnection) -> None:
    await ws.send(42)  # wrong
    await ws.send("x", txt=True)  # wrong
    await ws.recv("x")  # wrong
    await ws.close("1000")  # wrong
    ws.respond(404)  # wrong
    ws.no_such_method()  # wrong
    ws.send_nowait("x")  # wrong
    async for message in ws:
        message.upper(1)  # wrong


async def main() -> None:
    async with connect(42) as ws:  # wrong
        text: str = await ws.recv()  # wrong
        assert_type(ws, int)  # wrong
        text.upper()
    connect("ws://localhost", open_timeout="10")  # wrong
    connect("ws://localhost", engine="fast")  # wrong
    serve(handler, port=b"1")  # wrong
    serve()  # wrong
    serve(handler, create_connection=ClientConnection)  # wrong
    serve(handler, process_request=lambda connection: None)  # wrong
    broadcast(ws, "x")  # wrong
    PreparedMessage("x", "text")  # wrong
    Headers()["X"] = 1  # wrong
    Response("200", "OK", Headers())  # wrong


def threads() -> None:
    trunkline.sync.client.connect("ws://localhost", open_timeout="10")  # wrong
    trunkline.sync.client.connect("ws://localhost", open_timout=10)  # wrong
    trunkline.sync.client.connect("ws://localhost", reconnect_delays=iter)  # wrong
    trunkline.sync.client.unix_connect(b"/tmp/socket", max_size="1")  # wrong
    ws = trunkline.sync.client.connect("ws://localhost")
    ws.recv("10")  # wrong
    ws.no_such_method()  # wrong
    for message in ws:
        message.upper(1)  # wrong
    trunkline.sync.client.connect("ws://localhost", legacy=False).recv()  # wrong
    trunkline.sync.server.serve(handler, port=b"1")  # wrong
    trunkline.sync.server.broadcast(ws, "x")  # wrong


async def trios() -> None:
    async with trunkline.trio.client.connect("ws://localhost") as ws:
        number: int = await ws.recv()  # wrong
        await ws.send(number)  # wrong
        ws.no_such_method()  # wrong
    await trunkline.trio.server.serve(handler, "8765")  # wrong
    trunkline.trio.server.broadcast(ws, "x")  # wrong


async def rooms(rt: Realtime, client: Client) -> None:
    Realtime(limits=10)  # wrong
    Limits(channel=10)  # wrong
    await rt.publish(42, {})  # wrong
    await rt.history("news", limit="10")  # wrong
    client.no_such_method()  # wrong


def parts() -> None:
    parse_uri(b"ws://localhost")  # wrong
    protocol = ClientProtocol("ws://localhost")  # wrong
    protocol.receive_data("x")  # wrong
    protocol.send_text("x")  # wrong
    ServerProtocol(origins="https://example.com", extension=[])  # wrong
    ServerPerMessageDeflateFactory(server_max_window_bits="15")  # wrong

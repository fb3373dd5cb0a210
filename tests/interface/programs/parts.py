"""A program that uses what the drivers stand on, in which type checkers know each type."""

from typing import assert_type

from werkzeug.routing import Map, Rule

from trunkline import Close, CloseCode, Frame, Headers, Opcode, Request, Response, Server, route
from trunkline.client import ClientProtocol, backoff
from trunkline.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from trunkline.server import ServerProtocol
from trunkline.testing import Peer, RawFrame
from trunkline.testing.memory import run
from trunkline.uri import WebSocketURI, parse_uri


async def answer() -> int:
    return 42


def parts() -> None:
    headers = Headers({"Host": "example.com"})
    assert_type(headers["Host"], str)
    assert_type(headers.get_all("Host"), list[str])
    assert_type(parse_uri("ws://example.com"), WebSocketURI)
    protocol = ClientProtocol(parse_uri("ws://example.com"))
    assert_type(protocol.connect(), Request)
    assert_type(protocol.data_to_send(), list[bytes])
    server = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()])
    for event in server.events_received():
        if isinstance(event, Request):
            assert_type(server.accept(event), Response)
        elif isinstance(event, Frame):
            assert_type(event.opcode, Opcode)
    assert_type(Close(CloseCode.NORMAL_CLOSURE, "bye").reason, str)
    assert_type(next(backoff()), float)
    assert_type(run(answer()), int)
    assert_type(route(Map([Rule("/", endpoint=answer)]), "localhost", 8765), Server)


def script(peer: Peer) -> None:
    assert_type(peer.read_frame(), RawFrame)

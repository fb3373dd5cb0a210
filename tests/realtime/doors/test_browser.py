"""The server hands out the client for browsers. Tests of that client stand in js/, and in tests/interop."""

from __future__ import annotations

import asyncio
import contextlib

from tests.support.loop import run_clean
from tests.support.pair import port_of
from trunkline import connect
from trunkline.realtime import Realtime
from trunkline.realtime.doors.browser import SOURCE


async def ask(port: int, line: str) -> tuple[bytes, bytes]:
    """Head and body of the response to a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.closing(writer):
        writer.write(f"{line} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    return head, body


def test_a_realtime_server_has_the_client_for_browsers() -> None:
    async def main() -> None:
        rt = Realtime()
        async with rt, rt.serve("127.0.0.1", 0) as server:
            head, body = await ask(port_of(server), "GET /trunkline.js?v=1")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"Content-Type: text/javascript; charset=utf-8" in head
            assert body == SOURCE
            assert b"export class Client" in body
            assert (await ask(port_of(server), "HEAD /trunkline.js")) == (head, b"")
            head, _ = await ask(port_of(server), "GET /elsewhere")
            assert head.startswith(b"HTTP/1.1 426 ")
            async with connect(f"ws://127.0.0.1:{port_of(server)}/trunkline.js") as ws:  # a handshake is no page
                await ws.send('{"id":1,"connect":{}}')
                assert '"id":1' in await ws.recv()

    run_clean(main)

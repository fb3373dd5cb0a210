"""Do everything that connections do, and end, so that LeakSanitizer can tell what was not freed; see tools/sanitize.sh.

python -m tools.leaks ENGINE     reactor or transports
"""

import asyncio
import contextlib
import gc
import sys
from typing import Any

import trunkline
from trunkline.testing.tls import tls_contexts

ROUNDS = 30
MESSAGES = ("x", b"y" * 100, "ä" * 1000, bytes(100_000), bytes(1_000_000))


async def echo(ws: trunkline.ServerConnection) -> None:
    async for message in ws:
        await ws.send([message] if message == "in fragments" else message)


async def converse(ws: trunkline.ClientConnection) -> None:
    """Send and receive in all ways, and be cancelled while waiting."""
    for message in MESSAGES:
        await ws.send(message)
        assert await ws.recv() == message
    await (await ws.ping())
    await ws.send(["in ", "fragments"])
    assert [fragment async for fragment in ws.recv_streaming()] == ["in fragments", ""]
    trunkline.broadcast([ws], trunkline.PreparedMessage("prepared"))
    assert await ws.recv() == "prepared"
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(ws.recv(), 0.001)


async def main(engine: Any) -> None:
    await serve_and_converse("ws", engine, None, None)
    await serve_and_converse("wss", engine, *tls_contexts())


async def serve_and_converse(scheme: str, engine: Any, server_tls: Any, client_tls: Any) -> None:
    async with trunkline.serve(echo, "localhost", 0, engine=engine, ssl=server_tls) as server:
        uri = f"{scheme}://localhost:{server.sockets[0].getsockname()[1]}/"
        options = {"proxy": None} if client_tls is None else {"proxy": None, "ssl": client_tls}
        for i in range(ROUNDS):
            compression = "deflate" if i % 2 else None
            async with trunkline.connect(uri, engine=engine, compression=compression, **options) as ws:
                await converse(ws)
                if i % 3 == 0:
                    ws.transport.abort()
                if i % 3 == 1:
                    await ws.send(b"left unread" * 10_000)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
    gc.collect()

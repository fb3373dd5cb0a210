"""Do everything that connections do, and end, so that LeakSanitizer can tell what was not freed; see tools/sanitize.sh.

python tools/leaks.py ENGINE     reactor or transports
"""

import asyncio
import contextlib
import gc
import sys
from typing import Any

import trunkline

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
    async with trunkline.serve(echo, "127.0.0.1", 0, engine=engine) as server:
        uri = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for i in range(ROUNDS):
            compression = "deflate" if i % 2 else None
            async with trunkline.connect(uri, engine=engine, proxy=None, compression=compression) as ws:
                await converse(ws)
                if i % 3 == 0:
                    ws.transport.abort()
                if i % 3 == 1:
                    await ws.send(b"left unread" * 10_000)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
    gc.collect()

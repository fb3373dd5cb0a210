"""aiohttp."""

import aiohttp

from benchmarks.clients import harness


async def connect(uri: str) -> tuple[harness.Send, harness.Receive]:
    session = aiohttp.ClientSession()
    connection = await session.ws_connect(uri, compress=0)
    return connection.send_bytes, connection.receive


harness.main(connect)

"""trunkline works where Cython isn't installed: compiled it doesn't need it, interpreted it has a stand-in."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import asyncio, sys
sys.modules["cython"] = None  # so that importing it fails
import trunkline

async def echo(ws):
    async for message in ws:
        await ws.send(message)

async def main():
    async with trunkline.serve(echo, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with trunkline.connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as ws:
            for message in ("text", b"binary", "a" * 100_000):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send(["in ", "fragments"])
            print(await ws.recv())
            await (await ws.ping())

asyncio.run(main())
"""


def test_trunkline_runs_without_cython() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    shown = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60)
    assert (shown.stdout, shown.stderr) == ("in fragments\n", "")

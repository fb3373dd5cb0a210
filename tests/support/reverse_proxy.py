"""A proxy such as HAProxy before a server, in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import trunkline
from tests.support.process import wait_until_it_listens

CLIENT = "127.0.0.9"  # an address that isn't the one of the proxy, which servers trust

# Headers that a client writes itself. No server may believe them.
SPOOFED = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "Forwarded": "for=192.0.2.1;proto=https"}


async def tell(ws: Any) -> None:
    """Tell a client its address and scheme, then echo."""
    await ws.send(f"{ws.remote_address[0]} {ws.scheme}")
    async for message in ws:
        await ws.send(message)


def connect(port: int, headers: dict[str, str]) -> Any:
    """Connect to a proxy as "localhost", from the address `CLIENT`."""
    here: dict[str, Any] = {"host": "127.0.0.1", "port": port, "local_addr": (CLIENT, 0)}
    return trunkline.connect(f"ws://localhost:{port}/", proxy=None, additional_headers=headers, **here)


@contextmanager
def reverse_proxy(program: str, configuration: str, port: int, directory: Path) -> Iterator[None]:
    """Run a proxy with a configuration by which it listens on `port`; skip the test if it isn't installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    file = directory / "configuration"
    file.write_text(configuration, encoding="utf-8")
    arguments = {
        "nginx": ["-e", "stderr", "-p", str(directory), "-c", str(file)],
        "haproxy": ["-db", "-f", str(file)],
        "caddy": ["run", "--adapter", "caddyfile", "--config", str(file)],
    }
    environment = {"HOME": str(directory), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen([path, *arguments[program]], stderr=subprocess.PIPE, env=environment) as process:
        try:
            wait_until_it_listens(process, port)
            yield
        finally:
            process.terminate()

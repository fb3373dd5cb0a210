"""HAProxy before a server: it introduces clients by the PROXY protocol or by headers, and no other peer can."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import trunkline
from tests.support.loop import run_clean
from tests.support.pair import port_of

HAPROXY = shutil.which("haproxy") or ""
pytestmark = pytest.mark.skipif(not HAPROXY, reason="haproxy is not installed")

CONFIGURATION = """
global
    log stderr format raw local0
defaults
    mode {mode}
    timeout connect 10s
    timeout client 30s
    timeout server 30s
listen chat
    bind 127.0.0.2:{port}
    {more}
    server here 127.0.0.1:{behind} {options}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.2", 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def haproxy(directory: Path, behind: int, mode: str, options: str = "", more: str = "") -> Iterator[int]:
    port = free_port()
    file = directory / "haproxy.cfg"
    file.write_text(CONFIGURATION.format(mode=mode, port=port, behind=behind, options=options, more=more))
    with subprocess.Popen([HAPROXY, "-db", "-f", file], stderr=subprocess.PIPE) as process:
        try:
            wait_until_it_listens(process, port)
            yield port
        finally:
            process.kill()


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.2", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)  # another process: there is no event to wait for
        else:
            return
    pytest.fail("haproxy does not listen")


async def tell(ws: Any) -> None:
    await ws.send(f"{ws.remote_address[0]} {ws.scheme}")


async def ask(port: int, **options: Any) -> str:
    uri = f"ws://127.0.0.2:{port}"
    async with trunkline.connect(uri, proxy=None, local_addr=("127.0.0.9", 0), **options) as ws:
        return str(await ws.recv())


SPOOFED = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "Forwarded": "for=192.0.2.1"}


@pytest.mark.parametrize("options", ["send-proxy", "send-proxy-v2"])
def test_proxy_protocol(tmp_path: Path, options: str) -> None:
    async def main() -> None:
        async with trunkline.serve(tell, "127.0.0.1", 0, proxy_protocol=True) as server:
            with haproxy(tmp_path, port_of(server), "tcp", options) as port:
                assert await ask(port) == "127.0.0.9 ws"
                assert await ask(port, additional_headers=SPOOFED) == "127.0.0.9 ws"

    run_clean(main)


def test_headers(tmp_path: Path) -> None:
    async def main() -> None:
        async with trunkline.serve(tell, "127.0.0.1", 0, trusted_proxies=["127.0.0.1"]) as server:
            rules = (
                "option forwardfor",
                "http-request del-header Forwarded",
                "http-request set-header X-Forwarded-Proto http",
            )
            more = "\n    ".join(rules)
            with haproxy(tmp_path, port_of(server), "http", more=more) as port:
                assert await ask(port) == "127.0.0.9 ws"
                assert await ask(port, additional_headers=SPOOFED) == "127.0.0.9 ws"

    run_clean(main)

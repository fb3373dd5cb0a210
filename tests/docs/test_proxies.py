"""The proxies of docs/how-to/proxy.md, with its configurations: they lead to the server, and tell where clients are."""

from __future__ import annotations

import re
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

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "proxy.md"
BLOCK = re.compile(r"^```(nginx|haproxy|caddy)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(match[1], match[2]) for match in BLOCK.finditer(PAGE.read_text(encoding="utf-8"))]

NGINX = """
daemon off;
pid {directory}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {block}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def command_of(program: str, file: Path) -> list[str]:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    match program:
        case "nginx":
            return [path, "-e", "stderr", "-p", str(file.parent), "-c", str(file)]
        case "haproxy":
            return [path, "-db", "-f", str(file)]
    return [path, "run", "--adapter", "caddyfile", "--config", str(file)]


@contextmanager
def proxy(program: str, block: str, behind: int, directory: Path) -> Iterator[int]:
    """A proxy with a configuration of the page, on a port of its own, before the server on port `behind`."""
    port = free_port()
    assert block.count("8080") == block.count("8765") == 1
    text = block.replace("8080", str(port)).replace("8765", str(behind))
    if program == "nginx":
        text = NGINX.format(directory=directory, block=text)
    elif program == "caddy":
        text = f"{{\n    admin off\n    auto_https off\n}}\n{text}"
    file = directory / "configuration"
    file.write_text(text, encoding="utf-8")
    environment = {"HOME": str(directory), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command_of(program, file), stderr=subprocess.PIPE, env=environment) as process:
        try:
            wait_until_it_listens(process, port)
            yield port
        finally:
            process.terminate()


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("localhost", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)  # another process: there is no event to wait for
        else:
            return
    process.kill()
    pytest.fail(f"the proxy does not listen: {process.communicate()[1].decode()}")


async def tell(ws: Any) -> None:
    await ws.send(f"{ws.remote_address[0]} {ws.scheme}")
    async for message in ws:
        await ws.send(message)


def connect(port: int, headers: dict[str, str]) -> Any:
    """Connect from an address that isn't the trusted one of the proxy."""
    here = {"host": "127.0.0.1", "port": port, "local_addr": ("127.0.0.9", 0)}
    return trunkline.connect(f"ws://localhost:{port}/", proxy=None, additional_headers=headers, **here)  # type: ignore[arg-type]


SPOOFED = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "Forwarded": "for=192.0.2.1;proto=https"}


@pytest.mark.parametrize(("program", "block"), BLOCKS, ids=[f"{name}-{at}" for at, (name, _) in enumerate(BLOCKS)])
def test_the_server_learns_where_a_client_comes_from(program: str, block: str, tmp_path: Path) -> None:
    introduced = "send-proxy" in block
    options: dict[str, Any] = {"proxy_protocol": True} if introduced else {"trusted_proxies": ["127.0.0.1"]}

    async def main() -> None:
        async with trunkline.serve(tell, "127.0.0.1", 0, **options) as server:
            with proxy(program, block, port_of(server), tmp_path) as port:
                for headers in ({}, SPOOFED):
                    async with connect(port, headers) as ws:
                        assert await ws.recv() == "127.0.0.9 ws"
                        await ws.send("a" * 100_000)
                        assert await ws.recv() == "a" * 100_000

    run_clean(main)


def test_the_page_has_the_proxies() -> None:
    assert [name for name, _ in BLOCKS] == ["nginx", "haproxy", "haproxy", "caddy"]

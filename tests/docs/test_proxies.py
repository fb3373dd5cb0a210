"""The proxies of docs/how-to/proxy.md, with its configurations: they lead to the server, and tell where clients are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import trunkline
from tests.support.loop import run_clean
from tests.support.pair import port_of
from tests.support.process import free_port
from tests.support.reverse_proxy import CLIENT, SPOOFED, connect, reverse_proxy, tell

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


def configuration(program: str, block: str, port: int, behind: int, directory: Path) -> str:
    """A configuration of the page, on another port, before the server on port `behind`."""
    assert block.count("8080") == block.count("8765") == 1
    text = block.replace("8080", str(port)).replace("8765", str(behind))
    if program == "nginx":
        return NGINX.format(directory=directory, block=text)
    if program == "caddy":
        return f"{{\n    admin off\n    auto_https off\n}}\n{text}"
    return text


@pytest.mark.parametrize(("program", "block"), BLOCKS, ids=[f"{name}-{at}" for at, (name, _) in enumerate(BLOCKS)])
def test_the_server_learns_where_a_client_comes_from(program: str, block: str, tmp_path: Path) -> None:
    introduced = "send-proxy" in block
    options: dict[str, Any] = {"proxy_protocol": True} if introduced else {"trusted_proxies": ["127.0.0.1"]}

    async def main() -> None:
        async with trunkline.serve(tell, "127.0.0.1", 0, **options) as server:
            port = free_port()
            text = configuration(program, block, port, port_of(server), tmp_path)
            with reverse_proxy(program, text, port, tmp_path):
                for headers in ({}, SPOOFED):
                    async with connect(port, headers) as ws:
                        assert await ws.recv() == f"{CLIENT} ws"
                        await ws.send("a" * 100_000)
                        assert await ws.recv() == "a" * 100_000

    run_clean(main)


def test_the_page_has_the_proxies() -> None:
    assert [name for name, _ in BLOCKS] == ["nginx", "haproxy", "haproxy", "caddy"]

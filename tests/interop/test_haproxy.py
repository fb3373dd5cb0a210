"""HAProxy before a server: it introduces clients by the PROXY protocol or by headers; no client can do so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trunkline
from tests.support.loop import run_clean
from tests.support.pair import port_of
from tests.support.process import free_port
from tests.support.reverse_proxy import CLIENT, SPOOFED, connect, reverse_proxy, tell

CONFIGURATION = """
defaults
    mode {mode}
    timeout connect 10s
    timeout client 30s
    timeout server 30s
listen chat
    bind 127.0.0.1:{port}
    {rules}
    server here 127.0.0.1:{behind} {options}
"""
RULES = (
    "option forwardfor",
    "http-request del-header Forwarded",
    "http-request set-header X-Forwarded-Proto http",
)


def check(directory: Path, mode: str, options: str, rules: tuple[str, ...], **settings: Any) -> None:
    """A server with these settings learns the address of its client, whatever the client says."""

    async def main() -> None:
        async with trunkline.serve(tell, "127.0.0.1", 0, **settings) as server:
            port = free_port()
            named = {"mode": mode, "options": options, "rules": "\n    ".join(rules)}
            configuration = CONFIGURATION.format(port=port, behind=port_of(server), **named)
            with reverse_proxy("haproxy", configuration, port, directory):
                for headers in ({}, SPOOFED):
                    async with connect(port, headers) as ws:
                        assert await ws.recv() == f"{CLIENT} ws"

    run_clean(main)


@pytest.mark.parametrize("options", ["send-proxy", "send-proxy-v2"])
def test_proxy_protocol(tmp_path: Path, options: str) -> None:
    check(tmp_path, "tcp", options, (), proxy_protocol=True)


def test_headers(tmp_path: Path) -> None:
    check(tmp_path, "http", "", RULES, trusted_proxies=["127.0.0.1"])

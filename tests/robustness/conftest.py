"""One echo server for the tests that need no options; each of them must leave it alive and serving."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.process import ServerProcess, server_process
from tests.support.raw import TEXT, RawFrame, RawPeer, encode_frame


async def serves(port: int) -> bool:
    """Whether a new connection gets its message echoed."""
    async with await RawPeer.open(port) as peer:
        await peer.send(encode_frame(TEXT, b"still there?"))
        return await peer.read_frame() == RawFrame(TEXT, b"still there?")


@pytest.fixture(scope="module")
def shared_echo_server() -> Iterator[ServerProcess]:
    """An echo server with the default limits."""
    with server_process("echo") as server:
        yield server


@pytest.fixture
def echo_server(shared_echo_server: ServerProcess) -> Iterator[ServerProcess]:
    """The shared echo server, checked after each test."""
    yield shared_echo_server
    assert shared_echo_server.alive, shared_echo_server.log()
    assert asyncio.run(serves(shared_echo_server.port))
    assert "Traceback" not in shared_echo_server.log()

"""Which engine carries a connection, and that its arguments don't depend on that."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.support.loop import run_clean
from tests.support.pair import connect, port_of, serve


@pytest.mark.parametrize(
    "options",
    [
        {"ssl": None},
        {"ssl": None, "server_hostname": None, "local_addr": None, "ssl_handshake_timeout": None},
        {"happy_eyeballs_delay": 0.25},
        {"interleave": 1},
    ],
)
def test_arguments_of_create_connection(options: dict[str, Any]) -> None:
    async def main() -> None:
        async with serve(ssl=None) as server, connect(server, **options) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"

    run_clean(main)


@pytest.mark.compiled
def test_argument_that_the_reactor_has_not() -> None:
    async def main() -> None:
        async with serve() as server:
            with pytest.raises(ValueError, match="engine='reactor' can't be used: it has no happy_eyeballs_delay"):
                await connect(server, engine="reactor", happy_eyeballs_delay=0.25)

    run_clean(main)


@pytest.mark.parametrize("place", [{"host": "localhost"}, {"port": 80}], ids=repr)
@pytest.mark.parametrize("engine", ["auto", "transports"])
def test_socket_and_another_place(engine: str, place: dict[str, Any]) -> None:
    async def main() -> None:
        async with serve() as server:
            with (
                socket.create_connection(("localhost", port_of(server))) as sock,
                pytest.raises(ValueError, match="sock can not be specified at the same time"),
            ):
                await connect(server, engine=engine, sock=sock, **place)

    run_clean(main)


@pytest.mark.parametrize("engine", ["auto", "transports"])
def test_socket_that_carries_no_stream(engine: str) -> None:
    async def main() -> None:
        async with serve() as server:
            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
                pytest.raises(ValueError, match="A Stream Socket was expected"),
            ):
                await connect(server, engine=engine, sock=sock)

    run_clean(main)

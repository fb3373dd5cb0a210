"""Which engine carries a connection, and that its arguments don't depend on that."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

import trunkline
from tests.support.listening import longest_queue, needs_tcp_info, queue_of, waiting_connections
from tests.support.loop import run_clean
from tests.support.pair import connect, echo, port_of, serve


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


ENGINES = ["auto", "transports"]


@needs_tcp_info
@pytest.mark.parametrize("engine", ENGINES)
def test_queue_of_a_listening_socket_is_as_long_as_the_system_allows(engine: str) -> None:
    async def main() -> None:
        async with serve(engine=engine) as server:
            assert [queue_of(sock) for sock in server.sockets] == [longest_queue()]
        async with serve(engine=engine, backlog=7) as server:
            assert [queue_of(sock) for sock in server.sockets] == [7]

    run_clean(main)


@needs_tcp_info
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("options", "length"), [({}, 9), ({"backlog": 7}, 7)], ids=["kept", "given"])
def test_queue_of_a_socket_that_listens_already_is_left_alone(
    engine: str, options: dict[str, Any], length: int
) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=9) as sock:
            async with trunkline.serve(echo, sock=sock, engine=engine, **options) as server:
                assert queue_of(server.sockets[0]) == length
                async with connect(server) as ws:
                    await ws.send("hello")
                    assert await ws.recv() == "hello"

    run_clean(main)


@needs_tcp_info
@pytest.mark.parametrize("engine", ENGINES)
def test_socket_that_does_not_listen_yet(engine: str) -> None:
    async def main() -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            async with trunkline.serve(echo, sock=sock, engine=engine) as server:
                assert queue_of(server.sockets[0]) == longest_queue()

    run_clean(main)


@needs_tcp_info
@pytest.mark.parametrize("engine", ENGINES)
def test_queue_of_a_unix_socket(engine: str, tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "socket")
        async with trunkline.unix_serve(echo, path, engine=engine):
            assert waiting_connections(path, most=200) == min(200, longest_queue() + 1)

    run_clean(main)


@pytest.mark.compiled
@needs_tcp_info
def test_queue_of_a_unix_socket_that_listens_already(tmp_path: Path) -> None:
    """Only on the reactor: a loop always listens again, and the system doesn't tell the length of such a queue."""

    async def main() -> None:
        path = str(tmp_path / "socket")
        with socket.create_server(path, family=socket.AF_UNIX, backlog=3) as sock:
            async with trunkline.unix_serve(echo, sock=sock, engine="reactor"):
                assert waiting_connections(path, most=200) == 4  # Linux lets one more in

    run_clean(main)

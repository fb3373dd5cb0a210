"""Packages from PyPI that are written for websockets, unmodified, on trunkline, each in a process of its own."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
import websockets.sync.client

from tests.support.process import environment

PROGRAMS = Path(__file__).with_name("programs")
COMPAT = ["-m", "trunkline.compat"]
SECONDS = 60


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python to the end, successful or not."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(PYTHONIOENCODING="utf-8"),
        cwd=PROGRAMS,
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize("program", ["gql_client.py", "ocpp_station.py", "centrifuge_client.py", "obs_client.py"])
def test_client_prints_what_it_prints_with_websockets(program: str) -> None:
    theirs, ours = run(program), run(*COMPAT, program)
    assert theirs.returncode == 0, theirs.stderr
    assert "websockets.asyncio.client" in theirs.stderr
    assert ours.returncode == 0, ours.stderr
    assert ours.stderr == "trunkline.asyncio.client\n"
    assert ours.stdout == theirs.stdout
    assert ours.stdout.count("\n") >= 2


# --- servers ---


class Server:
    """A server program that runs until the test ends."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.output = ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read its output until a line matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"the server ended before it printed {pattern!r}:\n{self.output}")


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, *COMPAT, *arguments],
        env=environment(),
        cwd=PROGRAMS,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield Server(process)
        finally:
            process.terminate()


def uvicorn(implementation: str, *options: str) -> contextlib.AbstractContextManager[Server]:
    return running("-m", "uvicorn", "asgi:app", "--port", "0", "--ws", implementation, *options)


def connect(port: int, path: str = "/chat?q=1", **options: Any) -> websockets.sync.client.ClientConnection:
    """A client of websockets itself."""
    connection = websockets.sync.client.connect(
        f"ws://127.0.0.1:{port}{path}", additional_headers={"X-Name": "Ada"}, proxy=None, legacy=True, **options
    )
    assert isinstance(connection, websockets.sync.client.ClientConnection)
    return connection


def connect_to_worker(port: int) -> websockets.sync.client.ClientConnection:
    """The workers listen somewhat later than their parent says so."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            return connect(port)
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.05)


def talk(connection: websockets.sync.client.ClientConnection) -> None:
    """Check the answers that every server program gives."""
    assert connection.recv(SECONDS) == "/chat?q=1 Ada"
    for message in ("hello", "grüße" * 30_000, b"\0\xff" * 1000, ""):
        connection.send(message)
        assert connection.recv(SECONDS) == message
    connection.send(["in ", "fragments"])
    assert connection.recv(SECONDS) == "in fragments"
    assert connection.ping().wait(SECONDS)
    connection.send("bye")
    with pytest.raises(websockets.ConnectionClosedError) as closed:
        connection.recv(SECONDS)
    assert closed.value.rcvd == websockets.Close(4001, "as you like")


@pytest.mark.parametrize("implementation", ["websockets-sansio", "auto"])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_uvicorn(implementation: str, compression: str | None) -> None:
    with uvicorn(implementation) as server:
        port = int(server.wait_for(r"running on http://127.0.0.1:(\d+)")[1])
        connection = connect(port, compression=compression, subprotocols=[websockets.Subprotocol("chat")])
        assert connection.subprotocol == "chat"
        assert connection.response is not None
        assert connection.response.headers["X-App"] == "asgi"
        extensions = connection.response.headers.get("Sec-WebSocket-Extensions", "")
        assert extensions.startswith("permessage-deflate") is (compression is not None)
        talk(connection)


@pytest.mark.parametrize("options", [["--workers", "2"], ["--reload"]])
def test_workers_of_uvicorn_run_on_trunkline(options: list[str]) -> None:
    """They are processes of their own."""
    with uvicorn("websockets-sansio", *options) as server:
        port = int(server.wait_for(r"running on http://127.0.0.1:(\d+)")[1])
        for _ in range(4):
            connection = connect_to_worker(port)
            connection.recv(SECONDS)
            connection.send("library")
            assert connection.recv(SECONDS) == "trunkline.asyncio.client"
            connection.close()


def test_uvicorn_refuses() -> None:
    with uvicorn("websockets-sansio") as server:
        port = int(server.wait_for(r"running on http://127.0.0.1:(\d+)")[1])
        with pytest.raises(websockets.InvalidStatus, match="HTTP 403"):
            connect(port, "/forbidden")


def test_uvicorn_sees_how_the_client_left() -> None:
    with uvicorn("websockets-sansio") as server:
        port = int(server.wait_for(r"running on http://127.0.0.1:(\d+)")[1])
        connect(port).close(4000, "enough")
        assert server.wait_for("disconnected (.*)")[1] == "4000 enough"
        connection = connect(port)
        connection.socket.shutdown(socket.SHUT_RDWR)
        assert server.wait_for("disconnected (.*)")[1] == "1005 None"  # how uvicorn puts that there was no close frame
        connection.close()


def test_uvicorn_on_the_legacy_implementation() -> None:
    """It needs `websockets.legacy`, which we haven't: the text has to say so."""
    with uvicorn("websockets") as server:
        assert server.wait_for("ModuleNotFoundError: (.*)")[1] == (
            "trunkline, which stands in for websockets, has no websockets.legacy"
        )


def test_sanic() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running("sanic_app.py", str(port)) as server:
        server.wait_for("serving")
        connection = connect(port, subprotocols=[websockets.Subprotocol("a"), websockets.Subprotocol("b")])
        assert connection.subprotocol == "b"
        talk(connection)

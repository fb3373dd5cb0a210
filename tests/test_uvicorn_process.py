"""The command `uvicorn --ws trunkline.uvicorn:WebSocketProtocol`, with one process and with several."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import trunkline
import trunkline.sync.client
from tests.support.process import environment

ROOT = Path(__file__).parents[1]
SECONDS = 60


@contextlib.contextmanager
def uvicorn(*options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process, and its port."""
    command = ["-m", "uvicorn", "tests.support.asgi:echo", "--ws", "trunkline.uvicorn:WebSocketProtocol", "--port", "0"]
    with subprocess.Popen(
        [sys.executable, *command, "--lifespan", "off", *options],
        env=environment(),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            output = ""
            for line in process.stderr:
                output += line
                if address := re.search(r"running on http://127.0.0.1:(\d+)", line):
                    yield process, int(address[1])
                    break
            else:
                pytest.fail(f"uvicorn has ended: {output}")
        finally:
            process.terminate()
            process.stderr.read()


def connect(port: int) -> trunkline.sync.client.ClientConnection:
    """Workers listen somewhat later than their parent says so."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            return trunkline.sync.client.connect(f"ws://127.0.0.1:{port}", proxy=None)
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.mark.parametrize("options", [[], ["--workers", "2"], ["--reload", "--reload-dir", "tests/asgi"]], ids=str)
def test_command(options: list[str]) -> None:
    with uvicorn(*options) as (process, port), connect(port) as first, connect(port) as second:
        for client in (first, second):
            client.send("hello")
            assert client.recv(SECONDS) == "hello"
        process.send_signal(signal.SIGTERM)
        for client in (first, second):
            with pytest.raises(trunkline.ConnectionClosed) as closed:
                client.recv(SECONDS)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        process.wait(SECONDS)

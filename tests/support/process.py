"""Start a program in a process of its own and watch it from outside (Linux: through /proc)."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import trunkline

SERVERS = Path(__file__).with_name("servers.py")
REALTIME = Path(__file__).with_name("realtime.py")
PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20
PATIENCE = 30.0  # seconds


def environment(**variables: str) -> dict[str, str]:
    """The environment of a child that imports the same trunkline as we do, without proxies in its way."""
    package = Path(trunkline.__file__).parent
    return os.environ | {"PYTHONPATH": str(package.parent), "PYTHONUNBUFFERED": "1", "no_proxy": "*"} | variables


def free_port(host: str = "localhost") -> int:
    """A TCP port that another program can listen on; nothing else takes it meanwhile, most probably."""
    with socket.create_server((host, 0)) as sock:
        return int(sock.getsockname()[1])


def wait_until_it_listens(process: subprocess.Popen[Any], port: int, host: str = "localhost") -> None:
    """Wait for a program to listen on a port.

    Raises:
        AssertionError: if it ends before, or takes more than `PATIENCE` seconds. Then it is killed.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((host, port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)  # another process: there is no event to wait for
        else:
            return
    process.kill()
    raise AssertionError(f"nothing listens on port {port} of {host}: {process.communicate()[1]}")


class ServerProcess:
    """A trunkline server (see `servers.py`) in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], log: IO[str]) -> None:
        self.process = process
        self._log = log
        first_line = self._read_line()
        assert first_line, f"the server did not start:\n{self.log()}"
        self.port = int(first_line)

    def _read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def log(self) -> str:
        """All that the process has written to standard error."""
        self._log.flush()
        return Path(self._log.name).read_text()

    def census(self) -> dict[str, Any]:
        """Numbers of tasks, open connections and connection objects, and CPU seconds used, as it counts them."""
        assert self.process.stdin is not None
        self.process.stdin.write("census\n")
        self.process.stdin.flush()
        counts: dict[str, Any] = json.loads(self._read_line())
        return counts

    def _proc(self, name: str) -> Path:
        return Path(f"/proc/{self.process.pid}/{name}")

    def rss(self) -> int:
        """Resident memory in bytes."""
        return int(self._proc("statm").read_text().split()[1]) * PAGE

    def peak_rss(self) -> int:
        """Highest resident memory in bytes since the last `reset_peak_rss`."""
        fields = dict(line.split(":", 1) for line in self._proc("status").read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024

    def reset_peak_rss(self) -> None:
        """Start `peak_rss` again from the present memory."""
        self._proc("clear_refs").write_text("5")

    @contextlib.contextmanager
    def memory_bounded(self, mib: float) -> Iterator[None]:
        """Fail if the resident memory rises by more than `mib` MiB meanwhile."""
        self.reset_peak_rss()
        before = self.rss()
        yield
        grown = (self.peak_rss() - before) / MIB
        assert grown < mib, f"memory grew by {grown:.1f} MiB, more than {mib} MiB"

    def descriptors(self) -> int:
        """Number of open file descriptors."""
        return len(list(self._proc("fd").iterdir()))

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None


@contextlib.contextmanager
def server_process(handler: str = "echo", **options: Any) -> Iterator[ServerProcess]:
    """Run a server of `servers.py` with these options of `serve`, without compression unless they say so."""
    options = {"compression": None} | options
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        process = subprocess.Popen(
            [sys.executable, str(SERVERS), handler, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment(),
        )
        try:
            yield ServerProcess(process, log)
        finally:
            process.kill()
            process.communicate()


@contextlib.contextmanager
def realtime_process(files: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the server of `realtime.py`, which serves the files of a directory, too; gives it and its address."""
    with subprocess.Popen(
        [sys.executable, REALTIME, "0", files],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://"), "the server did not start"
        try:
            yield process, address
        finally:
            process.terminate()

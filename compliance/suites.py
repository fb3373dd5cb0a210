"""The test suites: where they come from, and how they are run.

Both run the case files of Autobahn|Testsuite 25.10.1. The original needs Python 2.7, which few systems still
have. kosoku runs them on a WebSocket stack of its own, and installs wherever Python 3.10 or later does.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from compliance.testees import CASES_SECONDS, ComplianceError

BUILD = Path(__file__).parent / "build"
LOG = "suite.log"
GRACE = 60
"""Seconds that a suite may take to start, and to end."""


@dataclass(frozen=True)
class Cases:
    """Which cases to run; `*` stands for anything."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()


class Suite(Protocol):
    """A test suite in an environment of its own."""

    name: str
    title: str

    def install(self) -> None:
        """Install it, unless that is done.

        Raises:
            ComplianceError: what it needs is missing, or the installation fails.
        """

    def test_server(self, port: int, cases: Cases, directory: Path) -> None:
        """Be the client of the server at `port`, and write a report into `directory`."""

    def serving(self, cases: Cases, directory: Path) -> AbstractContextManager[str]:
        """Be the server of a client; gives the URL. When the context ends, the report is in `directory`."""


class Kosoku:
    """The cases on a WebSocket stack of its own."""

    name = "kosoku"
    title = "kosoku 0.1.0"
    _environment = BUILD / "kosoku-0.1.0"

    def install(self) -> None:
        if not self._program.exists():
            _run(sys.executable, "-m", "venv", "--clear", self._environment)
            _run(self._environment / "bin" / "pip", "install", "kosoku==0.1.0")

    def test_server(self, port: int, cases: Cases, directory: Path) -> None:
        _run_suite(self._command("fuzzingclient", f"127.0.0.1:{port}", cases, directory), directory)

    @contextmanager
    def serving(self, cases: Cases, directory: Path) -> Iterator[str]:
        command = self._command("fuzzingserver", "127.0.0.1:0", cases, directory)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                line = process.stderr.readline()
                if "listening on ws://" not in line:
                    raise ComplianceError(f"kosoku did not start:\n{line}{process.stderr.read()}")
                yield line.split()[-1]
                process.communicate(timeout=GRACE)  # it writes the report, and ends
            except subprocess.TimeoutExpired as error:
                raise ComplianceError(f"kosoku did not write its report in {GRACE} s after the last case") from error
            finally:
                process.kill()

    @property
    def _program(self) -> Path:
        return self._environment / "bin" / "kosoku"

    def _command(self, mode: str, address: str, cases: Cases, directory: Path) -> list[str]:
        include = [word for pattern in cases.include for word in ("-i", pattern)]
        exclude = [word for pattern in cases.exclude for word in ("-x", pattern)]
        return [str(self._program), "-m", mode, *include, *exclude, "-o", str(directory), address]


class Autobahn:
    """The original, on Twisted. Its dependencies are pinned by itself."""

    name = "autobahn"
    title = "Autobahn|Testsuite 25.10.1"
    _environment = BUILD / "autobahn-25.10.1"

    def __init__(self, python2: str) -> None:
        self._python2 = python2

    def install(self) -> None:
        if self._program.exists():
            return
        if shutil.which(self._python2) is None:
            raise ComplianceError(
                f"Autobahn|Testsuite needs Python 2.7, and there is no {self._python2}; say where one is with --python2"
            )
        virtualenv = BUILD / "virtualenv"
        _run(sys.executable, "-m", "venv", "--clear", virtualenv)
        _run(virtualenv / "bin" / "pip", "install", "virtualenv==20.21.1")  # the last that makes them for Python 2
        _run(virtualenv / "bin" / "virtualenv", "--clear", "-p", self._python2, self._environment)
        _run(self._environment / "bin" / "pip", "install", "autobahntestsuite==25.10.1")

    def test_server(self, port: int, cases: Cases, directory: Path) -> None:
        servers = [{"agent": "peer", "url": f"ws://127.0.0.1:{port}"}]
        _run_suite(self._command("fuzzingclient", cases, directory, {"servers": servers}), directory)

    @contextmanager
    def serving(self, cases: Cases, directory: Path) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        url = f"ws://127.0.0.1:{port}"
        command = self._command("fuzzingserver", cases, directory, {"url": url})
        with (directory / LOG).open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                _wait_for(port)
                yield url
            finally:
                process.kill()  # it would serve for ever; the report is written when the client asks for it

    @property
    def _program(self) -> Path:
        return self._environment / "bin" / "wstest"

    def _command(self, mode: str, cases: Cases, directory: Path, peer: dict[str, Any]) -> list[str]:
        specification = directory / "specification.json"
        selection = {"cases": cases.include, "exclude-cases": cases.exclude, "exclude-agent-cases": {}}
        specification.write_text(json.dumps({"outdir": str(directory), **selection, **peer}))
        return [str(self._program), "--mode", mode, "--spec", str(specification), "--webport", "0"]


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise ComplianceError(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")


def _run_suite(command: list[str], directory: Path) -> None:
    # The exit status tells that a case failed; so does the report.
    with (directory / LOG).open("w") as log:
        try:
            subprocess.run(command, stdout=log, stderr=log, timeout=CASES_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ComplianceError(f"{' '.join(command)} did not finish in {CASES_SECONDS} s") from error


def _wait_for(port: int) -> None:
    """Wait until something listens on `port`."""
    end = time.monotonic() + GRACE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise ComplianceError(f"the fuzzing server did not listen on port {port} within {GRACE} s") from None
            time.sleep(0.05)

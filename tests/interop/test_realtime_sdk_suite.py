"""The test suite of the official client library for Python, from its source distribution, against our server.

The module of it that needs a server is run, test_client.py, with nothing changed but the port. All others bring a
server of their own, and say nothing about ours.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import environment

SDIST = "centrifuge_python-0.7.0"
ARCHIVE = Path(__file__).parent / "sdists" / f"{SDIST}.tar.gz"
SERVER = Path(__file__).parents[1] / "support" / "centrifugo.py"
NEEDS_A_SERVER = "require_centrifugo()"
PORT = "localhost:8000"
SECONDS = 180


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """The directory of the suite."""
    if not ARCHIVE.exists():
        pytest.skip(
            "the source distribution is not there: run `pip download --no-deps --no-binary centrifuge-python "
            "-d tests/interop/sdists centrifuge-python==0.7.0`"
        )
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / SDIST


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a server as the suite wants it."""
    with socket.create_server(("localhost", 0)) as sock:
        free: int = sock.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, SERVER, str(free)], stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        yield free
        process.terminate()


def test_the_suite_of_the_python_sdk(suite: Path, port: int) -> None:
    tests = suite / "tests"
    assert [path.name for path in tests.glob("test_*.py") if NEEDS_A_SERVER in path.read_text()] == ["test_client.py"]
    for path in tests.glob("*.py"):
        path.write_text(path.read_text().replace(PORT, f"localhost:{port}"))
    ran = subprocess.run(
        [sys.executable, "-m", "unittest", "-v", "tests.test_client"],
        cwd=suite,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-10_000:]
    summary = re.search(r"^Ran (\d+) tests.*\n\n(.*)$", ran.stderr, re.MULTILINE)
    assert summary is not None, ran.stderr[-10_000:]
    assert (int(summary[1]), summary[2]) == (62, "OK"), "none is skipped"

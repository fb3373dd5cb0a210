"""The test suite of the official client library for Python, from its source distribution, against our server.

The server is our own, or an ASGI server with `rt.asgi()`.

The module of it that needs a server is run, test_client.py, with nothing changed but the port. All others bring a
server of their own, and say nothing about ours.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import environment, free_port, wait_until_it_listens

SDIST = "centrifuge_python-0.7.0"
ARCHIVE = Path(__file__).parent / "sdists" / f"{SDIST}.tar.gz"
SERVER = Path(__file__).parents[1] / "support" / "centrifugo.py"
NEEDS_A_SERVER = "require_centrifugo()"
PORT = "localhost:8000"
SECONDS = 180
APP = "centrifugo:app"
UVICORN = ["-m", "uvicorn", APP, "--port", "{port}", "--host", "localhost"]


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


#: Commands that serve on a port: our own server, and ASGI servers.
SERVERS = {
    "trunkline": [str(SERVER), "{port}"],
    "uvicorn with trunkline": [*UVICORN, "--ws", "trunkline.uvicorn:WebSocketProtocol"],
    "uvicorn with its own class": [*UVICORN, "--ws", "websockets-sansio"],
    "uvicorn with wsproto": [*UVICORN, "--ws", "wsproto"],
    "gunicorn": ["-m", "gunicorn", APP, "--bind", "localhost:{port}", "--worker-class", "uvicorn_worker.UvicornWorker"],
    "hypercorn": ["-m", "hypercorn", APP, "--bind", "localhost:{port}"],
    "granian": ["-m", "granian", APP, "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}"],
    "daphne": ["-m", "daphne", APP, "--bind", "localhost", "--port", "{port}"],
}


@pytest.fixture(params=SERVERS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a server as the suite wants it."""
    free = free_port()
    command = [sys.executable, *(word.format(port=free) for word in SERVERS[request.param])]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=SERVER.parent, env=environment()
    ) as process:
        try:
            wait_until_it_listens(process, free)
            yield free
        finally:
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

"""The tests that uvicorn has of its own classes for WebSockets, from its source distribution, with our class."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.process import environment

SDIST = "uvicorn-0.54.0"
ARCHIVE = Path(__file__).parent / "sdists" / f"{SDIST}.tar.gz"
SECONDS = 300

#: The parameter of its fixture that we add behind its own classes.
PARAMETER = 'pytest.param("trunkline.uvicorn:WebSocketProtocol", id="trunkline"),\n    ]\n)\ndef ws_protocol_cls('
BEFORE = "]\n)\ndef ws_protocol_cls("

#: The tests that look inside another class, and at what.
LOOK_INSIDE = {
    "test_server_keepalive_ping_pong": "isinstance(protocol, (_WSProtocol, WebSocketsSansIOProtocol)), and its timer",
    "test_server_keepalive_disabled": "the same; test_ws_ping_interval_none of ours says what it is about",
    "test_close_resumes_reads_paused_on_an_unconsumed_message": "reading pauses at each message; ours counts them",
}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """The directory of the suite, without the package: the one that is installed is tested."""
    if not ARCHIVE.exists():
        pytest.skip(
            "the source distribution is not there: run `pip download --no-deps --no-binary uvicorn "
            "-d tests/interop/sdists uvicorn==0.54.0`"
        )
    with tarfile.open(ARCHIVE) as archive:
        tests = [member for member in archive if member.name.startswith((f"{SDIST}/tests/", f"{SDIST}/pyproject.toml"))]
        archive.extractall(tmp_path, tests, filter="data")
    return tmp_path / SDIST


def test_the_suite_of_uvicorn(suite: Path) -> None:
    conftest = suite / "tests" / "conftest.py"
    text = conftest.read_text()
    assert text.count(BEFORE) == 1
    conftest.write_text(text.replace(BEFORE, PARAMETER))
    chosen = f"trunkline and not zttp and not ({' or '.join(LOOK_INSIDE)})"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-k", chosen,
         "tests/protocols/test_websocket.py"],
        cwd=suite,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-10_000:]
    summary = re.search(r"(\d+) passed", ran.stdout)
    assert summary is not None
    assert int(summary[1]) == 136, "two implementations of HTTP/1.1, 68 tests each"

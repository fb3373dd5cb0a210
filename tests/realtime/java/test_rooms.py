"""The official client library for Java against our server: the scenarios of Rooms.java."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.process import environment, realtime_process

HERE = Path(__file__).parent
LIBRARIES = HERE / "lib"
SECONDS = 150


def test_the_library_for_java() -> None:
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    if not LIBRARIES.exists():
        pytest.skip(
            "the library isn't there: run `mvn -q dependency:copy-dependencies -DoutputDirectory=lib` in "
            "tests/realtime/java"
        )
    with realtime_process(HERE) as (_, url):
        ran = subprocess.run(
            ["java", "-cp", f"{LIBRARIES}/*", HERE / "Rooms.java", url],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    results = ran.stdout.splitlines()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(results) > 10, ran.stdout + ran.stderr
    assert not [result for result in results if not result.startswith("ok ")]

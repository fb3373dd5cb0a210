"""The official client library for Go against our server: the scenarios of rooms_test.go."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.process import environment, realtime_process

HERE = Path(__file__).parent
SECONDS = 300  # for compiling, too, the first time


def go() -> str:
    """The program, where it may be."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/go/bin"])
    return shutil.which("go", path=path) or pytest.skip("go is not installed")


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=HERE,
        env=environment(GOPROXY="off", GOFLAGS="-mod=readonly", GOTOOLCHAIN="local", **variables),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_the_library_for_go() -> None:
    command = go()
    there = run(command, "list", "-test", "-deps", ".")
    if there.returncode:
        pytest.skip(f"the library isn't there: run `go mod download` in tests/realtime/go ({there.stderr.strip()})")
    with realtime_process(HERE) as (_, url):
        ran = run(command, "test", "-count=1", "-parallel=32", "-v", ".", URL=url)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("--- PASS: TestRooms/") > 20

"""A few seconds of fire: no client misses anything, unless the store forgets; and then the program says so."""

import subprocess
import sys

import pytest

from tests.support.process import environment


def burn(*options: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.fire",
        "--seconds=3",
        "--clients=12",
        "--rate=100",
        "--every=1",
        "--enough=0",  # how fast it is, is not for tests to say
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment(), check=False)


@pytest.mark.parametrize("signal", ["kill", "term"])
def test_everything_once_in_order(signal: str) -> None:
    done = burn("--sdk=2", f"--signal={signal}")
    assert "12 of 12 have everything, once, in order" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_what_is_missing_is_noticed() -> None:
    done = burn("--sdk=0", "--store=memory://")
    assert "0 of 12 have everything" in done.stdout, done.stdout + done.stderr
    assert "FAULT PlainSubscriber" in done.stdout
    assert done.returncode == 1

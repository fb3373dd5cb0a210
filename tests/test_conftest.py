"""conftest.py, in a run of pytest of its own."""

import signal
import subprocess
import sys
from functools import partial

import pytest

ENDS_ON_INTERRUPT = "import signal; signal.raise_signal(signal.SIGINT)"


def interrupted(*command: str) -> int:
    """How a program ends that interrupts itself."""
    return subprocess.run([sys.executable, *command], capture_output=True, check=False).returncode


def test_programs_of_tests_end_when_they_are_interrupted() -> None:
    assert interrupted("-c", ENDS_ON_INTERRUPT) == -signal.SIGINT


@pytest.mark.skipif(sys.platform == "win32", reason="there, no program inherits what another ignores")
@pytest.mark.parametrize("workers", ["0", "1"])
def test_so_they_do_where_interrupts_are_ignored(workers: str) -> None:
    test = f"{__file__}::{test_programs_of_tests_end_when_they_are_interrupted.__name__}"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", workers, "-p", "no:cacheprovider", test],
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout

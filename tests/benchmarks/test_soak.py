import subprocess
import sys
from typing import Any

import pytest

from benchmarks.build import ROOT
from benchmarks.soak import MIB, Sample, left_behind, slope

IDLE = Sample(seconds=0, rss=40 * MIB, descriptors=9, tasks=1, objects=0, connections=0)


def test_slope_is_that_of_a_straight_line_in_bytes_per_minute() -> None:
    assert slope([IDLE._replace(seconds=60 * i, rss=IDLE.rss + i * MIB) for i in range(5)]) == pytest.approx(MIB)
    assert slope([IDLE._replace(seconds=i) for i in range(5)]) == 0


@pytest.mark.parametrize("more", [{"descriptors": 10}, {"tasks": 2}, {"objects": 1}, {"connections": 1}])
def test_one_thing_left_behind_is_a_problem(more: dict[str, Any]) -> None:
    [problem] = left_behind(IDLE, IDLE._replace(**more))
    assert problem.startswith(next(iter(more)))


def test_memory_may_grow_a_little() -> None:
    assert left_behind(IDLE, IDLE._replace(rss=IDLE.rss + 4 * MIB)) == []
    assert "memory: 40.0 MiB before, 45.0 MiB after" in left_behind(IDLE, IDLE._replace(rss=IDLE.rss + 5 * MIB))


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("options", [[], ["--tls"], ["--engine", "transports"]])
def test_a_few_seconds_with_a_few_clients(options: list[str]) -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", "0.03", "--clients", "4", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing was left behind" in done.stdout

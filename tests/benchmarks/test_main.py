import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measure import ROOT


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.usefixtures("programs")
def test_one_row_with_one_peer_and_its_report_made_again(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    options = ["echo-1x1-32", "--peers", "floor", "--rounds", "2", "--runs", "3", "--seconds", "0.05"]
    done = run(*options, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "echo-1x1-32.json").read_text())
    assert len(result["samples"]["floor/epoll"]) == 2 * 3
    assert result["failures"] == {}
    made = {name: (tmp_path / name).read_bytes() for name in ("benchmarks.md", "echo.svg")}
    for name in made:
        (tmp_path / name).unlink()
    assert run("--report", "--out", str(tmp_path)).returncode == 0
    assert {name: (tmp_path / name).read_bytes() for name in made} == made


def test_an_unknown_row_is_named() -> None:
    done = run("ehco")
    assert done.returncode == 1
    assert "no workload is named 'ehco'" in done.stderr


@pytest.mark.parametrize("option", ["--rounds", "--runs", "--seconds"])
def test_nothing_cannot_be_measured(option: str) -> None:
    done = run(option, "0")
    assert done.returncode == 2
    assert f"argument {option}: must be more than 0, got 0" in done.stderr

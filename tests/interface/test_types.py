"""Type checkers and the installed package: programs that they must accept, and lines that they must not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import trunkline

PROGRAMS = Path(__file__).parent / "programs"
PYRIGHT = Path(__file__).parents[1] / "interop/node/node_modules/.bin/pyright"
INSTALLED = str(Path(trunkline.__file__).parents[1])

Errors = dict[str, dict[int, str]]
"""Line numbers and messages, by the name of the program."""


def errors_of_mypy(directory: Path) -> Errors:
    """The errors that mypy finds in all programs, knowing the installed package alone."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=", "--cache-dir=cache"]
    environment = {}
    if "site-packages" not in INSTALLED:  # these tests run with PYTHONPATH=src
        command.append("--follow-imports=silent")
        environment["MYPYPATH"] = INSTALLED
    result = subprocess.run([*command, PROGRAMS], cwd=directory, env=environment, capture_output=True, text=True)
    assert result.returncode in (0, 1), result.stderr
    errors: Errors = {}
    for line in result.stdout.splitlines():
        path, number, kind, message = line.split(":", 3)
        if kind.strip() == "error":
            errors.setdefault(Path(path).stem, {})[int(number)] = message
    return errors


def errors_of_pyright(directory: Path) -> Errors:
    """The same of pyright, in its strict mode."""
    settings = {"include": ["programs"], "extraPaths": [INSTALLED], "typeCheckingMode": "strict"}
    shutil.copytree(PROGRAMS, directory / "programs")
    (directory / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    command = [PYRIGHT, "--outputjson", "--pythonpath", sys.executable, "--project", directory]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode in (0, 1), result.stderr
    errors: Errors = {}
    for each in json.loads(result.stdout)["generalDiagnostics"]:
        if each["severity"] == "error":
            errors.setdefault(Path(each["file"]).stem, {})[each["range"]["start"]["line"] + 1] = each["message"]
    return errors


needs_pyright = pytest.mark.skipif(not PYRIGHT.exists(), reason="for pyright, run npm install in tests/interop/node")
CHECKERS = [errors_of_mypy, pytest.param(errors_of_pyright, marks=needs_pyright)]


@pytest.mark.parametrize("check", CHECKERS)
def test_type_checkers_know_the_types_of_the_installed_package(check: Callable[[Path], Errors], tmp_path: Path) -> None:
    errors = check(tmp_path)
    mistakes = errors.pop("mistakes", {})
    assert errors == {}
    lines = (PROGRAMS / "mistakes.py").read_text(encoding="utf-8").splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if re.search(r"# wrong$", line)}
    assert set(mistakes) == wrong, mistakes

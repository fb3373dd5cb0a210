"""tools/check_mirror.py, on small trees."""

from pathlib import Path

import pytest

from tools import check_mirror


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a module that has its tests, and one without code that needs none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(check_mirror, "TESTED_BY", {})
    monkeypatch.setattr(check_mirror, "ACROSS", ())
    write(tmp_path / "src/trunkline/core/reader.py", "def read(): ...\n")
    write(tmp_path / "src/trunkline/core/names.py", "OPEN = 1\n")
    write(tmp_path / "tests/core/test_reader.py", "")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_tests_that_mirror_their_modules(tree: Path) -> None:
    assert check_mirror.check() == []


@pytest.mark.parametrize(
    "path", ["core/test_reader_limits.py", "core/reader/test_limits.py", "core/test_init.py", "test_core.py"]
)
def test_further_tests_of_a_module_or_package(tree: Path, path: str) -> None:
    write(tree / "src/trunkline/core/__init__.py", "")
    write(tree / "tests" / path, "")
    assert check_mirror.check() == []


@pytest.mark.parametrize("name", ["writer.py", "writer.pyx", "_writer.py"])
def test_a_module_without_tests(tree: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tree / "src/trunkline/core" / name, "class Writer: ...\n")
    [complaint] = check_mirror.check()
    assert complaint.startswith(f"src/trunkline/core/{name}: no tests/core/test_writer.py")
    monkeypatch.setattr(check_mirror, "TESTED_BY", {f"core/{name.partition('.')[0]}": "core/test_*.py"})
    assert check_mirror.check() == []


def test_a_test_without_a_module(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tree / "tests/core/test_gone.py", "")
    [complaint] = check_mirror.check()
    assert complaint.startswith("tests/core/test_gone.py: no module has that name")
    monkeypatch.setattr(check_mirror, "ACROSS", ("core/test_gone.py",))
    assert check_mirror.check() == []


def test_lines_that_nothing_needs(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_mirror, "TESTED_BY", {"core/reader": "core/test_none.py"})
    assert check_mirror.check() == [
        "TESTED_BY: core/reader has tests of its own, or is gone",
        "core/test_none.py: there are no such tests",
    ]

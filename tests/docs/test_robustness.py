"""The table of what holds trunkline to its robustness names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "robustness.md"
ROWS = {int(row): tests for row, tests in re.findall(r"^\| (\d+) \| .* \| (.*) \|$", PAGE.read_text(), re.MULTILINE)}
ELSEWHERE = {37, 38, 39}


def test_all_rows_are_there() -> None:
    assert list(ROWS) == list(range(1, 40))


@pytest.mark.parametrize("row", ROWS.keys() - ELSEWHERE)
def test_every_file_has_tests_of_its_row(row: int) -> None:
    files = re.findall(r"`(test_\w+\.py)`", ROWS[row])
    assert files
    for file in files:
        assert f"def test_row{row:02}_" in (ROOT / "tests" / "robustness" / file).read_text()


@pytest.mark.parametrize("row", ROWS.keys() - ELSEWHERE)
def test_no_file_is_forgotten(row: int) -> None:
    for file in (ROOT / "tests" / "robustness").glob("test_*.py"):
        assert (f"def test_row{row:02}_" in file.read_text()) == (f"`{file.name}`" in ROWS[row])


@pytest.mark.parametrize("row", sorted(ELSEWHERE))
def test_other_places_exist(row: int) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for place in re.findall(r"`([^`]+)`", ROWS[row]):
        if place.startswith("make "):
            assert f"\n{place.removeprefix('make ')}:" in makefile
        else:
            name = place.removeprefix("python -m ").replace(".", "/")
            assert (ROOT / name).is_dir() or (ROOT / f"{name}.py").exists()

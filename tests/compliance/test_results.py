from pathlib import Path

import pytest

from compliance.results import Result, load_all
from compliance.testees import TESTEES, Testee
from compliance.verdicts import Verdict

OURS = [testee for testee in TESTEES if testee.is_subject]
FOUND = [Verdict("1.1.1", "OK"), Verdict("1.1.2", "NON-STRICT"), Verdict("1.1.10", "OK")]


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    saved = Result.of_today(OURS[0], "server", "suite 1.0", FOUND)
    saved.save(tmp_path)
    (loaded,) = load_all(tmp_path)
    assert loaded == saved
    assert loaded.verdicts == FOUND


def test_results_come_in_the_order_of_the_implementations(tmp_path: Path) -> None:
    runs: list[tuple[Testee, str]] = [(testee, role) for testee in OURS for role in ("server", "client")]
    for testee, role in reversed(runs):
        Result.of_today(testee, role, "suite 1.0", FOUND).save(tmp_path)
    assert [(r.implementation, r.role) for r in load_all(tmp_path)] == [(t.name, role) for t, role in runs]


@pytest.mark.parametrize("directory", ["", "nothing"])
def test_there_may_be_none_yet(tmp_path: Path, directory: str) -> None:
    assert load_all(tmp_path / directory) == []

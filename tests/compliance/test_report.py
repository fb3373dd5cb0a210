from pathlib import Path

import pytest

import trunkline
from compliance.report import page
from compliance.results import Result
from compliance.testees import TESTEES, Testee
from compliance.verdicts import Verdict

pytest.importorskip("picows")  # the results tell the versions of all
pytest.importorskip("aiohttp")

OURS, THEIRS = TESTEES[0], next(testee for testee in TESTEES if not testee.is_subject)


def save(directory: Path, testee: Testee, role: str, **behaviours: str) -> None:
    """Save a result, with cases like `c1_1_2="OK"`."""
    verdicts = [Verdict(case.removeprefix("c").replace("_", "."), behaviour) for case, behaviour in behaviours.items()]
    Result.of_today(testee, role, "suite 1.0", verdicts).save(directory)


def table_of(text: str, role: str) -> list[list[str]]:
    lines = text.split(f"### As a {role}\n\n")[1].split("\n\n")[0].splitlines()
    return [line.strip("| ").split(" | ") for line in lines]


def test_groups_make_lines_and_implementations_columns(tmp_path: Path) -> None:
    save(tmp_path / "kosoku", OURS, "server", c1_1_1="OK", c1_1_2="OK", c3_1="OK", c3_2="NON-STRICT")
    save(tmp_path / "kosoku", THEIRS, "client", c1_1_1="FAILED")
    text = page(tmp_path)
    head, _, framing, _, bits, *_ = table_of(text, "server")
    assert head[:2] == ["group", "trunkline<br>reactor<br>compiled"]
    assert framing[:3] == ["1 Framing", "2 OK", "–"]
    assert bits[:2] == ["3 Reserved bits", "1 OK<br>1 NON-STRICT"]
    assert table_of(text, "client")[2][1 + TESTEES.index(THEIRS)] == "1 FAILED"
    assert f"* `{OURS.name}` as a server: NON-STRICT 3.2\n" in text
    assert f"* `{THEIRS.name}` as a client: FAILED 1.1.1\n" in text
    assert "says otherwise" not in text


def test_the_original_suite_is_heard_where_it_differs(tmp_path: Path) -> None:
    for suite, behaviour in (("kosoku", "NON-STRICT"), ("autobahn", "OK")):
        save(tmp_path / suite, OURS, "server", c3_2="OK", c3_4=behaviour)
        save(tmp_path / suite, OURS, "client", c3_2="OK")
    differences = page(tmp_path).split("says otherwise than kosoku:\n")[1]
    assert f"* `{OURS.name}` as a server: OK 3.4\n" in differences
    assert f"* `{OURS.name}` as a client: nothing\n" in differences


def test_a_new_run_replaces_only_its_part(tmp_path: Path) -> None:
    for role in ("server", "client"):
        save(tmp_path / "kosoku", OURS, role, c1_1_1="FAILED")
    save(tmp_path / "kosoku", OURS, "client", c1_1_1="OK")
    text = page(tmp_path)
    assert table_of(text, "server")[2][1] == "1 FAILED"
    assert table_of(text, "client")[2][1] == "1 OK"


def test_the_page_tells_what_was_tested(tmp_path: Path) -> None:
    save(tmp_path / "kosoku", OURS, "server", c1_1_1="OK")
    save(tmp_path / "kosoku", OURS, "client", c1_1_1="OK")
    (line,) = page(tmp_path).split("### What was tested, and when\n\n")[1].splitlines()
    assert line.startswith(f"* `{OURS.name}` as a server and a client: trunkline {trunkline.__version__} on CPython 3.")
    assert ", by suite 1.0, 20" in line

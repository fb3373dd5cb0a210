import json
from pathlib import Path

import pytest

from compliance.testees import ComplianceError
from compliance.verdicts import Verdict, completed, describe, faults, list_cases, read_verdicts
from tests.compliance.reports import write_report


def test_cases_are_ordered_by_number(tmp_path: Path) -> None:
    write_report(tmp_path, c10_1_1="OK", c2_10="OK", c2_9="OK")
    verdicts = read_verdicts(tmp_path)
    assert verdicts == [Verdict("2.9", "OK"), Verdict("2.10", "OK"), Verdict("10.1.1", "OK")]
    assert [verdict.group for verdict in verdicts] == [2, 2, 10]


@pytest.mark.parametrize(
    ("behaviours", "verdict"),
    [
        ("OK", "OK"),
        ("NON-STRICT", "NON-STRICT"),
        ("INFORMATIONAL, INFORMATIONAL", "INFORMATIONAL"),
        ("OK, UNCLEAN", "FAILED"),
        ("OK, WRONG CODE", "FAILED"),
        ("OK, FAILED BY CLIENT", "FAILED"),
        ("NON-STRICT, INFORMATIONAL", "NON-STRICT"),
        ("FAILED, INFORMATIONAL", "FAILED"),
    ],
)
def test_the_worse_of_exchange_and_end_counts(tmp_path: Path, behaviours: str, verdict: str) -> None:
    write_report(tmp_path, c7_1_1=behaviours)
    assert read_verdicts(tmp_path) == [Verdict("7.1.1", verdict)]


@pytest.mark.parametrize("content", [None, "", "{}", '{"one": {}, "other": {}}'])
def test_no_report_of_one_peer_is_an_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    with pytest.raises(ComplianceError, match=r"no report of one peer in .*; see the logs there"):
        read_verdicts(tmp_path)


def test_what_the_suite_could_not_run_another_one_completes(tmp_path: Path) -> None:
    write_report(tmp_path, c12_1_1="ERROR, FAILED", c12_1_3="OK")
    index = tmp_path / "index.json"
    cases = json.loads(index.read_text())["peer"]
    errors = {"12.1.1": cases.pop("12.1.1"), "12.1.2": {"behavior": "ERROR", "behaviorClose": "FAILED"}}
    index.write_text(json.dumps({"127.0.0.1:1": errors, "peer": cases}))  # as kosoku does it
    verdicts = read_verdicts(tmp_path)
    assert verdicts == [Verdict("12.1.1", "NOT RUN"), Verdict("12.1.2", "NOT RUN"), Verdict("12.1.3", "OK")]
    assert faults(verdicts) == verdicts[:2]
    rest = [Verdict("12.1.1", "OK"), Verdict("12.1.3", "FAILED")]
    assert completed(verdicts, rest) == [rest[0], *verdicts[1:]]


VERDICTS = [
    Verdict("3.2", "FAILED"),
    Verdict("3.3", "NON-STRICT"),
    Verdict("5.15", "NON-STRICT"),
    Verdict("6.1.1", "OK"),
    Verdict("7.1.6", "INFORMATIONAL"),
    Verdict("9.1.1", "UNIMPLEMENTED"),
    Verdict("12.1.1", "UNIMPLEMENTED"),
    Verdict("13.1.1", "FAILED"),
]


def test_summary_counts_from_best_to_worst() -> None:
    assert describe(VERDICTS) == "1 OK, 1 INFORMATIONAL, 2 NON-STRICT, 2 UNIMPLEMENTED, 2 FAILED"


def test_faults_are_neither_ok_nor_informational() -> None:
    assert list_cases(faults(VERDICTS)) == "NON-STRICT 3.3 5.15; UNIMPLEMENTED 9.1.1 12.1.1; FAILED 3.2 13.1.1"

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from compliance import __main__ as program
from compliance.suites import Cases
from compliance.testees import ComplianceError, Testee
from tests.compliance.reports import write_report


class FoundSuite:
    """A suite that finds what it is told to, without looking."""

    name = "found"
    title = "Found"

    def __init__(self, **behaviours: str) -> None:
        self.behaviours = behaviours
        self.cases: list[Cases] = []

    def install(self) -> None:
        pass

    def test_server(self, port: int, cases: Cases, directory: Path) -> None:
        self.cases.append(cases)
        write_report(directory, **self.behaviours)

    @contextmanager
    def serving(self, cases: Cases, directory: Path) -> Iterator[str]:
        self.cases.append(cases)
        yield "ws://127.0.0.1:1"
        write_report(directory, **self.behaviours)


@pytest.fixture(autouse=True)
def _no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def serving(self: Testee, log: Path) -> Iterator[int]:
        yield 1

    monkeypatch.setattr(Testee, "serving", serving)
    monkeypatch.setattr(Testee, "run_client", lambda self, url, log: None)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "Judge":
    return Judge(monkeypatch, tmp_path)


class Judge:
    """Runs the program on a suite that finds what the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.monkeypatch = monkeypatch
        self.directory = directory
        self.rest: FoundSuite | None = None

    def __call__(self, suite: FoundSuite, *words: str) -> bool:
        self.monkeypatch.setattr(program, "Kosoku", lambda: suite)
        self.monkeypatch.setattr(program, "available", lambda suite: self.rest)
        self.monkeypatch.setattr(program, "REPORTS", self.directory)
        self.monkeypatch.setattr(program, "RESULTS", self.directory / "results")
        return program.judge_all(program.parse(["--jobs", "1", *words]))


@pytest.mark.parametrize(
    ("behaviour", "conforms"),
    [
        ("OK", True),
        ("INFORMATIONAL", True),
        ("NON-STRICT", False),
        ("UNIMPLEMENTED", False),
        ("FAILED", False),
        ("OK, UNCLEAN", False),
    ],
)
def test_trunkline_has_to_be_perfect(judged: Judge, behaviour: str, conforms: bool) -> None:
    assert judged(FoundSuite(c12_1_1=behaviour), "--only", "trunkline/*") is conforms


def test_others_need_not(judged: Judge, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(FoundSuite(c3_2="FAILED", c3_3="OK"), "--only", "aiohttp")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[::2]] == [["aiohttp", "server"], ["aiohttp", "client"]]
    assert all(line.endswith(" s  1 OK, 1 FAILED") for line in lines[::2])
    assert lines[1] == lines[3] == "    FAILED 3.2"


def test_the_original_runs_what_kosoku_cannot(judged: Judge, capsys: pytest.CaptureFixture[str]) -> None:
    kosoku = FoundSuite(c12_1_1="ERROR, FAILED", c12_1_3="OK")
    assert not judged(kosoku, "--only", "trunkline/reactor/*")
    assert "NOT RUN 12.1.1" in capsys.readouterr().out
    judged.rest = FoundSuite(c12_1_1="OK")
    assert judged(kosoku, "--only", "trunkline/reactor/*")
    assert judged.rest.cases == [Cases(("12.1.1",))] * 2


def test_what_does_not_finish_does_not_conform(
    judged: Judge, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(self: Testee, url: str, log: Path) -> None:
        raise ComplianceError("it fell over")

    monkeypatch.setattr(Testee, "run_client", fail)
    assert not judged(FoundSuite(c1_1_1="OK"), "--only", "trunkline/reactor/*")
    assert capsys.readouterr().out.endswith("did not finish\n    it fell over\n")


def test_a_report_of_earlier_is_not_taken_for_one_of_now(judged: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = FoundSuite(c1_1_1="OK")
    assert judged(suite, "--only", "trunkline/reactor/*")
    monkeypatch.setattr(FoundSuite, "test_server", lambda self, port, cases, directory: None)
    assert not judged(suite, "--only", "trunkline/reactor/*")


@pytest.mark.parametrize(
    ("words", "cases", "partial"),
    [
        ([], Cases(), False),
        (["--only", "aiohttp"], Cases(), False),
        (["--cases", "1.*,6.4.*"], Cases(("1.*", "6.4.*")), True),
        (["--quick"], Cases(("*",), program.SLOW), True),
    ],
)
def test_only_runs_of_all_cases_make_the_page(
    judged: Judge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], cases: Cases, partial: bool
) -> None:
    suite = FoundSuite(c1_1_1="OK")
    written = tmp_path / "page.md"
    monkeypatch.setattr(program, "PAGE", written)
    monkeypatch.setattr(program.sys, "argv", ["compliance", *words])
    judged(suite, *words)
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code is None
    assert set(suite.cases) == {cases}
    assert written.exists() is not partial
    assert (tmp_path / "partial" / "found").exists() is partial
    assert (tmp_path / "results" / "found").exists() is not partial


def test_an_unknown_implementation_ends_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program.sys, "argv", ["compliance", "--only", "nobody"])
    with pytest.raises(SystemExit, match="compliance: no implementation is named 'nobody'"):
        program.main()


def test_the_original_suite_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("compliance.suites.Autobahn._environment", tmp_path)
    arguments = program.parse(["--suite", "autobahn", "--python2", "no-such-python"])
    with pytest.raises(ComplianceError, match=r"needs Python 2\.7, and there is no no-such-python; .* --python2"):
        program.judge_all(arguments)

"""The command line: `python -m compliance`."""

import argparse
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from compliance.report import PAGE, page
from compliance.results import RESULTS, ROLES, Result
from compliance.suites import Autobahn, Cases, Kosoku, Suite
from compliance.testees import ComplianceError, Testee, choose
from compliance.verdicts import NOT_RUN, Verdict, completed, describe, faults, list_cases, read_verdicts

REPORTS = Path(__file__).parent / "reports"
#: The cases that take the most time: compressed messages, but for 256 bytes to 8 KiB; and those that kosoku can't run.
SLOW = ("12.2.3", "12.5.*", *(f"{group}.*.{number}" for group in (12, 13) for number in (1, 2, *range(7, 19))))


def main() -> None:
    arguments = parse(sys.argv[1:])
    try:
        conforms = judge_all(arguments)
        if not arguments.partial:
            PAGE.write_text(page(RESULTS))
    except ComplianceError as error:
        sys.exit(f"compliance: {error}")
    sys.exit(None if conforms else f"compliance: trunkline does not conform; the reports are in {arguments.reports}")


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m compliance", description="Autobahn|Testsuite, in both roles.")
    parser.add_argument("--only", type=names, metavar="NAMES", help="implementations: 'trunkline/*,websockets'")
    parser.add_argument("--cases", type=names, default=["*"], help="cases to run: '1.*,6.4.*'")
    parser.add_argument("--quick", action="store_true", help="without most cases of compression")
    parser.add_argument("--suite", choices=("kosoku", "autobahn"), default="kosoku", help="default: %(default)s")
    parser.add_argument("--python2", default=find_python2(), help="for Autobahn|Testsuite (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time (default: one per core)")
    arguments = parser.parse_args(words)
    arguments.partial = arguments.quick or arguments.cases != ["*"]  # the page tells about all cases
    arguments.reports = REPORTS / "partial" if arguments.partial else REPORTS
    return arguments


def find_python2() -> str:
    """A Python 2.7 that pyenv has, or the one on the path."""
    candidates = sorted(Path.home().glob(".pyenv/versions/2.7*/bin/python2.7"))
    return str(candidates[-1]) if candidates else "python2.7"


def names(words: str) -> list[str]:
    return words.split(",")


def judge_all(arguments: argparse.Namespace) -> bool:
    """Test every implementation in both roles; return whether trunkline is without fault."""
    testees = choose(arguments.only)
    suite = Autobahn(arguments.python2) if arguments.suite == "autobahn" else Kosoku()
    cases = Cases(tuple(arguments.cases), SLOW if arguments.quick else ())
    suite.install()
    arguments.rest = None if suite.name == Autobahn.name or arguments.quick else available(Autobahn(arguments.python2))
    with ThreadPoolExecutor(arguments.jobs) as pool:
        judged = [
            (testee, pool.submit(judge, suite, testee, role, cases, arguments)) for testee in testees for role in ROLES
        ]
    return not any(fault.result() for testee, fault in judged if testee.is_subject)


def available(suite: Suite) -> Suite | None:
    """The suite, installed, or None if it can't be."""
    try:
        suite.install()
    except ComplianceError as error:
        print(f"what kosoku can't run stays open: {error}", flush=True)
        return None
    return suite


def judge(suite: Suite, testee: Testee, role: str, cases: Cases, arguments: argparse.Namespace) -> str:
    """Test one implementation in one role, print what was found, and return what must not be, or ""."""
    start = time.monotonic()
    try:
        verdicts = run(suite, testee, role, cases, arguments.reports / suite.name / testee.name / role)
        missing = tuple(verdict.case for verdict in verdicts if verdict.behaviour == NOT_RUN)
        if missing and arguments.rest is not None:
            directory = arguments.reports / "rest" / testee.name / role
            verdicts = completed(verdicts, run(arguments.rest, testee, role, Cases(missing), directory))
        if not arguments.partial:
            Result.of_today(testee, role, suite.title, verdicts).save(RESULTS / suite.name)
        summary, fault = describe(verdicts), list_cases(faults(verdicts))
    except ComplianceError as error:
        summary, fault = "did not finish", str(error)
    line = f"{testee.name:32} {role}  {time.monotonic() - start:4.0f} s  {summary}"
    print("\n    ".join([line, fault] if fault else [line]), flush=True)
    return fault


def run(suite: Suite, testee: Testee, role: str, cases: Cases, directory: Path) -> list[Verdict]:
    """Run the cases; reports and logs go to `directory`."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    if role == "server":
        with testee.serving(directory / "peer.log") as port:
            suite.test_server(port, cases, directory)
    else:
        with suite.serving(cases, directory) as url:
            testee.run_client(url, directory / "peer.log")
    return read_verdicts(directory)


if __name__ == "__main__":
    main()

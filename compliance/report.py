"""The page of results, docs/explanation/conformance.md, made from the reports of complete runs."""

import datetime
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import trunkline
from compliance.suites import Autobahn, Kosoku
from compliance.testees import ROOT, TESTEES, Testee
from compliance.verdicts import GROUPS, INDEX, Verdict, completed, describe, faults, list_cases, read_verdicts

PAGE = ROOT / "docs" / "explanation" / "conformance.md"
ROLES = ("server", "client")
NOT_RUN = "–"
REST = "rest"
"""Where the reports are of the cases that kosoku could not run, and the original did."""

Results = dict[tuple[str, str], list[Verdict]]
"""By name of the implementation and role; what did not run, or did not finish, is not there."""

INTRODUCTION = (Path(__file__).parent / "introduction.md").read_text()


def directory_of(reports: Path, suite: str, testee: Testee, role: str) -> Path:
    """Where the report of a run goes."""
    return reports / suite / testee.name / role


def page(reports: Path) -> str:
    """The page, as Markdown."""
    rest = read_all(reports, REST)
    kosoku = {key: completed(found, rest.get(key, [])) for key, found in read_all(reports, Kosoku.name).items()}
    autobahn = read_all(reports, Autobahn.name)
    sections = [INTRODUCTION, *results_of(Kosoku.title, kosoku), *differences(kosoku, autobahn)]
    return "\n".join(sections)


def read_all(reports: Path, suite: str) -> Results:
    directories = {(t.name, role): directory_of(reports, suite, t, role) for t in TESTEES for role in ROLES}
    return {key: read_verdicts(directory) for key, directory in directories.items() if (directory / INDEX).exists()}


def results_of(title: str, results: Results) -> Iterator[str]:
    yield f"## Results\n\n{environment(title)}\n"
    for role in ROLES:
        yield f"### As a {role}\n\n{table(results, role)}\n"
    yield f"### What is not OK\n\n{exceptions(results)}\n"


def environment(title: str) -> str:
    others = ", ".join(f"{t.distribution} {version(t.distribution)}" for t in TESTEES if not t.is_subject)
    python = f"{platform.python_implementation()} {platform.python_version()} with its own event loop"
    today = datetime.date.today().isoformat()
    return f"{title}, {today}: trunkline {trunkline.__version__}, {others}, on {python}, {platform.system()}."


def table(results: Results, role: str) -> str:
    """A line per group, a column per implementation; a number alone says that all cases are OK."""
    lines = [["group", *(testee.name.replace("/", "<br>") for testee in TESTEES)]]
    lines.append(["---"] * len(lines[0]))
    for group, title in GROUPS.items():
        lines.append([f"{group} {title}", *(cell(results.get((t.name, role), []), group) for t in TESTEES)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(verdicts: list[Verdict], group: int) -> str:
    return describe([verdict for verdict in verdicts if verdict.group == group]).replace(", ", "<br>") or NOT_RUN


def exceptions(results: Results) -> str:
    found = [(key, list_cases(faults(verdicts))) for key, verdicts in results.items()]
    return "\n".join(f"* `{name}` as a {role}: {cases or 'nothing'}" for (name, role), cases in found)


def differences(kosoku: Results, autobahn: Results) -> Iterator[str]:
    """Where the original suite judges otherwise."""
    if not autobahn:
        return
    yield f"## {Autobahn.title}\n"
    yield "What the original says otherwise than kosoku:\n"
    for key in sorted(kosoku.keys() & autobahn.keys()):
        before = set(kosoku[key])
        yield f"* `{key[0]}` as a {key[1]}: {list_cases([v for v in autobahn[key] if v not in before]) or 'nothing'}"
    yield ""

"""The page of results, docs/explanation/compliance.md, made from what complete runs found."""

from collections.abc import Iterator
from pathlib import Path

from compliance.results import ROLES, Result, load_all
from compliance.suites import Autobahn, Kosoku
from compliance.testees import ROOT, TESTEES
from compliance.verdicts import GROUPS, Verdict, describe, faults, list_cases

PAGE = ROOT / "docs" / "explanation" / "compliance.md"
NOT_RUN = "–"

Verdicts = dict[tuple[str, str], list[Verdict]]
"""By name of the implementation and role; what did not run, or did not finish, is not there."""

INTRODUCTION = (Path(__file__).parent / "introduction.md").read_text()


def page(results: Path) -> str:
    """The page, as Markdown, made of the results in the directory."""
    kosoku = load_all(results / Kosoku.name)
    autobahn = load_all(results / Autobahn.name)
    sections = [INTRODUCTION, *results_of(kosoku), *differences(verdicts_of(kosoku), verdicts_of(autobahn))]
    return "\n".join(sections)


def verdicts_of(results: list[Result]) -> Verdicts:
    return {(result.implementation, result.role): result.verdicts for result in results}


def results_of(results: list[Result]) -> Iterator[str]:
    verdicts = verdicts_of(results)
    yield "## Results\n"
    for role in ROLES:
        yield f"### As a {role}\n\n{table(verdicts, role)}\n"
    yield f"### What is not OK\n\n{exceptions(verdicts)}\n"
    yield f"### What was tested, and when\n\n{runs(results)}\n"


def table(verdicts: Verdicts, role: str) -> str:
    """A line per group, a column per implementation."""
    lines = [["group", *(testee.name.replace("/", "<br>") for testee in TESTEES)]]
    lines.append(["---"] * len(lines[0]))
    for group, title in GROUPS.items():
        lines.append([f"{group} {title}", *(cell(verdicts.get((t.name, role), []), group) for t in TESTEES)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(verdicts: list[Verdict], group: int) -> str:
    return describe([verdict for verdict in verdicts if verdict.group == group]).replace(", ", "<br>") or NOT_RUN


def exceptions(verdicts: Verdicts) -> str:
    pairs = [(key, list_cases(faults(of_one))) for key, of_one in verdicts.items()]
    return "\n".join(f"* `{name}` as a {role}: {cases or 'nothing'}" for (name, role), cases in pairs)


def runs(results: list[Result]) -> str:
    """The times and commands of the runs; roles that were run alike stand together."""
    roles_by_line: dict[str, list[str]] = {}
    for run in results:
        line = f"* `{run.implementation}` as a {{}}: {run.version} on {run.python}, by {run.suite}, {run.date}"
        roles_by_line.setdefault(line, []).append(run.role)
    return "\n".join(line.format(" and a ".join(roles)) for line, roles in roles_by_line.items())


def differences(kosoku: Verdicts, autobahn: Verdicts) -> Iterator[str]:
    """Where the original suite judges otherwise."""
    if not autobahn:
        return
    yield f"## {Autobahn.title}\n"
    yield "What the original says otherwise than kosoku:\n"
    for key in sorted(kosoku.keys() & autobahn.keys()):
        before = set(kosoku[key])
        yield f"* `{key[0]}` as a {key[1]}: {list_cases([v for v in autobahn[key] if v not in before]) or 'nothing'}"
    yield ""

"""The table, as Markdown."""

from itertools import groupby

from benchmarks.environment import Environment
from benchmarks.peers import TRUNKLINE
from benchmarks.results import Cost, Result, Verdict, judge
from benchmarks.workloads import BARS, Bar, Workload

Results = list[tuple[Workload, Result]]

INTRODUCTION = """\
# Benchmarks

Remade by `make bench`; the rounds behind each figure are in the JSON files beside this page.

CPU time is that of the process under test, alone on one core, user and kernel mode together; the other side of the
connections is C code on another core. Peers take turns, round by round; a figure is the median of the rounds, and the
range is from the lowest round to the highest. permessage-deflate is off, TCP_NODELAY on. `n x m` means n connections
with m messages in flight on each.
"""


def markdown(results: Results) -> str:
    """The whole page.

    Raises:
        ValueError: there are no results.
    """
    if not results:
        raise ValueError("there are no results to report; run `python -m benchmarks` first")
    parts = [INTRODUCTION, _environments(results), bars(results)]
    for group, members in groupby(results, key=lambda pair: pair[0].group):
        parts.append(f"## {group}\n")
        parts += [_workload(workload, result) for workload, result in members]
    return "\n".join(parts)


def _environments(results: Results) -> str:
    """Where the rows were measured: one paragraph for each session that some of them come from."""
    sessions: dict[str, list[str]] = {}
    for workload, result in results:
        sessions.setdefault(_environment(result.environment), []).append(f"`{workload.name}`")
    if len(sessions) == 1:
        return "".join(f"{environment}.\n" for environment in sessions)
    return "\n".join(f"{environment}: {', '.join(rows)}.\n" for environment, rows in sessions.items())


def _environment(environment: Environment) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in environment["versions"].items())
    return (
        f"{environment['date']}, {environment['python']}, {versions} (trunkline at commit {environment['commit']}, "
        f"its core {environment['core']}), {environment['kernel']}, {environment['cpu']}, "
        f"load average {environment['load_average']:.2f} before the session"
    )


def bars(results: Results) -> str:
    """The table of what trunkline has to clear, and whether it does."""
    subjects = [peer.label for peer in TRUNKLINE]
    lines = ["## Bars\n", *_head(["Workload", "Against", "At most", *subjects], "llr" + "r" * len(subjects))]
    for bar in BARS:
        verdicts = [_verdict(bar, judge(bar, peer, results)) for peer in TRUNKLINE]
        against = bar.peer.label if bar.peer else "bytes per connection"
        lines.append(_row([f"`{bar.workload}`", against, f"{bar.limit:,}", *verdicts]))
    return "\n".join(lines) + "\n"


def _verdict(bar: Bar, verdict: Verdict) -> str:
    if verdict.value is None:
        return "not measured"
    return f"{three_digits(verdict.value)} {'pass' if verdict.passed else '**fail**'}"


def _workload(workload: Workload, result: Result) -> str:
    unit = "Memory (bytes)" if workload.metric == "rss" else "CPU (µs)"
    head = ["Peer", f"{unit} per {workload.counts}", "Range", "Against trunkline/asyncio"]
    if workload.metric == "cpu":
        head.append("Per CPU second")
    lines = [f"### {workload.title} (`{workload.name}`)\n", *_head(head, "l" + "r" * (len(head) - 1))]
    costs = {peer.label: result.cost(peer.label, workload.metric) for peer in workload.peers}
    measured = {label: cost for label, cost in costs.items() if cost}
    reference = measured.get(TRUNKLINE[0].label)
    for label, cost in sorted(measured.items(), key=lambda item: item[1].median):
        lines.append(_row(_cells(workload, label, cost, reference)))
    failures = [f"\n{label} failed: `{why}`" for label, why in result.failures.items()]
    return "\n".join(lines + failures) + "\n"


def _cells(workload: Workload, label: str, cost: Cost, reference: Cost | None) -> list[str]:
    name = f"**{label}**" if any(peer.label == label for peer in TRUNKLINE) else label
    ratio = f"{three_digits(cost.median / reference.median)} x" if reference else ""
    cells = [name, three_digits(cost.median), f"{three_digits(cost.low)} to {three_digits(cost.high)}", ratio]
    return [*cells, f"{1e6 / cost.median:,.0f}"] if workload.metric == "cpu" else cells


def three_digits(value: float) -> str:
    """A figure as people compare it: 0.268, 3.82, 19.3, 441, 1,081."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _head(cells: list[str], alignment: str) -> list[str]:
    return [_row(cells), _row(["---:" if side == "r" else "---" for side in alignment])]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"

"""The table, as Markdown."""

from benchmarks.environment import Environment
from benchmarks.peers import BOTH, TRUNKLINE
from benchmarks.results import Cost, Result, Verdict, judge
from benchmarks.workloads import BARS, Bar, Workload

COLUMNS = (*BOTH, "threads", "trio")
Results = list[tuple[Workload, Result]]

INTRODUCTION = """\
# Benchmarks

This page shows the CPU time of a message, beside other libraries and beside C. `make bench` measures all of it in one
session and writes this page. `benchmarks/README.md` says how, and `benchmarks/results` holds every run.

CPU time is that of the process under test, alone on one core, user and kernel mode together. The other side of the
connections is C code on another core, which checks every byte of every answer. Peers take turns, run by run. A figure
is the median of the runs, and the range is from the lowest run to the highest. Compression is off unless the row names
permessage-deflate; TCP_NODELAY is on. `n x m` means n connections with m messages in flight on each.

*floor* is C code that does only what it must. *picows* has callbacks instead of coroutines, *picows.websockets*
has coroutines on top of them. *trunkline (interpreted)* is the build without extension modules, masking with numpy.
*trunkline (transports)* runs on the event loop's transports instead of its own. *aiofastnet* is asyncio with the
transports of that package.
"""


def markdown(results: Results, plots: str) -> str:
    """The whole page. `plots` is where the plots are, as a path from the page.

    Raises:
        ValueError: there are no results.
    """
    if not results:
        raise ValueError("there are no results to report; run `python -m benchmarks` first")
    parts = [INTRODUCTION, bars(results), _environments(results)]
    for group, rows in grouped(results).items():
        parts.append(f"## {group}\n\n![{group}: cost of each peer]({plots}/{file_name(group)})\n")
        parts += [_workload(workload, result) for workload, result in rows]
    return "\n".join(parts)


def grouped(results: Results) -> dict[str, Results]:
    """The rows of each table and plot."""
    groups: dict[str, Results] = {}
    for workload, result in results:
        groups.setdefault(workload.group, []).append((workload, result))
    return groups


def file_name(group: str) -> str:
    """Of the plot of a group: `fan-out.svg`."""
    return f"{group.lower().replace(' ', '-')}.svg"


def _environments(results: Results) -> str:
    """Where the rows were measured: one paragraph for each session that some of them come from."""
    heading = "## Where and when\n\n"
    sessions: dict[str, list[str]] = {}
    for workload, result in results:
        sessions.setdefault(_environment(result.environment), []).append(f"`{workload.name}`")
    if len(sessions) == 1:
        return heading + "".join(f"{environment}.\n" for environment in sessions)
    return heading + "\n".join(f"{environment}: {', '.join(rows)}.\n" for environment, rows in sessions.items())


def _environment(environment: Environment) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in environment["versions"].items())
    return (
        f"`{environment['command']}` on {environment['date']}, {environment['python']}, {versions}. "
        f"trunkline was at commit {environment['commit']}, its core {environment['core']}. "
        f"The machine had {environment['kernel']}, {environment['cpu']}, "
        f"and a load average of {environment['load_average']:.2f} before the session"
    )


def bars(results: Results) -> str:
    """The table of what trunkline has to clear, and whether it does."""
    loops = [f"on {loop}" for loop in COLUMNS]
    lines = ["## Bars\n", *_head(["Workload", "Against", "At most", *loops], "llr" + "r" * len(loops))]
    for bar in BARS:
        subjects = {peer.loop: peer for peer in bar.subjects}
        verdicts = [_verdict(judge(bar, subjects[loop], results)) if loop in subjects else "" for loop in COLUMNS]
        variant = f" ({bar.subjects[0].variant})" if bar.subjects[0].variant else ""
        lines.append(_row([f"`{bar.workload}`{variant}", _yardstick(bar), f"{bar.limit:,}", *verdicts]))
    return "\n".join(lines) + "\n"


def _yardstick(bar: Bar) -> str:
    if bar.yardstick is None:
        return "bytes per connection"
    return f"`{bar.yardstick}`" if isinstance(bar.yardstick, str) else bar.yardstick.label


def _verdict(verdict: Verdict) -> str:
    if verdict.value is None:
        return "not measured"
    return f"{three_digits(verdict.value)} {'pass' if verdict.passed else '**miss**'}"


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
    name = f"**{label}**" if label.startswith("trunkline") else label
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

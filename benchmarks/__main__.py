"""The command line: `python -m benchmarks`."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from benchmarks import plots, report, session
from benchmarks.build import BUILD, HERE, ROOT, BuildError, build
from benchmarks.measure import allow_many_files, choose_cores
from benchmarks.results import load_all
from benchmarks.workloads import WORKLOADS, check_peers, choose

RESULTS = HERE / "results"
PAGE = ROOT / "docs" / "explanation" / "benchmarks.md"
PLOTS = ROOT / "docs" / "images" / "benchmarks"
SCRATCH = BUILD / "results"


def main() -> None:
    arguments = parse(sys.argv[1:])
    if arguments.list:
        for workload in WORKLOADS:
            print(f"{workload.name:22} {'' if workload.headline else '(--all)':8} {workload.group}: {workload.title}")
        return
    try:
        if not arguments.report:
            measure_all(arguments)
        write_report(arguments)
    except (BuildError, ValueError) as error:
        sys.exit(f"benchmarks: {error}")


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure trunkline beside its peers. A full run writes benchmarks/results, and the page of the "
        "docs with its plots; a partial or quick one writes benchmarks/build/results.",
    )
    parser.add_argument("rows", nargs="*", help="workloads: by name, with wildcards, or by how names begin (echo)")
    parser.add_argument("--all", action="store_true", help="every shape and size, not only the headline ones")
    parser.add_argument("--quick", action="store_true", help="2 runs of 0.2 seconds, for a first impression")
    parser.add_argument("--peers", type=names, help="libraries or labels: trunkline,picows/uvloop")
    parser.add_argument("--rounds", type=positive(int), default=2, help="how often each peer is started (default: 2)")
    parser.add_argument("--runs", type=positive(int), default=5, help="measured runs in each round (default: 5)")
    parser.add_argument("--seconds", type=positive(float), default=0.3, help="length of a measured run (default: 0.3)")
    parser.add_argument("--out", type=Path, help="another directory for everything that is written")
    parser.add_argument("--report", action="store_true", help="remake the page and the plots without measuring")
    parser.add_argument("--list", action="store_true", help="show the names of the workloads")
    arguments = parser.parse_args(words)
    if arguments.quick:
        arguments.rounds, arguments.runs, arguments.seconds = 1, 2, 0.2
    return arguments


def names(words: str) -> list[str]:
    return words.split(",")


def positive(number: type[int] | type[float]) -> Callable[[str], int | float]:
    def parse_positive(word: str) -> int | float:
        value = number(word)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"must be more than 0, got {word}")
        return value

    return parse_positive


def measure_all(arguments: argparse.Namespace) -> None:
    workloads = choose(arguments.rows, arguments.all)
    check_peers(arguments.peers)
    cores = choose_cores()
    build()
    allow_many_files()
    os.sched_setaffinity(0, {cores["load"]})  # leave the other core to the process under test
    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    directory = results_directory(arguments)
    how_long = arguments.rounds, arguments.runs, arguments.seconds
    session.run(session.Plan(command, workloads, arguments.peers, *how_long, cores, directory))


def is_partial(arguments: argparse.Namespace) -> bool:
    """Whether this is a run whose figures shall not replace those that are published."""
    return bool(arguments.quick or arguments.peers or arguments.rows)


def results_directory(arguments: argparse.Namespace) -> Path:
    return arguments.out or (SCRATCH if is_partial(arguments) else RESULTS)


def write_report(arguments: argparse.Namespace) -> None:
    directory = results_directory(arguments)
    page, plots_directory = (PAGE, PLOTS) if directory == RESULTS else (directory / "benchmarks.md", directory)
    results = load_all(directory)
    page.write_text(report.markdown(results, os.path.relpath(plots_directory, page.parent)))
    plots.plot_all(results, plots_directory)
    console = Console()
    console.print(Markdown(report.bars(results)))
    console.print(f"The whole page is {page}, the plots are in {plots_directory}.")


if __name__ == "__main__":
    main()

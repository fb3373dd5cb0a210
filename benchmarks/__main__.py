"""The command line: `python -m benchmarks`."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from benchmarks import plots, report, session
from benchmarks.build import HERE, BuildError, build
from benchmarks.measure import allow_many_files, choose_cores
from benchmarks.results import load_all
from benchmarks.workloads import WORKLOADS, check_peers, choose


def main() -> None:
    arguments = parse(sys.argv[1:])
    if arguments.list:
        for workload in WORKLOADS:
            print(f"{workload.name:22} {'' if workload.headline else '(--all)':8} {workload.group}: {workload.title}")
        return
    try:
        if not arguments.report:
            measure_all(arguments)
        write_report(arguments.out)
    except (BuildError, ValueError) as error:
        sys.exit(f"benchmarks: {error}")


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure trunkline beside its peers.")
    parser.add_argument("--only", type=names, metavar="ROWS", help="workloads, with wildcards: echo-64x1-*,connect")
    parser.add_argument("--all", action="store_true", help="every shape and size of echo, not only the headline ones")
    parser.add_argument("--peers", type=names, help="libraries or labels: trunkline,picows/uvloop")
    parser.add_argument("--rounds", type=positive(int), default=5, help="how often each peer is measured (default: 5)")
    parser.add_argument("--seconds", type=positive(float), default=1.0, help="length of a measured run (default: 1)")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where results go (default: %(default)s)")
    parser.add_argument("--report", action="store_true", help="remake the table and the plots without measuring")
    parser.add_argument("--list", action="store_true", help="show the names of the workloads")
    return parser.parse_args(words)


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
    workloads = choose(arguments.only, arguments.all)
    check_peers(arguments.peers)
    cores = choose_cores()
    build()
    allow_many_files()
    os.sched_setaffinity(0, {cores["load"]})  # leave the other core to the process under test
    session.run(session.Plan(workloads, arguments.peers, arguments.rounds, arguments.seconds, cores, arguments.out))


def write_report(directory: Path) -> None:
    results = load_all(directory)
    table = directory / "table.md"
    table.write_text(report.markdown(results))
    plots.plot_all(results, directory)
    console = Console()
    console.print(Markdown(report.bars(results)))
    console.print(f"The whole table is in {table}, the plots are beside it.")


if __name__ == "__main__":
    main()

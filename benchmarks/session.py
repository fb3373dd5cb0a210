"""A session: every workload, every peer, round by round."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.environment import describe
from benchmarks.measure import Cores, MeasurementError, measure
from benchmarks.peers import Peer, selected
from benchmarks.results import Result
from benchmarks.workloads import Workload


@dataclass(frozen=True)
class Plan:
    """What the session is asked for."""

    command: str
    """How it was asked for, to stand beside the results."""
    workloads: list[Workload]
    peers: list[str] | None
    """Libraries or labels; None for all."""
    rounds: int
    seconds: float
    """Length of a measured run."""
    cores: Cores
    directory: Path
    """Where the results go."""

    def rounds_of(self, workload: Workload) -> int:
        return min(self.rounds, workload.rounds or self.rounds)

    def peers_of(self, workload: Workload) -> list[Peer]:
        return [peer for peer in workload.peers if selected(peer, self.peers)]


def run(plan: Plan) -> None:
    """Measure, and save each workload's result once it is complete."""
    environment = describe(plan.command, plan.cores)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        total = sum(plan.rounds_of(workload) * len(plan.peers_of(workload)) for workload in plan.workloads)
        task = progress.add_task("", total=total)
        for workload in plan.workloads:
            result = Result(workload.name, environment)
            rounds = plan.rounds_of(workload)
            for number, peer in _turns(plan.peers_of(workload), rounds):
                description = f"{workload.name:21} {peer.label:31} round {number + 1}/{rounds}"
                progress.update(task, description=description)
                _take(result, workload, peer, plan)
                progress.advance(task)
            result.save(plan.directory)


def _turns(peers: list[Peer], rounds: int) -> Iterator[tuple[int, Peer]]:
    """Peers take turns, and each round begins with another one: a slow minute of the machine hits them all."""
    for number in range(rounds):
        first = number % len(peers) if peers else 0
        yield from ((number, peer) for peer in peers[first:] + peers[:first])


def _take(result: Result, workload: Workload, peer: Peer, plan: Plan) -> None:
    """Add a sample; a peer that fails once is not asked again."""
    if peer.label in result.failures:
        return
    try:
        sample = measure(workload, peer, plan.seconds, plan.cores)
    except MeasurementError as error:
        result.failures[peer.label] = str(error)
    else:
        result.samples.setdefault(peer.label, []).append(sample)

"""A session: every workload, every peer, round by round."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.environment import describe
from benchmarks.measure import Cores, MeasurementError, Trial
from benchmarks.peers import Peer, selected
from benchmarks.results import Result
from benchmarks.workloads import Workload

LONGEST_ROUND = 25
"""Seconds; connections that nobody reads between two runs are dropped by the keepalive of their servers in the end."""


@dataclass(frozen=True)
class Plan:
    """What the session is asked for."""

    command: str
    """How it was asked for, to stand beside the results."""
    workloads: list[Workload]
    peers: list[str] | None
    """Libraries or labels; None for all."""
    rounds: int
    """How often the processes of each peer are started."""
    runs: int
    """How often each of them is measured then, in turn with those of the other peers."""
    seconds: float
    """Length of a measured run."""
    cores: Cores
    directory: Path
    """Where the results go."""

    def rounds_of(self, workload: Workload) -> int:
        return min(self.rounds, workload.rounds or self.rounds)

    def runs_of(self, workload: Workload) -> int:
        return self.runs if workload.amount is None else 1

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
            rounds, peers = plan.rounds_of(workload), plan.peers_of(workload)
            for number in range(rounds):
                progress.update(task, description=f"{workload.name:21} round {number + 1}/{rounds}")
                _make_round(result, workload, _rotated(peers, number), plan)
                progress.advance(task, len(peers))
            result.save(plan.directory)


def _rotated(peers: list[Peer], number: int) -> list[Peer]:
    """Each round begins with another peer."""
    first = number % len(peers) if peers else 0
    return peers[first:] + peers[:first]


def _make_round(result: Result, workload: Workload, peers: list[Peer], plan: Plan) -> None:
    """Start all peers, then measure them in turn: a slow second of the machine hits them all.

    Where memory is measured, one after the other: the connections of all of them would be too many.
    """
    together = workload.amount is None
    groups = [peers] if together else [[peer] for peer in peers]
    for group in groups:
        started = time.monotonic()
        with ExitStack() as stack:
            trials = [(peer, trial) for peer in group if (trial := _start(result, workload, peer, plan, stack))]
            for _ in range(plan.runs_of(workload)):
                if time.monotonic() - started > LONGEST_ROUND:
                    break
                for peer, trial in trials:
                    _take(result, peer, trial, plan)


def _start(result: Result, workload: Workload, peer: Peer, plan: Plan, stack: ExitStack) -> Trial | None:
    """None for a peer that fails, or failed before: it is not asked again."""
    if peer.label in result.failures:
        return None
    try:
        return stack.enter_context(Trial(workload, peer, plan.cores))
    except MeasurementError as error:
        result.failures[peer.label] = str(error)
        return None


def _take(result: Result, peer: Peer, trial: Trial, plan: Plan) -> None:
    """Add a sample."""
    if peer.label in result.failures:
        return
    try:
        sample = trial.run(plan.seconds)
    except MeasurementError as error:
        result.failures[peer.label] = str(error)
    else:
        result.samples.setdefault(peer.label, []).append(sample)

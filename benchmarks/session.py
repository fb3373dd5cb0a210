"""A session: every workload, every peer, round by round."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.environment import describe
from benchmarks.measure import Cores, MeasurementError, Trial, start
from benchmarks.peers import Peer, selected
from benchmarks.results import Result
from benchmarks.workloads import Workload

LONGEST_ROUND = 25
"""Seconds; connections that nobody reads between two runs are dropped by the keepalive of their servers in the end."""


@dataclass(frozen=True)
class Plan:
    """The arguments of the session."""

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
    if workload.amount is None:
        _take_turns(result, workload, peers, plan, plan.runs)
    else:
        for peer in peers:
            _take_turns(result, workload, [peer], plan, 1)


def _take_turns(result: Result, workload: Workload, peers: list[Peer], plan: Plan, runs: int) -> None:
    """Start some peers and add samples of each; one that fails, or failed before, is not asked again."""
    started = time.monotonic()
    trials: dict[Peer, Trial] = {}
    with ExitStack() as stack:
        for peer in _in_play(result, peers):
            with _noted(result, peer):
                trials[peer] = stack.enter_context(start(workload, peer, plan.cores))
        for _ in range(runs):
            if time.monotonic() - started > LONGEST_ROUND:
                break
            for peer in _in_play(result, trials):
                with _noted(result, peer):
                    sample = trials[peer].run(plan.seconds)
                    result.samples.setdefault(peer.label, []).append(sample)


def _in_play(result: Result, peers: Iterable[Peer]) -> list[Peer]:
    return [peer for peer in peers if peer.label not in result.failures]


@contextmanager
def _noted(result: Result, peer: Peer) -> Iterator[None]:
    """Keep why a peer failed, and go on with the others."""
    try:
        yield
    except MeasurementError as error:
        result.failures[peer.label] = str(error)

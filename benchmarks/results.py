"""Results of a session: one JSON file per workload, with every run, and the figures drawn from it."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Self

from benchmarks.environment import Environment
from benchmarks.measure import Sample
from benchmarks.peers import Peer
from benchmarks.workloads import WORKLOADS, Bar, Metric, Workload


@dataclass(frozen=True)
class Cost:
    """Microseconds of CPU time, or bytes of memory, per message over the runs."""

    median: float
    low: float
    high: float


@dataclass
class Result:
    """The runs of one workload. Peers are named by their labels."""

    workload: str
    environment: Environment
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """Why a peer has no samples."""

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{self.workload}.json").write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        return cls(**json.loads(path.read_text()))

    def cost(self, label: str, metric: Metric) -> Cost | None:
        """None if the peer was not measured or failed."""
        if label in self.failures or not self.samples.get(label):
            return None
        costs = [cost_of(sample, metric) for sample in self.samples[label]]
        return Cost(median(costs), min(costs), max(costs))


@dataclass(frozen=True)
class Verdict:
    """How trunkline stands against a bar."""

    value: float | None
    """The ratio of the medians, or the median itself if the bar is absolute; None if one of them is missing."""
    passed: bool | None


def load_all(directory: Path) -> list[tuple[Workload, Result]]:
    """The results in a directory, in the order of the table of workloads."""
    paths = ((workload, directory / f"{workload.name}.json") for workload in WORKLOADS)
    return [(workload, Result.load(path)) for workload, path in paths if path.exists()]


def cost_of(sample: Sample, metric: Metric) -> float:
    if metric == "rss":
        return sample["rss_bytes"] / sample["messages"]
    return sample["cpu_ns"] / 1000 / sample["messages"]


def judge(bar: Bar, subject: Peer, results: Iterable[tuple[Workload, Result]]) -> Verdict:
    costs = {workload.name: (workload, result) for workload, result in results}
    cost = _cost(costs.get(bar.workload), subject)
    if bar.yardstick is None:
        yardstick = 1.0
    elif isinstance(bar.yardstick, str):
        yardstick = _cost(costs.get(bar.yardstick), subject)
    else:
        yardstick = _cost(costs.get(bar.workload), bar.yardstick)
    if cost is None or yardstick is None:
        return Verdict(None, None)
    return Verdict(cost / yardstick, cost / yardstick <= bar.limit)


def _cost(row: tuple[Workload, Result] | None, peer: Peer) -> float | None:
    cost = None if row is None else row[1].cost(peer.label, row[0].metric)
    return None if cost is None else cost.median

"""Results made by hand."""

from benchmarks.environment import Environment
from benchmarks.measure import Cores, Sample
from benchmarks.results import Result

ENVIRONMENT = Environment(
    command="python -m benchmarks",
    date="2026-01-02T03:04:05+00:00",
    python="CPython 3.11.7",
    versions={"trunkline": "1.0", "websockets": "17.4"},
    commit="abc1234",
    core="compiled",
    kernel="Linux 6.1",
    cpu="2 x a processor",
    cores=Cores(subject=0, load=1),
    load_average=0.25,
)


def sample(cpu_us: float, messages: int = 1000, rss_bytes: int = 0) -> Sample:
    """A run whose messages cost `cpu_us` each."""
    return Sample(
        messages=messages,
        seconds=1.0,
        cpu_ns=round(cpu_us * 1000 * messages),
        rss_bytes=rss_bytes,
        p50_us=None,
        p99_us=None,
    )


def result(workload: str, **costs: list[float]) -> Result:
    """Keys are labels with `__` for the slash; values are the cost of a message in each round, in microseconds."""
    samples = {label.replace("__", "/"): [sample(cost) for cost in rounds] for label, rounds in costs.items()}
    return Result(workload, ENVIRONMENT, samples)

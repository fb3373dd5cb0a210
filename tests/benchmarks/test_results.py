from pathlib import Path

import pytest

from benchmarks.peers import FLOOR_PEER, TRUNKLINE
from benchmarks.results import Cost, Result, Verdict, cost_of, judge, load_all
from benchmarks.workloads import WORKLOADS, Bar, choose
from tests.benchmarks.samples import ENVIRONMENT, result, sample

SUBJECT = TRUNKLINE[0]
BAR = Bar("echo-64x1-32", FLOOR_PEER, 1.5)
[ECHO] = choose(["echo-64x1-32"])
[IDLE] = choose(["idle-10000"])


def test_cost_of_cpu_is_in_microseconds_per_message() -> None:
    assert cost_of(sample(4.5, messages=200), "cpu") == 4.5


def test_cost_of_memory_is_in_bytes_per_connection() -> None:
    assert cost_of(sample(1, messages=100, rss_bytes=409_600), "rss") == 4096


def test_cost_is_the_median_and_range_of_the_rounds() -> None:
    echo = result("echo-64x1-32", floor__epoll=[9, 4, 5])
    assert echo.cost("floor/epoll", "cpu") == Cost(median=5, low=4, high=9)


def test_peers_that_were_not_measured_or_failed_midway_have_no_cost() -> None:
    echo = result("echo-64x1-32", floor__epoll=[5])
    echo.failures["floor/epoll"] = "crashed in the second round"
    assert echo.cost("floor/epoll", "cpu") is None
    assert echo.cost("websockets/uvloop", "cpu") is None


@pytest.mark.parametrize(("ours", "verdict"), [(6, Verdict(1.5, True)), (6.4, Verdict(1.6, False))])
def test_bars_compare_medians(ours: float, verdict: Verdict) -> None:
    echo = result("echo-64x1-32", floor__epoll=[3, 4, 100], trunkline__asyncio=[ours, 1, 50])
    assert judge(BAR, SUBJECT, [(ECHO, echo)]) == verdict


@pytest.mark.parametrize(("growth", "passed"), [(4096, True), (4097, False)])
def test_absolute_bars_have_no_yardstick(growth: int, passed: bool) -> None:
    idle = Result("idle-10000", ENVIRONMENT, {SUBJECT.label: [sample(1, messages=1, rss_bytes=growth)]})
    assert judge(Bar("idle-10000", None, 4096), SUBJECT, [(IDLE, idle)]) == Verdict(growth, passed)


def test_bars_may_compare_a_peer_with_itself_in_another_workload() -> None:
    costs = zip(choose(["deflate-fanout-*", "plain-fanout-*"]), (6, 4), strict=True)
    rows = [(workload, result(workload.name, trunkline__asyncio=[cost])) for workload, cost in costs]
    bar = Bar("deflate-fanout-1000", "plain-fanout-1000", 1.3)
    assert judge(bar, SUBJECT, rows) == Verdict(1.5, False)


@pytest.mark.parametrize("measured", [{"floor__epoll": [4.0]}, {"trunkline__asyncio": [4.0]}, {}])
def test_bars_are_not_judged_without_both_sides(measured: dict[str, list[float]]) -> None:
    echo = result("echo-64x1-32", **measured)
    assert judge(BAR, SUBJECT, [(ECHO, echo)]) == Verdict(None, None)


def test_bars_are_not_judged_without_their_workload() -> None:
    assert judge(BAR, SUBJECT, []) == Verdict(None, None)


def test_results_come_back_from_their_files_in_the_order_of_the_table(tmp_path: Path) -> None:
    saved = [result(workload.name, floor__epoll=[4.5]) for workload in (WORKLOADS[2], WORKLOADS[0])]
    saved[0].failures["aiohttp/uvloop"] = "No module named 'aiohttp'"
    for each in saved:
        each.save(tmp_path)
    assert load_all(tmp_path) == [(WORKLOADS[0], saved[1]), (WORKLOADS[2], saved[0])]

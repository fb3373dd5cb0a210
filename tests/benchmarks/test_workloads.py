import pytest

from benchmarks.workloads import BARS, WORKLOADS, Bar, check_peers, choose


def test_names_are_unique() -> None:
    names = [workload.name for workload in WORKLOADS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("bar", BARS, ids=lambda bar: f"{bar.workload}-{bar.yardstick}")
def test_bars_are_measured_by_default(bar: Bar) -> None:
    [workload] = choose([bar.workload])
    assert workload.headline
    assert set(bar.subjects) <= set(workload.peers)
    if isinstance(bar.yardstick, str):
        [yardstick] = choose([bar.yardstick])
        assert yardstick.headline
        assert set(bar.subjects) <= set(yardstick.peers)
    else:
        assert bar.yardstick is None or bar.yardstick in workload.peers


def test_choose_takes_wildcards_and_keeps_the_order_of_the_table() -> None:
    chosen = choose(["client-*", "echo-64x1-32*"])
    assert [workload.name for workload in chosen] == ["echo-64x1-32", "echo-64x1-32-text", "client-1", "client-16"]


def test_choose_by_how_names_begin() -> None:
    chosen = choose(["echo"])
    assert chosen == [workload for workload in WORKLOADS if workload.group == "Echo" and workload.headline]
    assert len(choose(["echo"], every=True)) > len(chosen)


def test_choose_everything() -> None:
    assert choose([], every=True) == list(WORKLOADS)
    assert set(choose([])) < set(WORKLOADS)


def test_choose_tells_which_pattern_matches_nothing() -> None:
    with pytest.raises(ValueError, match="'ehco-1x1-32'"):
        choose(["echo-1x1-32", "ehco-1x1-32"])


def test_peers_go_by_library_or_label() -> None:
    check_peers(None)
    check_peers(["trunkline", "picows/uvloop"])
    with pytest.raises(ValueError, match="no peer is named 'pikows'; there are floor/epoll, picows/asyncio"):
        check_peers(["trunkline", "pikows"])

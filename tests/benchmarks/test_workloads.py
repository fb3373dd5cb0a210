import pytest

from benchmarks.workloads import BARS, WORKLOADS, Bar, check_peers, choose


def test_names_are_unique() -> None:
    names = [workload.name for workload in WORKLOADS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("bar", BARS, ids=lambda bar: f"{bar.workload}-{bar.peer.label if bar.peer else 'absolute'}")
def test_bars_are_measured_by_default(bar: Bar) -> None:
    [workload] = choose([bar.workload])
    assert workload.headline
    assert bar.peer is None or bar.peer in workload.peers


def test_choose_takes_wildcards_and_keeps_the_order_of_the_table() -> None:
    chosen = choose(["client-*", "echo-64x1-32*"])
    assert [workload.name for workload in chosen] == ["echo-64x1-32", "echo-64x1-32-text", "client-1", "client-16"]


def test_choose_everything() -> None:
    assert choose(None, every=True) == list(WORKLOADS)
    assert set(choose(None)) < set(WORKLOADS)


def test_choose_tells_which_pattern_matches_nothing() -> None:
    with pytest.raises(ValueError, match="'ehco-1x1-32'"):
        choose(["echo-1x1-32", "ehco-1x1-32"])


def test_peers_go_by_library_or_label() -> None:
    check_peers(None)
    check_peers(["trunkline", "picows/uvloop"])
    with pytest.raises(ValueError, match="no peer is named 'pikows'; there are floor/epoll, trunkline/asyncio"):
        check_peers(["trunkline", "pikows"])

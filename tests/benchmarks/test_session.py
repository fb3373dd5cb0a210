from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import session
from benchmarks.measure import choose_cores
from benchmarks.peers import FLOOR_PEER, Peer
from benchmarks.results import Result
from benchmarks.workloads import Workload, choose

pytestmark = pytest.mark.usefixtures("programs")


def run(workload: Workload, directory: Path) -> Result:
    session.run(session.Plan("test", [workload], None, 2, 3, 0.01, choose_cores(), directory))
    return Result.load(directory / f"{workload.name}.json")


def test_peers_are_measured_in_turn_and_one_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    [workload] = choose(["deflate-echo-64x1"])
    compresses = Peer("websockets", "asyncio")
    small = replace(workload, peers=(FLOOR_PEER, compresses), arguments=("2", "1", "400", "1"), warm_up=0.01)
    result = run(small, tmp_path)
    assert list(result.failures) == [FLOOR_PEER.label]
    assert "permessage-deflate" in result.failures[FLOOR_PEER.label]
    assert [len(samples) for samples in result.samples.values()] == [2 * 3]


def test_connections_are_not_left_alone_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "LONGEST_ROUND", -1)
    [workload] = choose(["echo-1x1-32"])
    result = run(replace(workload, peers=(FLOOR_PEER,), warm_up=0.01), tmp_path)
    assert result.samples == {}
    assert result.failures == {}

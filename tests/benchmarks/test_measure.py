import sys
from dataclasses import replace

import pytest

from benchmarks.measure import MeasurementError, Process, Sample, choose_cores, start
from benchmarks.peers import FLOOR_PEER, INTERPRETED, Peer
from benchmarks.workloads import Workload, choose

pytestmark = pytest.mark.usefixtures("programs")
[ECHO] = choose(["echo-16x16-32"])
[CLIENT] = choose(["client-16"])


def measure(workload: Workload, peer: Peer) -> Sample:
    with start(workload, peer, choose_cores()) as trial:
        return trial.run(0.05)


def python(program: str) -> Process:
    return Process([sys.executable, "-c", program], choose_cores()["subject"])


def test_echo_with_the_floor_server() -> None:
    workload = replace(ECHO, warm_up=0.01)
    sample = measure(workload, FLOOR_PEER)
    assert sample["messages"] >= 16 * 16
    assert sample["cpu_ns"] > 0
    assert sample["p50_us"] is not None
    assert sample["p99_us"] is not None
    assert 0 < sample["p50_us"] <= sample["p99_us"]


@pytest.mark.parametrize("name", ["connect", "echo-4x1-1m-text"])
def test_other_loads_with_the_floor_server(name: str) -> None:
    [workload] = choose([name])
    sample = measure(replace(workload, warm_up=0.01), FLOOR_PEER)
    assert sample["messages"] > 0


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("tls-echo-64x1-32", ("2", "1", "32", "2")),
        ("deflate-echo-64x1", ("2", "1", "400", "1")),
        ("deflate-fanout-1000", ("5", "400")),
        ("fanout-1000-broadcast", ("5", "100")),
        ("idle-10000", ("32",)),
        ("idle-10000-deflate", ("400",)),
        ("idle-1000-tls", ("32",)),
    ],
)
def test_loads_with_a_python_server(name: str, arguments: tuple[str, ...]) -> None:
    [workload] = choose([name])
    amount = workload.amount and 10
    small = replace(workload, arguments=arguments, warm_up=0.01 if amount is None else 1, amount=amount)
    sample = measure(small, Peer("websockets", "asyncio"))
    assert sample["messages"] == 10 if amount else sample["messages"] > 0


def test_a_server_that_does_not_compress_is_found_out() -> None:
    [workload] = choose(["deflate-echo-64x1"])
    with pytest.raises(MeasurementError, match="did not agree on permessage-deflate"):
        measure(workload, FLOOR_PEER)


def test_the_interpreted_build_is_what_it_says() -> None:
    peer = INTERPRETED[0]
    program = "import trunkline.core.reader as reader; print('file', reader.__file__, flush=True); input()"
    with Process([sys.executable, "-c", program], choose_cores()["subject"], peer.environment) as process:
        assert process.expect("file").endswith("src/trunkline/core/reader.py")


def test_a_client_against_the_floor_server() -> None:
    workload = replace(CLIENT, warm_up=0.01)
    sample = measure(workload, Peer("websockets", "asyncio"))
    assert sample["messages"] >= 16
    assert sample["cpu_ns"] > 0


def test_a_process_that_dies_is_quoted() -> None:
    with python("raise SystemExit('no room left')") as process, pytest.raises(MeasurementError, match="no room left"):
        process.expect("ready")


def test_a_process_that_says_something_else_is_quoted() -> None:
    with python("print('hello')") as process, pytest.raises(MeasurementError, match="expected 'ready', got 'hello'"):
        process.expect("ready")


def test_a_process_that_says_nothing_is_not_waited_for_forever() -> None:
    with python("input()") as process, pytest.raises(MeasurementError, match="no answer in time"):
        process.expect("ready", patience=0)


def test_a_process_stays_on_its_core() -> None:
    core = choose_cores()["load"]
    program = "input(); import os; print('done', list(os.sched_getaffinity(0)))"
    with Process([sys.executable, "-c", program], core) as process:
        assert process.run(0) == [core]


def test_cpu_clock_counts_threads_that_have_ended() -> None:
    program = """
import json, threading, time
def work():
    sum(range(1_000_000))
    spent["thread_ns"] = time.thread_time_ns()
spent, thread = {}, threading.Thread(target=work)
print("up", flush=True)
input()
thread.start()
thread.join()
print("done", json.dumps(spent), flush=True)
input()
"""
    with python(program) as process:
        process.expect("up")
        process.settle()
        before = process.cpu_ns()
        spent = process.run(0)
        assert process.cpu_ns() - before >= spent["thread_ns"]

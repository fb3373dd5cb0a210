"""Handlers that share threads; the conformance suite runs over them, too."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.threads import echo, eventually
from trunkline.sync.client import connect
from trunkline.sync.fibers import Condition, Event, FiberThreads, Lock
from trunkline.sync.server import Server, serve


@contextlib.contextmanager
def running(handler: Callable[[Any], None], threads: int) -> Iterator[Server]:
    with serve(handler, "127.0.0.1", 0, threads=threads) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
    thread.join()


def client(server: Server) -> Any:
    return connect(f"ws://127.0.0.1:{server.socket.getsockname()[1]}", legacy=True, proxy=None)


def handler_threads() -> int:
    return sum(thread.name == "trunkline handler" for thread in threading.enumerate())


def test_many_connections_on_few_threads() -> None:
    with running(echo, threads=3) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client(server)) for _ in range(60)]
        assert handler_threads() == 3
        for number, websocket in enumerate(clients):
            websocket.send(str(number))
        assert [websocket.recv(10) for websocket in clients] == [str(number) for number in range(60)]
        for websocket in clients[1:]:
            websocket.close()
        eventually(lambda: handler_threads() == 1)
    eventually(lambda: handler_threads() == 0)


def test_large_messages_and_handlers_that_wait_for_each_other() -> None:
    """One fiber waits for a peer that doesn't read, while others on its thread have their turns."""
    connections: list[Any] = []

    def handler(websocket: Any) -> None:
        connections.append(websocket)
        for message in websocket:
            for other in connections:
                other.send(message)

    with running(handler, threads=1) as server, client(server) as slow, client(server) as quick:
        message = bytes(1 << 19)
        for _ in range(20):
            quick.send(message)
        received = [slow.recv(10) for _ in range(20)]
        assert received == [message] * 20
        assert [quick.recv(10) for _ in range(20)] == [message] * 20


def test_waiting_for_a_pong_lets_others_run() -> None:
    latencies: list[float] = []

    def handler(websocket: Any) -> None:
        assert websocket.ping().wait(10)
        latencies.append(websocket.latency)

    with running(handler, threads=1) as server, client(server) as one, client(server) as two:
        for websocket in (one, two):
            assert list(websocket) == []
    assert len(latencies) == 2


def test_clients_within_handlers() -> None:
    """A handler may be a client of its own server, on its own thread."""

    def handler(websocket: Any) -> None:
        for message in websocket:
            if message == "ask":
                with client(server) as other:
                    other.send("the other one")
                    message = other.recv(timeout=10)
            websocket.send(message)

    with running(handler, threads=1) as server, client(server) as websocket:
        websocket.send("ask")
        assert websocket.recv(10) == "the other one"


def test_timeouts() -> None:
    def handler(websocket: Any) -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                websocket.recv(timeout=0.01)
        websocket.send("enough")

    with running(handler, threads=1) as server, client(server) as one, client(server) as two:
        assert [one.recv(10), two.recv(10)] == ["enough", "enough"]


@pytest.mark.parametrize("seconds", [30 * 86400, math.inf])
def test_timeouts_may_be_of_any_length(seconds: float) -> None:
    def handler(websocket: Any) -> None:
        websocket.send(websocket.recv(timeout=seconds))
        assert websocket.ping().wait(seconds)
        websocket.send("pong")

    with running(handler, threads=1) as server, client(server) as one, client(server) as two:
        for websocket in (two, one):
            websocket.send("a")
            assert websocket.recv(10) == "a"
            assert websocket.recv(10) == "pong"


def test_a_handler_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    def handler(websocket: Any) -> None:
        raise LookupError("not here")

    with running(handler, threads=1) as server, client(server) as websocket:
        assert list_until_closed(websocket) == 1011
    assert "connection handler failed" in caplog.text


def list_until_closed(websocket: Any) -> int:
    websocket.wait_closed(10)
    return websocket.close_code


def test_what_kills_a_thread_kills_a_fiber(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    threads = FiberThreads(1)
    threads.start(sys.exit, 3)
    done = threading.Event()
    threads.start(done.set)
    assert done.wait(10)
    eventually(lambda: handler_threads() == 0)
    assert seen[0].exc_type is SystemExit


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_must_be_some(threads: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        serve(echo, "127.0.0.1", 0, threads=threads)


# Primitives to wait with


def in_fibers(*functions: Callable[[], object]) -> None:
    """Run functions in fibers on one thread, and wait for all of them."""
    threads, ended = FiberThreads(1), [threading.Event() for _ in functions]

    def run(function: Callable[[], object], end: threading.Event) -> None:
        try:
            function()
        finally:
            end.set()

    for function, end in zip(functions, ended, strict=True):
        threads.start(run, function, end)
    assert all(end.wait(10) for end in ended)


def test_a_lock_between_fibers() -> None:
    lock, order = Lock(), []

    def first() -> None:
        with lock:
            order.append("first")
            Event().wait(0.05)
            assert not lock.acquire(blocking=False)
            order.append("still first")

    def second() -> None:
        with lock:
            order.append("second")

    in_fibers(first, second, second)
    assert order == ["first", "still first", "second", "second"]


def test_a_lock_between_a_fiber_and_a_thread() -> None:
    lock, taken = Lock(), threading.Event()

    def fiber() -> None:
        with lock:
            taken.set()

    with lock:
        threads = FiberThreads(1)
        threads.start(fiber)
        assert not taken.wait(0.05)
    assert taken.wait(10)
    with lock:
        pass


def test_a_condition_wakes_fibers_and_threads() -> None:
    lock = threading.Lock()
    condition, woken, waiting = Condition(lock), [], threading.Semaphore(0)

    def wait() -> None:
        with lock:
            waiting.release()
            woken.append(condition.wait(10))

    thread = threading.Thread(target=wait)
    thread.start()
    threads = FiberThreads(1)
    threads.start(wait)
    for _ in range(2):
        assert waiting.acquire(timeout=10)
    with lock:
        condition.notify_all()
    thread.join()
    eventually(lambda: woken == [True, True])


def test_an_event_in_a_fiber() -> None:
    event, results = Event(), []
    in_fibers(lambda: results.append(event.wait(0.01)))
    in_fibers(lambda: results.append(event.wait(10)), event.set)
    in_fibers(lambda: results.append(event.wait()))
    assert results == [False, True, True]

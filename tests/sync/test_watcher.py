"""The thread that watches connections: it reads for those from which no thread receives, and for no others."""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.raw import PONG, TEXT, encode_frame
from tests.support.threads import client_of_raw_server, echo, eventually, in_thread, served
from trunkline.sync.carrier import SocketCarrier
from trunkline.sync.client import connect
from trunkline.sync.watcher import SPARE_TIMERS, Watcher, watcher


def test_there_is_one() -> None:
    with client_of_raw_server() as (one, _), client_of_raw_server() as (two, _):
        assert one.carrier.watcher is two.carrier.watcher is watcher()
    assert [thread.name for thread in threading.enumerate()].count("trunkline watcher") == 1


def test_watches_who_does_not_receive() -> None:
    with client_of_raw_server() as (ws, peer):
        peer.send(encode_frame(TEXT, b"tea", mask=None))
        eventually(lambda: len(ws.session.inbox) == 1)
        assert ws.recv(timeout=0) == "tea"


def test_leaves_who_receives_alone() -> None:
    with client_of_raw_server() as (ws, peer):
        eventually(lambda: ws.carrier.watched)
        receiving = in_thread(ws.recv)
        eventually(lambda: ws.carrier.reading)
        peer.send(encode_frame(TEXT, b"te", fin=False, mask=None))
        eventually(lambda: not ws.carrier.watched)
        peer.send(encode_frame(0, b"a", mask=None))
        assert receiving.result() == "tea"
        eventually(lambda: ws.carrier.watched)  # again, as no thread receives now


def test_sleeps_when_there_is_nothing_to_do() -> None:
    with client_of_raw_server(ping_interval=None) as (ws, _):
        eventually(lambda: ws.carrier.watched and not ws.carrier.noted)
        eventually(lambda: not watcher().recent and watcher().wakes_at > 0)


@pytest.mark.parametrize("seconds", [30 * 86400, math.inf])
def test_deadlines_may_be_far_away(seconds: float) -> None:
    """Its system call can't wait for a month: it waits for a day, again and again."""
    idle: Any = SimpleNamespace(lock=threading.RLock(), timers=[], recent=set(), requests=deque(), next_round=0.0)
    assert Watcher._pause(idle) is None
    idle.timers.append((monotonic() + seconds, 0, []))
    assert Watcher._pause(idle) in (86400, None)


def test_timers_that_are_no_longer_needed_take_no_memory() -> None:
    """Connections that last a moment, with keepalive pings once a month."""
    with client_of_raw_server(ping_interval=None) as (ws, _):
        before = len(watcher().timers)
        kept = watcher().schedule(ws.carrier, monotonic() + 30 * 86400)
        for _ in range(10_000):
            watcher().schedule(ws.carrier, monotonic() + 30 * 86400)()
        assert len(watcher().timers) <= 2 * (before + 1 + SPARE_TIMERS) + 1
        assert any(box for _, _, box in watcher().timers)
        kept()


def test_survives_an_error(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    with client_of_raw_server() as (broken, peer), client_of_raw_server() as (ws, other):

        def fail(self: SocketCarrier, events: int) -> None:
            if self is broken.carrier:
                raise RuntimeError("mine")
            on_ready(self, events)

        on_ready = SocketCarrier.on_ready
        monkeypatch.setattr(SocketCarrier, "on_ready", fail)
        eventually(lambda: broken.carrier.watched and ws.carrier.watched)
        peer.send(encode_frame(TEXT, b"x", mask=None))
        eventually(lambda: "unexpected internal error" in caplog.text)
        monkeypatch.undo()
        event = ws.ping(b"x")
        other.send(encode_frame(PONG, b"x", mask=None))
        assert event.wait(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_its_own() -> None:
    with served(echo) as uri, connect(uri):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with connect(uri) as ws:
                    ws.send("tea")
                    code = 0 if ws.recv(timeout=10) == "tea" and ws.ping().wait(10) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

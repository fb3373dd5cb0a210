"""The future that stands for the task that sends pings."""

from __future__ import annotations

import asyncio

from tests.support.memory import connected
from tests.support.raw import PING
from trunkline.asyncio.keepalive import Keepalive
from trunkline.core.session import Session, Side
from trunkline.testing import memory


def open_session(ping_interval: float | None) -> Session:
    session = Session(Side.CLIENT, ping_interval=ping_interval, ping_timeout=2.0)
    session.open(0.0)
    return session


def test_it_ends_with_the_connection() -> None:
    session = open_session(1.0)
    task = Keepalive(session)
    assert not task.done()
    session.on_deadline(1.0)
    assert not task.done()  # the pong is due
    session.close(1000, "", 1.5)
    assert task.done()


def test_cancel() -> None:
    session = open_session(1.0)
    task = Keepalive(session)
    task.set_name("pings")
    assert task.get_name()
    assert task.cancel()
    assert task.done()
    assert session.deadline() is None
    assert not task.cancel()


def test_programs_change_the_interval_by_starting_it_again() -> None:
    async def main() -> None:
        ws, transport = connected()
        assert ws.keepalive_task is None
        ws.ping_interval = 20.0
        ws.start_keepalive()
        assert ws.keepalive_task is not None
        ws.keepalive_task.cancel()
        ws.ping_interval = 5.0
        ws.start_keepalive()
        await asyncio.sleep(6.0)
        assert [frame.opcode for frame in transport.take()] == [PING]
        assert not ws.keepalive_task.done()
        ws.keepalive_task.cancel()
        await asyncio.sleep(60.0)
        assert transport.take() == []
        ws.connection_lost(None)
        assert ws.keepalive_task is None

    memory.run(main())

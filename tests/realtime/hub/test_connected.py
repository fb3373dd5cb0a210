from typing import Any

import pytest

from tests.support.rooms import Node, Talker
from trunkline.realtime import Timeouts
from trunkline.realtime.hub.connected import ClientState, together

TIMEOUTS = Timeouts(stale=5, ping=20, pong=8, expired=3)


def test_who_doesnt_connect_is_stale() -> None:
    node = Node(timeouts=TIMEOUTS)
    talker = node.talker()
    client = talker.client
    assert client.deadline() == node.clock.now + 5
    client.on_deadline(node.clock.now + 4.9)
    assert client.state is ClientState.NEW
    client.on_deadline(node.clock.now + 5)
    assert talker.connection.closed == (3502, "stale")
    assert client.deadline() is None


def test_pings_are_answered_or_else() -> None:
    node = Node(timeouts=TIMEOUTS)
    talker = node.talker()
    client, now = talker.client, node.clock.now
    client.state = ClientState.CONNECTING
    client.connected(now, 0.5)
    assert client.deadline() == now + 10
    client.on_deadline(now + 10)
    assert talker.connection.take() == [{}]
    assert client.deadline() == now + 18
    client.heard()
    assert client.deadline() == now + 30
    client.on_deadline(now + 30)
    client.on_deadline(now + 38)
    assert talker.connection.closed == (3012, "no pong")


def pinged(**attributes: Any) -> tuple[Talker, float]:
    """A client that got a ping just now."""
    node = Node(timeouts=TIMEOUTS)
    talker, now = node.talker(), node.clock.now + 20
    talker.client.state = ClientState.CONNECTING
    talker.client.connected(node.clock.now)
    talker.connection.inbox.append("said before")
    talker.connection.unsent = 100
    talker.client.on_deadline(now)
    for name, value in attributes.items():
        setattr(talker.client, name, value)
    return talker, now


def test_an_answer_may_stand_behind_the_command_that_we_are_busy_with() -> None:
    talker, now = pinged(busy=True)
    talker.connection.inbox.append("{}")
    assert talker.client.deadline() == now + 8
    talker.client.on_deadline(now + 8)
    assert talker.client.deadline() == now + 20  # for the next ping
    talker.client.on_deadline(now + 20)
    talker.connection.stopped = True  # then we can't know
    talker.client.on_deadline(now + 28)
    assert talker.connection.closed is None
    talker.connection.stopped = False
    talker.client.on_deadline(now + 40)
    talker.client.on_deadline(now + 48)
    assert talker.connection.closed == (3012, "no pong")


def test_who_doesnt_answer_while_we_are_busy_with_its_command_is_gone_too() -> None:
    talker, now = pinged(busy=True)
    talker.client.on_deadline(now + 8)
    assert talker.connection.closed == (3012, "no pong")


@pytest.mark.parametrize("busy", [True, False])
def test_who_reads_what_stands_before_a_ping_is_there(busy: bool) -> None:
    """On a slow line a long answer takes longer than a client has for its pong."""
    talker, now = pinged(busy=busy)
    talker.connection.unsent = 60
    talker.client.on_deadline(now + 8)
    assert talker.client.deadline() == now + 16
    talker.client.on_deadline(now + 16)
    assert talker.connection.closed == (3012, "no pong")


def test_who_reads_is_there_even_if_the_answer_is_far_behind() -> None:
    node = Node(timeouts=TIMEOUTS)
    talker = node.talker()
    client, now = talker.client, node.clock.now
    client.state = ClientState.CONNECTING
    client.connected(now)
    client.on_deadline(now + 20)
    talker.connection.room = 0
    client.send_nowait(client.codec.ping)
    talker.connection.make_room()
    client.on_deadline(now + 28)
    assert talker.connection.closed is None


@pytest.mark.parametrize("ping", [None, 20])
def test_time_is_over(ping: float | None) -> None:
    node = Node(timeouts=Timeouts(ping=ping))
    talker = node.talker()
    client, now = talker.client, node.clock.now
    client.state = ClientState.CONNECTING
    client.connected(now)
    client.ends_at = now + 10
    assert client.deadline() == now + 10
    client.on_deadline(now + 10)
    assert talker.connection.closed == (3005, "connection expired")


def test_a_reason_fits_a_close_frame() -> None:
    node = Node()
    talker = node.talker()
    talker.client.disconnect(4000, "é" * 100)
    assert talker.connection.closed == (4000, "é" * 61)
    talker.client.disconnect(4001)
    assert talker.connection.closed == (4000, "é" * 61)


def test_a_close_that_cannot_be_sent_changes_nothing() -> None:
    node = Node()
    talker = node.talker()
    client = talker.client
    client.connecting()
    client.connected(node.clock.now)
    for code, reason in ((5000, None), (1005, None), (3503, "\ud83d")):
        with pytest.raises(ValueError):  # noqa: PT011  # tests/realtime/test_codes.py has the texts
            client.disconnect(code, reason)
    assert client.state is ClientState.CONNECTED
    assert talker.connection.closed is None
    client.disconnect(4000)
    assert talker.connection.closed == (4000, "")


def test_pings_are_put_off_a_little_so_that_many_clients_share_a_time() -> None:
    assert len({together(1025.0 + number / 1000, 1000.0) for number in range(400)}) <= 2
    for left in (1.0, 1.7, 25.0, 3600.0):
        assert 1000.0 + left <= together(1000.0 + left, 1000.0) <= 1000.0 + left + left / 32
    assert together(1000.9, 1000.0) == 1000.9
    assert together(999.0, 1000.0) == 999.0

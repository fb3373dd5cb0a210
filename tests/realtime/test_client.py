import pytest

from tests.support.rooms import Node
from trunkline.realtime import Timeouts
from trunkline.realtime.client import State

TIMEOUTS = Timeouts(stale=5, ping=20, pong=8, expired=3)


def test_who_doesnt_connect_is_stale() -> None:
    node = Node(timeouts=TIMEOUTS)
    talker = node.talker()
    client = talker.client
    assert client.deadline() == node.clock.now + 5
    client.on_deadline(node.clock.now + 4.9)
    assert client.state is State.NEW
    client.on_deadline(node.clock.now + 5)
    assert talker.connection.closed == (3502, "stale")
    assert client.deadline() is None


def test_pings_are_answered_or_else() -> None:
    node = Node(timeouts=TIMEOUTS)
    talker = node.talker()
    client, now = talker.client, node.clock.now
    client.state = State.CONNECTING
    client.connected(now, 0.5)
    assert client.deadline() == now + 10
    client.on_deadline(now + 10)
    assert talker.connection.take() == [{}]
    assert client.deadline() == now + 18
    [pong] = client.codec.decode("{}")
    client.admit(pong, now + 12)
    assert client.deadline() == now + 30
    client.on_deadline(now + 30)
    client.busy = True  # the answer may stand behind the command that we are busy with
    client.on_deadline(now + 38)
    assert client.state is State.CONNECTED
    client.busy = False
    client.on_deadline(now + 46)
    assert talker.connection.closed == (3012, "no pong")


def test_who_reads_is_there_even_if_the_answer_is_far_behind() -> None:
    node = Node(timeouts=TIMEOUTS)
    talker = node.talker()
    client, now = talker.client, node.clock.now
    client.state = State.CONNECTING
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
    client.state = State.CONNECTING
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

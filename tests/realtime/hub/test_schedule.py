from tests.support.rooms import Node
from trunkline.realtime import Timeouts
from trunkline.realtime.hub.schedule import Schedule


def test_clients_come_in_the_order_of_their_deadlines() -> None:
    node, schedule = Node(timeouts=Timeouts(stale=5)), Schedule()
    assert schedule.next is None
    clients = []
    for now in (3.0, 1.0, 2.0):
        node.clock.now = now
        clients.append(node.talker().client)
        assert schedule.enter(clients[-1])
        assert not schedule.enter(clients[-1]), "it is there already"
    assert schedule.next == 6
    assert list(schedule.due(5.9)) == []
    assert list(schedule.due(7)) == [(clients[1], True), (clients[2], True)]
    assert schedule.next == 8


def test_a_deadline_that_moved_away_is_not_due_and_one_that_came_nearer_is_seen() -> None:
    node, schedule = Node(timeouts=Timeouts(stale=5)), Schedule()
    node.clock.now = 0
    client = node.talker().client
    schedule.enter(client)
    client.stale_at = 9
    assert list(schedule.due(5)) == [(client, False)]
    assert schedule.enter(client, 10)
    assert schedule.next == 10
    client.stale_at = 7
    assert schedule.enter(client)
    assert list(schedule.due(20)) == [(client, True)], "the later entry counts no more"


def test_clients_that_are_closed_are_forgotten() -> None:
    node, schedule = Node(), Schedule()
    for _ in range(1000):
        client = node.talker().client
        schedule.enter(client)
        client.closed()
        schedule.forget()
    assert len(schedule) < 200
    schedule.clear()
    assert schedule.next is None

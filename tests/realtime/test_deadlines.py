import asyncio

from tests.support.rooms import Node
from trunkline.realtime import Timeouts
from trunkline.realtime.client import Client, State
from trunkline.realtime.deadlines import Deadlines
from trunkline.testing import memory


def test_each_client_is_looked_at_when_something_is_due() -> None:
    async def play() -> None:
        clock = asyncio.get_running_loop().time
        node = Node(timeouts=Timeouts(stale=5, ping=20, pong=8))
        node.clock.now = 0
        seen: list[tuple[int, float]] = []

        def on_deadline(client: Client, now: float) -> None:
            seen.append((clients.index(client), round(now)))
            client.on_deadline(now)

        deadlines = Deadlines(on_deadline, clock)
        talkers = [node.talker() for _ in range(3)]
        clients = [talker.client for talker in talkers]
        for client in clients:
            deadlines.watch(client)
        clients[1].state = State.CONNECTING
        clients[1].connected(0, 0.1)
        deadlines.watch(clients[1])
        clients[2].closed()
        deadlines.forget()
        await asyncio.sleep(100)
        assert seen == [(1, 2), (0, 5), (1, 10)]
        assert [talker.connection.closed and talker.connection.closed[0] for talker in talkers] == [3502, 3012, None]
        deadlines.close()

    memory.run(play())


def test_closed_clients_are_forgotten() -> None:
    async def play() -> None:
        node = Node()
        deadlines = Deadlines(lambda client, now: None, asyncio.get_running_loop().time)
        for _ in range(1000):
            client = node.talker().client
            deadlines.watch(client)
            client.closed()
            deadlines.forget()
        assert len(deadlines._heap) < 200
        deadlines.close()

    memory.run(play())

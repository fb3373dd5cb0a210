import asyncio

import pytest

from tests.support.rooms import Node
from trunkline.realtime import Timeouts
from trunkline.realtime.deadlines import Deadlines
from trunkline.realtime.hub.connected import Client, ClientState
from trunkline.realtime.tokens import Key, Tokens
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
        clients[1].state = ClientState.CONNECTING
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
        assert len(deadlines._schedule) < 200
        deadlines.close()

    memory.run(play())


@pytest.mark.parametrize("how", ["unsubscribed", "by the server", "replaced", "expired"])
def test_a_subscription_that_was_left_needs_no_timer(how: str) -> None:
    """With a token, it had an end: nothing may be due for it when that has come."""

    async def play() -> None:
        loop = asyncio.get_running_loop()
        async with Node(timeouts=Timeouts(ping=None, expired=5)) as node:
            node.channel("a", subscribe="token")
            node.clock.source = loop.time
            tokens = node.auth.tokens = Tokens(Key("HS256", "secret" * 8), clock=node.clock)
            runs: list[float] = []

            def on_deadline(client: Client, now: float) -> None:
                runs.append(now)
                node.commands.on_deadline(client, now)

            deadlines = Deadlines(on_deadline, node.clock)
            node.ends.watch = node.gaps.watch = deadlines.watch
            talker = node.talker()
            await talker.connect(token=tokens.connection("ada"))
            await talker.subscribe("a", token=tokens.subscription("ada", "a", ttl=60))
            if how == "unsubscribed":
                await talker.say(unsubscribe={"channel": "a"})
            elif how == "by the server":
                await node.subscriptions.unsubscribe(talker.client, "a")
            elif how == "replaced":
                refresh = {"channel": "a", "token": tokens.subscription("ada", "a")}
                await talker.say(sub_refresh=refresh)
            await asyncio.sleep(1000)
            assert runs == ([pytest.approx(65)] if how == "expired" else [])
            assert not len(deadlines._schedule)
            assert bool(talker.client.subscriptions) is (how == "replaced")
            deadlines.close()

    memory.run(play())

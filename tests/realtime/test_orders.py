"""A node carries out orders for its clients, for all of them also if one can't have what the order says."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.rooms import Node, Talker
from trunkline.realtime import Limits
from trunkline.realtime.brokers import BrokerError
from trunkline.realtime.control import Answer, Disconnect, Order, Refresh, Refusal, Send, Subscribe, Unsubscribe
from trunkline.realtime.program.hooks import Hook


def scene(play: Callable[[Node, list[Talker]], Awaitable[None]], **options: Any) -> None:
    """Three clients of ada, and one of bob."""

    async def main() -> None:
        async with Node(**options) as node:
            users = iter(["ada", "ada", "ada", "bob"])

            def who(client: Any) -> None:
                client.user = next(users)

            node.functions.connect = Hook(who)
            node.channel("a")
            await play(node, [await node.connected() for _ in range(4)])

    asyncio.run(main())


def pushes(talker: Talker) -> list[str]:
    return [next(iter(each["push"].keys() - {"channel"})) for each in talker.connection.take()]


def test_an_order_concerns_a_user_or_a_client_or_both() -> None:
    async def play(node: Node, talkers: list[Talker]) -> None:
        first, *_, bob = talkers
        one = first.client.id
        for order, clients in (
            (Send(user="ada", data=b"1"), 3),
            (Send(client=one, data=b"1"), 1),
            (Send(client=one, user="ada", data=b"1"), 1),
            (Send(client=one, user="bob", data=b"1"), 0),
            (Send(user="nobody", data=b"1"), 0),
        ):
            assert await node.orders.carry_out(order) == Answer(clients)
        assert pushes(first) == ["message"] * 3
        assert pushes(bob) == []
        with pytest.raises(TypeError, match="give user or client"):
            await node.orders.carry_out(Send(data=b"1"))

    scene(play)


def test_one_client_that_is_refused_keeps_nothing_from_the_others() -> None:
    async def play(node: Node, talkers: list[Talker]) -> None:
        full = talkers[1]
        node.channel("b")
        await full.subscribe("b")
        answer = await node.orders.carry_out(Subscribe(user="ada", channel="a"))
        assert answer == Answer(2, Refusal(106, "limit exceeded"))
        assert ["a" in each.client.subscriptions for each in talkers] == [True, False, True, False]
        assert await node.orders.carry_out(Unsubscribe(user="ada", channel="a")) == Answer(3)
        assert not any("a" in each.client.subscriptions for each in talkers)

    scene(play, limits=Limits(channels=1))


def test_a_broker_that_fails_for_one_client_fails_the_order_and_no_other_client() -> None:
    async def play(node: Node, talkers: list[Talker]) -> None:
        subscribe = node.subscriptions.subscribe

        async def fail_once(client: Any, channel: str) -> None:
            if client is talkers[0].client:
                raise BrokerError("the network is down")
            await subscribe(client, channel)

        node.subscriptions.subscribe = fail_once  # type: ignore[method-assign]
        with pytest.raises(BrokerError, match="the network is down"):
            await node.orders.carry_out(Subscribe(user="ada", channel="a"))
        assert [bool(each.client.subscriptions) for each in talkers] == [False, True, True, False]

    scene(play)


@pytest.mark.parametrize("order", [Disconnect(user="ada", code=4000, reason="go")])
def test_clients_are_disconnected(order: Order) -> None:
    async def play(node: Node, talkers: list[Talker]) -> None:
        assert await node.orders.carry_out(order) == Answer(3)
        assert [each.connection.closed for each in talkers] == [(4000, "go")] * 3 + [None]

    scene(play)


def test_a_connection_is_refreshed() -> None:
    async def play(node: Node, talkers: list[Talker]) -> None:
        client = talkers[0].client
        assert await node.orders.carry_out(Refresh(client=client.id, ttl=60)) == Answer(1)
        assert client.ttl == 60
        assert client.ends_at == node.clock() + 60 + node.timeouts.expired
        await node.orders.carry_out(Refresh(client=client.id))
        assert (client.ttl, client.ends_at) == (None, None)

    scene(play)

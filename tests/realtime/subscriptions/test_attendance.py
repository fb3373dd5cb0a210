"""The presence store knows who is there, whatever happens meanwhile, and for as long as they are."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.rooms import Node
from trunkline.realtime import ClientInfo, MemoryPresence
from trunkline.realtime.brokers import BrokerError
from trunkline.realtime.subscriptions.attendance import AT_ONCE, TOGETHER
from trunkline.realtime.tokens import Key, Tokens
from trunkline.testing import memory

TTL = 30.0


class Store(MemoryPresence):
    """Takes its time for each call, and fails or hangs as the test says."""

    def __init__(self) -> None:
        super().__init__(TTL, clock=lambda: asyncio.get_running_loop().time())
        self.delay = 0.0
        self.error: Exception | None = None
        self.hangs: set[str] = set()  # channels
        self.calls = self.running = self.most = 0

    async def add(self, channel: str, client: str, info: ClientInfo) -> None:
        await self._take_time(channel)
        await super().add(channel, client, info)

    async def remove(self, channel: str, client: str) -> None:
        await self._take_time(channel)
        await super().remove(channel, client)

    async def _take_time(self, channel: str) -> None:
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(1000 if channel in self.hangs else self.delay)
        finally:
            self.running -= 1
        if self.error is not None:
            raise self.error


def play(scene: Callable[[Node, Store], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Node() as node:
            store = Store()
            node.use(presence=store)
            attendance = node.attendance
            attendance.start()
            await scene(node, store)
            attendance.stop()
            store.error = None
            store.hangs.clear()

    memory.run(main())


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if "presence" in text]


def test_entries_are_renewed_while_clients_are_there() -> None:
    async def scene(node: Node, store: Store) -> None:
        node.channel("a", presence=True)
        node.channel("b")
        ada, bob = await node.connected("a", "b"), await node.connected("a")
        await asyncio.sleep(3 * TTL - 1)
        assert set(await store.get("a")) == {ada.client.id, bob.client.id}
        assert await store.get("b") == {}
        assert store.calls == 2 + 2 * 8  # three times in each ttl
        await bob.say(unsubscribe={"channel": "a"})
        await asyncio.sleep(3 * TTL)
        assert set(await store.get("a")) == {ada.client.id}

    play(scene)


def test_tokens_decide_who_is_renewed() -> None:
    async def scene(node: Node, store: Store) -> None:
        node.channel("hidden", subscribe="token")
        node.channel("shown", subscribe="token", presence=True)
        tokens = node.auth.tokens = Tokens(Key("HS256", "secret" * 8), clock=node.clock)
        talker = node.talker()
        await talker.connect(token=tokens.connection("ada"))
        for channel, presence in (("hidden", True), ("shown", False)):
            override = {"presence": {"value": presence}}
            await talker.subscribe(channel, token=tokens.subscription("ada", channel, override=override))
        for _ in range(5):
            assert [len(await store.get(channel)) for channel in ("hidden", "shown")] == [1, 0]
            await asyncio.sleep(TTL)

    play(scene)


def test_renewing_goes_on_after_errors_which_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(node: Node, store: Store) -> None:
        caplog.set_level(logging.INFO)
        node.channel("a", presence=True)
        await node.connected("a")
        await node.connected("a")
        store.error = BrokerError("the network is down")
        await asyncio.sleep(10 * TTL)
        assert await store.get("a") == {}
        assert logged(caplog) == ["presence can't be renewed: the network is down; trying again every 10 s"]
        store.error = None
        await asyncio.sleep(TTL)
        assert len(await store.get("a")) == 2
        assert logged(caplog)[1:] == ["presence is renewed again"]
        store.error = ValueError("a bug")
        await asyncio.sleep(TTL)
        assert logged(caplog)[2:] == ["presence can't be renewed: a bug; trying again every 10 s"]

    play(scene)


def test_many_are_renewed_at_a_time_but_not_all() -> None:
    async def scene(node: Node, store: Store) -> None:
        node.channel("room:{x}", presence=True)
        talkers = [await node.connected(*(f"room:{number}" for number in range(100))) for _ in range(10)]
        store.delay, store.most = 0.1, 0
        await asyncio.sleep(2 * TTL)  # one after the other, it would take 100 s
        assert store.most == AT_ONCE * TOGETHER
        for number in range(100):
            assert set(await store.get(f"room:{number}")) == {each.client.id for each in talkers}

    play(scene)


def test_a_store_that_does_not_answer_for_one_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(node: Node, store: Store) -> None:
        node.channel("{name}", presence=True)
        talker = await node.connected("a", "b")
        store.hangs.add("a")
        await asyncio.sleep(5 * TTL)
        assert set(await store.get("b")) == {talker.client.id}
        assert logged(caplog) == ["presence can't be renewed: it doesn't answer within 10 s; trying again every 10 s"]

    play(scene)


@pytest.mark.parametrize("again", [False, True])
def test_who_leaves_while_it_is_renewed_is_no_ghost_and_who_comes_again_is_there(again: bool) -> None:
    async def scene(node: Node, store: Store) -> None:
        node.channel("a", presence=True)
        talker = await node.connected("a")
        store.delay = 1
        adding = asyncio.create_task(node.attendance.update(talker.client, "a"))
        await asyncio.sleep(0.5)
        store.delay = 0
        await talker.say(unsubscribe={"channel": "a"})
        if again:
            await talker.subscribe("a")
        store.delay = 0.1
        await adding
        assert set(await store.get("a")) == ({talker.client.id} if again else set())

    play(scene)


def test_who_comes_again_is_told_of_after_its_end() -> None:
    """The store may be slow to forget it; nothing of it may come after the new entry, and the new join."""

    async def scene(node: Node, store: Store) -> None:
        node.channel("a", presence=True, join_leave=True)
        watcher, talker = await node.connected(), await node.connected()
        await watcher.say(subscribe={"channel": "a"})
        await talker.say(subscribe={"channel": "a"})
        watcher.connection.take()
        store.delay = 1
        ending = asyncio.create_task(node.subscriptions.unsubscribe(talker.client, "a"))
        await asyncio.sleep(0.5)
        await talker.say(subscribe={"channel": "a"})
        await ending
        assert set(await store.get("a")) == {talker.client.id, watcher.client.id}
        kinds = [next(iter(each["push"].keys() - {"channel"})) for each in watcher.connection.take()]
        assert kinds == ["leave", "join"]

    play(scene)


def test_without_a_ttl_there_is_nothing_to_renew() -> None:
    async def main() -> None:
        async with Node() as node:
            node.attendance.start()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            node.attendance.stop()

    asyncio.run(main())


def test_renewing_can_be_stopped_and_started_again() -> None:
    async def scene(node: Node, store: Store) -> None:
        attendance: Any = node.attendance
        node.channel("a", presence=True)
        await node.connected("a")
        attendance.stop()
        await asyncio.sleep(3 * TTL)
        assert await store.get("a") == {}
        attendance.start()
        await asyncio.sleep(TTL)
        assert len(await store.get("a")) == 1

    play(scene)

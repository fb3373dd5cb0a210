"""A `Realtime` and other threads: what they may call, and what they are told where they may not."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.loop import run_clean, settled
from tests.support.rooms import MemoryPeer
from trunkline import connect
from trunkline.realtime import Realtime, home
from trunkline.realtime.publication import StreamPosition

PATIENCE = 30

CALLS: dict[str, Callable[[Realtime], Awaitable[Any]]] = {
    "start": lambda rt: rt.start(),
    "close": lambda rt: rt.close(),
    "publish": lambda rt: rt.publish("a", 1),
    "history": lambda rt: rt.history("a"),
    "presence": lambda rt: rt.presence("a"),
    "presence_stats": lambda rt: rt.presence_stats("a"),
    "subscribe": lambda rt: rt.subscribe("a", user="ada"),
    "unsubscribe": lambda rt: rt.unsubscribe("a", user="ada"),
    "send": lambda rt: rt.send("a", user="ada"),
    "disconnect": lambda rt: rt.disconnect(user="ada"),
    "handler": lambda rt: rt.handler(MemoryPeer()),  # type: ignore[arg-type]
    "plain": lambda rt: rt.plain(MemoryPeer(), "a"),  # type: ignore[arg-type]
}


def play(scene: Callable[[Realtime], Awaitable[None]]) -> None:
    """Play a scene with a `Realtime` that runs."""

    async def main() -> None:
        rt = Realtime()
        rt.channel("a", history=1000)
        rt.channel("slow", slow="block")
        async with rt:
            await asyncio.wait_for(scene(rt), PATIENCE)

    run_clean(main)


def in_another_loop(call: Callable[[], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await call()

    return asyncio.run(main())


@pytest.mark.parametrize("name", CALLS)
def test_another_event_loop_is_refused_with_the_remedy(name: str) -> None:
    async def scene(rt: Realtime) -> None:
        with pytest.raises(RuntimeError, match=r"in another event loop.*publish_sync\(\)"):
            await asyncio.to_thread(in_another_loop, lambda: CALLS[name](rt))
        assert (await rt.history("a")).publications == []
        assert rt.loop is asyncio.get_running_loop()

    play(scene)


def test_the_remedy_for_all_else() -> None:
    async def scene(rt: Realtime) -> None:
        def ask() -> Any:
            assert rt.loop is not None
            return asyncio.run_coroutine_threadsafe(rt.presence("a"), rt.loop).result()

        assert await asyncio.to_thread(ask) == {}

    play(scene)


def test_threads_publish_in_their_order() -> None:
    async def scene(rt: Realtime) -> None:
        async with rt.serve("127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}/") as subscriber:
                await subscriber.send('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"a"}}')
                await subscriber.recv()
                await subscriber.recv()

                def publish(thread: int) -> list[StreamPosition]:
                    return [rt.publish_sync("a", [thread, n], tags={"n": str(n)}) for n in range(50)]

                positions = await asyncio.gather(*(asyncio.to_thread(publish, thread) for thread in range(3)))
                assert all(each == sorted(each) for each in positions)
                heard: list[Any] = []
                while len(heard) < 150:
                    frames = [json.loads(line)["push"]["pub"] for line in str(await subscriber.recv()).split("\n")]
                    heard += [frame["data"] for frame in frames]
                for thread in range(3):
                    assert [n for which, n in heard if which == thread] == list(range(50))

    play(scene)


@pytest.mark.parametrize(
    ("channel", "obj", "options", "error"),
    [
        ("undeclared", 1, {}, LookupError),
        ("a", object(), {}, TypeError),
        ("slow", 1, {"id": "x"}, ValueError),
    ],
)
def test_threads_are_told_what_is_wrong(channel: str, obj: Any, options: Any, error: type[Exception]) -> None:
    async def scene(rt: Realtime) -> None:
        with pytest.raises(error):
            await asyncio.to_thread(rt.publish_sync, channel, obj, **options)

    play(scene)


def test_the_loops_own_thread_would_wait_for_itself() -> None:
    async def scene(rt: Realtime) -> None:
        with pytest.raises(RuntimeError, match=r"await publish\(\)"):
            rt.publish_sync("a", 1)

    play(scene)


def test_before_the_start_and_after_the_end_there_is_no_loop() -> None:
    rt = Realtime()
    rt.channel("a")

    async def main() -> None:
        async with rt:
            pass

    for _ in range(2):
        with pytest.raises(RuntimeError, match="async with rt"):
            rt.publish_sync("a", 1)
        assert rt.loop is None
        run_clean(main)


class Stuck:
    """A publication that waits for a client which doesn't read, and a thread that waits for the publication."""

    def __init__(self, rt: Realtime, **options: Any) -> None:
        self.writable, self.waiting = asyncio.Event(), asyncio.Event()

        publisher = rt._parts.publisher
        publish = publisher.publish

        async def wait(*arguments: Any) -> StreamPosition:
            self.waiting.set()
            await self.writable.wait()
            return await publish(*arguments)

        publisher.publish = wait  # type: ignore[method-assign,assignment]
        self.call = asyncio.to_thread(rt.publish_sync, "slow", 1, **options)


def test_a_thread_that_waits_is_told_that_it_was_closed() -> None:
    async def scene(rt: Realtime) -> None:
        stuck = Stuck(rt)
        calling = asyncio.create_task(stuck.call)
        await stuck.waiting.wait()
        await rt.close()
        with pytest.raises(RuntimeError, match="closed meanwhile"):
            await calling

    play(scene)


def test_a_thread_waits_no_longer_than_it_wants_to() -> None:
    async def scene(rt: Realtime) -> None:
        stuck = Stuck(rt, timeout=0.01)
        with pytest.raises(TimeoutError, match=r"0\.01 seconds"):
            await stuck.call
        stuck.writable.set()

    play(scene)


def test_a_thread_that_waits_is_told_that_the_loop_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "GLANCE", 0.01)
    told: list[str] = []
    loop = asyncio.new_event_loop()
    there = home.Home()

    async def enter() -> None:
        there.enter()

    async def never() -> None:
        raise AssertionError("the loop doesn't run any more")

    def wait() -> None:
        try:
            there.wait(never, None)
        except RuntimeError as error:
            told.append(str(error))

    loop.run_until_complete(enter())
    thread = threading.Thread(target=wait)
    thread.start()
    while not there._waiting:
        pass
    loop.close()
    thread.join()
    assert told == ["this Realtime was closed meanwhile: nobody knows whether that was done"]


def test_after_a_loop_that_ended_without_a_word_another_one_will_do() -> None:
    rt = Realtime()
    rt.channel("a", history=10)

    async def publish() -> int:
        await rt.publish("a", 1)
        return len((await rt.history("a")).publications)

    assert [asyncio.run(publish()) for _ in range(2)] == [1, 2]


def test_a_client_is_disconnected_in_its_own_thread_only() -> None:
    async def scene(rt: Realtime) -> None:
        async with rt.serve("127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}/") as peer:
                await peer.send('{"id":1,"connect":{}}')
                await peer.recv()
                [client] = await asyncio.to_thread(rt.clients)
                assert (await asyncio.to_thread(rt.stats)).clients == 1
                with pytest.raises(RuntimeError, match=r"of another thread.*run_coroutine_threadsafe"):
                    await asyncio.to_thread(client.disconnect)
                assert client.connection.open
                client.disconnect()
                await settled(lambda: not rt.clients())

    play(scene)


def test_numbers_can_be_read_while_rooms_come_and_go() -> None:
    async def scene(rt: Realtime) -> None:
        rt.channel("room:{n}")
        done = threading.Event()

        def read() -> int:
            reads = 0
            while not done.is_set():
                rt.stats()
                rt.clients()
                reads += 1
            return reads

        reading = asyncio.create_task(asyncio.to_thread(read))
        async with rt.serve("127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}/") as peer:
                await peer.send('{"id":1,"connect":{}}')
                await peer.recv()
                for n in range(300):
                    room = {"channel": f"room:{n % 50}"}
                    command = {"id": 2, "unsubscribe" if n // 50 % 2 else "subscribe": room}
                    await peer.send(json.dumps(command))
                    await peer.recv()
        done.set()
        assert await reading > 0

    play(scene)

"""A node starts when its store lets it, and closes in time, whatever clients and hooks are at."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.raw import TEXT, close_frame, encode_frame, request
from trunkline import connect, serve
from trunkline.exceptions import ConnectionClosed
from trunkline.realtime import Client, MemoryBroker, MemoryPresence, Realtime, Timeouts
from trunkline.realtime.brokers import BrokerError, BrokerEvents
from trunkline.testing import memory
from trunkline.testing.wire import PING, Incoming, random_mask

URL = "ws://localhost:8765/connection/websocket"
LIMIT = Timeouts().close


def now() -> float:
    return asyncio.get_running_loop().time()


class Slow:
    """A function of the program that takes its time."""

    def __init__(self, seconds: float = 1000) -> None:
        self.seconds = seconds
        self.reached = asyncio.Event()
        self.ended: list[str] = []

    async def __call__(self, client: Client) -> None:
        self.reached.set()
        try:
            await asyncio.sleep(self.seconds)
            self.ended.append("finished")
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise


def hook(slow: Slow) -> Callable[[Client], Awaitable[None]]:
    async def wait(client: Client) -> None:
        await slow(client)

    return wait


async def say(websocket: Any, *commands: dict[str, Any]) -> None:
    await websocket.send("\n".join(json.dumps(command) for command in commands))


CONNECT = {"id": 1, "connect": {}}


def declare(rt: Realtime, what: str, slow: Slow) -> list[dict[str, Any]]:
    """Let one function of the program be slow; returns the commands of a client that reaches it."""
    channel = rt.channel("room", publish="subscribers", presence=True)
    subscribe = {"id": 2, "subscribe": {"channel": "room"}}
    declarations: dict[str, Callable[[Any], Any]] = {
        "connect": rt.on_connect,
        "message": rt.on_message,
        "rpc": rt.rpc("slow"),
        "subscribe": channel,
        "publish": channel.on_publish,
        "unsubscribe": channel.on_unsubscribe,
    }
    declarations[what](hook(slow))
    return {
        "connect": [CONNECT],
        "message": [CONNECT, {"send": {"data": 1}}],
        "rpc": [CONNECT, {"id": 2, "rpc": {"method": "slow"}}],
        "subscribe": [CONNECT, subscribe],
        "publish": [CONNECT, subscribe, {"id": 3, "publish": {"channel": "room", "data": 1}}],
        "unsubscribe": [CONNECT, subscribe, {"id": 3, "unsubscribe": {"channel": "room"}}],
    }[what]


HOOKS = ["connect", "message", "rpc", "subscribe", "publish", "unsubscribe"]


# Closing


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "there"])
@pytest.mark.parametrize("what", HOOKS)
def test_what_hangs_is_cancelled(what: str, gone: bool) -> None:
    """Also for a client that is long gone."""

    async def scene() -> tuple[float, list[str]]:
        slow, rt = Slow(), Realtime()
        commands = declare(rt, what, slow)
        async with rt, rt.serve(port=8765):
            websocket = await connect(URL)
            await say(websocket, *commands)
            await slow.reached.wait()
            if gone:
                await websocket.close()
                await asyncio.sleep(1)
                assert not rt.clients()
            begin = now()
        took = now() - begin
        await websocket.close()
        return took, slow.ended

    took, ended = memory.run(scene())
    assert ended == ["cancelled"]
    assert took == pytest.approx(0 if what == "rpc" else 2 * LIMIT if what == "unsubscribe" else LIMIT, abs=0.1)


def test_calls_that_make_their_client_wait_are_cancelled_too() -> None:
    async def scene() -> float:
        slow, rt = Slow(), Realtime()
        rt.rpc("slow")(hook(slow))
        async with rt, rt.serve(port=8765):
            websocket = await connect(URL)
            await say(websocket, CONNECT, *({"id": id, "rpc": {"method": "slow"}} for id in range(2, 30)))
            await slow.reached.wait()
            begin = now()
        took = now() - begin
        await websocket.close()
        assert set(slow.ended) == {"cancelled"}
        assert len(slow.ended) == 17
        return took

    assert memory.run(scene()) == pytest.approx(LIMIT, abs=0.1)


def test_what_ends_in_time_is_not_cancelled() -> None:
    async def scene() -> list[str]:
        slow, gone, rt = Slow(LIMIT - 1), Slow(LIMIT - 1), Realtime()
        commands = declare(rt, "publish", slow)
        rt.on_disconnect(hook(gone))
        async with rt, rt.serve(port=8765):
            websocket = await connect(URL)
            await say(websocket, *commands)
            await slow.reached.wait()
        await websocket.close()
        return slow.ended + gone.ended

    assert memory.run(scene()) == ["finished", "finished"]


@pytest.mark.parametrize("limit", [0, 3])
def test_the_limit_can_be_set(limit: float, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> float:
        slow, rt = Slow(), Realtime(timeouts=Timeouts(close=limit))
        rt.on_disconnect(hook(slow))
        async with rt, rt.serve(port=8765):
            websocket = await connect(URL)
            await say(websocket, CONNECT)
            await websocket.recv()
            await websocket.close()
            await slow.reached.wait()
            begin = now()
        assert slow.ended == ["cancelled"]
        return now() - begin

    assert memory.run(scene()) == pytest.approx(limit, abs=0.1)
    assert f"1 hooks and the like took longer than {limit} s: cancelled" in caplog.messages


def test_a_plain_client_whose_hook_hangs() -> None:
    async def scene() -> float:
        slow, rt = Slow(), Realtime()
        declare(rt, "publish", slow)

        async def handler(websocket: Any) -> None:
            await rt.plain(websocket, "room")

        async with rt, serve(handler, port=8765):
            websocket = await connect(URL)
            await websocket.send("hello")
            await slow.reached.wait()
            begin = now()
        took = now() - begin
        await websocket.close()
        assert slow.ended == ["cancelled"]
        return took

    assert memory.run(scene()) == pytest.approx(LIMIT, abs=0.1)


def test_a_command_that_is_cancelled_leaves_its_task_as_it_was() -> None:
    """A handler of the program may go on with something else."""

    async def scene() -> list[int]:
        slow, rt = Slow(), Realtime()
        commands, left = declare(rt, "publish", slow), list[int]()

        async def handler(websocket: Any) -> None:
            await rt.handler(websocket)
            task = asyncio.current_task()
            assert task is not None
            left.append(task.cancelling())

        async with rt, serve(handler, port=8765):
            websocket = await connect(URL)
            await say(websocket, *commands)
            await slow.reached.wait()
        await websocket.close()
        return left

    assert memory.run(scene()) == [0]


def test_a_handler_that_the_program_cancels_is_cancelled() -> None:
    async def scene() -> None:
        slow, rt = Slow(), Realtime()
        commands = declare(rt, "publish", slow)
        tasks: list[asyncio.Task[None]] = []

        async def handler(websocket: Any) -> None:
            tasks.append(asyncio.ensure_future(rt.handler(websocket)))
            await asyncio.wait(tasks)

        async with rt, serve(handler, port=8765):
            websocket = await connect(URL)
            await say(websocket, *commands)
            await slow.reached.wait()
            tasks[0].cancel()
            await asyncio.wait(tasks)
            assert tasks[0].cancelled()
            assert not rt.clients()
            await websocket.close()
        assert slow.ended == ["cancelled"]

    memory.run(scene())


def test_a_peer_that_does_not_close_is_no_command(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        rt = Realtime()
        async with rt, rt.serve(port=8765):
            _, peer = await asyncio.get_running_loop().create_connection(RawPeer, "localhost", 8765)
            await peer.opened.wait()
            peer.say('{"id":1,"connect":{}}')
            await asyncio.sleep(1)
            assert len(rt.clients()) == 1

    memory.run(scene())
    assert not [text for text in caplog.messages if "command" in text]


def test_clients_are_disconnected_in_portions() -> None:
    turns = 0
    closed: list[int] = []

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def scene() -> None:
        rt = Realtime()
        async with rt.serve(port=8765):
            websockets = [await connect(URL, compression=None) for _ in range(250)]
            for websocket in websockets:
                await say(websocket, CONNECT)
                await websocket.recv()
            for client in rt.clients():
                leave = client.peer.start_closing

                def start_closing(code: int, reason: str, leave: Any = leave) -> None:
                    closed.append(turns)
                    leave(code, reason)

                client.peer = Recorder(client.peer, start_closing)  # type: ignore[assignment]
            counting = asyncio.create_task(count())
            await rt.close()
            counting.cancel()
            for websocket in websockets:
                with pytest.raises(ConnectionClosed, match="3001"):
                    await websocket.recv()

    memory.run(scene())
    assert [closed.count(turn) for turn in sorted(set(closed))] == [100, 100, 50]


class Recorder:
    """A peer that tells when it is closed."""

    def __init__(self, peer: Any, start_closing: Callable[[int, str], None]) -> None:
        self.__dict__["peer"] = peer
        self.__dict__["start_closing"] = start_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self.peer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.peer, name, value)


def test_a_client_that_comes_while_a_node_closes_is_told_to_come_back() -> None:
    async def scene() -> None:
        slow, rt = Slow(5), Realtime()
        rt.on_disconnect(hook(slow))
        async with rt.serve(port=8765):
            early = await connect(URL)
            await say(early, CONNECT)
            await early.recv()
            closing = asyncio.create_task(rt.close())
            await slow.reached.wait()
            newcomer = await connect(URL)
            with pytest.raises(ConnectionClosed, match="3001"):
                await newcomer.recv()
            assert not closing.done()
            await closing
            await early.close()

    memory.run(scene())


def test_a_call_may_close_its_node() -> None:
    async def scene() -> None:
        rt, closed = Realtime(), asyncio.Event()

        @rt.rpc("close")
        async def close(client: Client) -> None:
            await rt.close()
            closed.set()

        async with rt.serve(port=8765):
            websocket = await connect(URL)
            await say(websocket, CONNECT, {"id": 2, "rpc": {"method": "close"}})
            await closed.wait()
            await websocket.recv()
            await websocket.wait_closed()
            assert websocket.close_code == 3001

    memory.run(scene())


# Starting


class Store(MemoryBroker):
    """A store that another process has for a while."""

    def __init__(self, failures: int, *, patience: float = 0) -> None:
        super().__init__()
        self.failures = failures
        self.patience = patience
        self.calls: list[str] = []

    async def start(self, events: BrokerEvents) -> None:
        self.calls.append("start")
        await asyncio.sleep(self.patience)
        if self.failures:
            self.failures -= 1
            raise BrokerError(f"another process uses it; {self.failures > 2}")
        await super().start(events)

    async def close(self) -> None:
        self.calls.append("close")
        await super().close()


class Presence(MemoryPresence):
    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.failures = failures

    async def start(self) -> None:
        if self.failures:
            self.failures -= 1
            raise BrokerError("presence is away")

    async def close(self) -> None:
        if self.failures:
            raise BrokerError("presence is away again")


async def attempt() -> Any:
    async with connect(URL) as websocket:
        try:
            await say(websocket, CONNECT)
            return json.loads(await websocket.recv())["connect"]["ping"]
        except ConnectionClosed as closed:
            return closed.rcvd and (closed.rcvd.code, closed.rcvd.reason)


def test_a_store_that_could_not_be_started_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        rt = Realtime(Store(5))
        rt.channel("a")
        async with rt.serve(port=8765):
            assert [await attempt() for _ in range(4)] == [(3004, "internal server error")] * 4
            with pytest.raises(BrokerError, match="another process uses it"):
                await rt.publish("a", 1)
            assert await attempt() == 25
            await rt.publish("a", 1)
            await rt.close()
        assert vars(rt.broker)["calls"] == ["start"] * 6 + ["close"]

    memory.run(scene())
    text = "clients are turned away until it can be started: another process uses it; "
    assert [message for message in caplog.messages if "clients" in message] == [text + "True", text + "False"]
    assert not [record for record in caplog.records if record.exc_info and record.levelno >= logging.ERROR]


def test_all_share_one_attempt() -> None:
    async def scene() -> None:
        rt = Realtime(Store(1, patience=5))
        async with rt.serve(port=8765):
            assert await asyncio.gather(*(attempt() for _ in range(10))) == [(3004, "internal server error")] * 10
            assert await asyncio.gather(*(attempt() for _ in range(10))) == [25] * 10
            assert vars(rt.broker)["calls"] == ["start", "start"]
            await rt.close()

    memory.run(scene())


def test_a_presence_that_could_not_be_started_leaves_no_broker_behind() -> None:
    async def scene() -> None:
        rt = Realtime(Store(0), presence=Presence(1))
        with pytest.raises(BrokerError, match="presence is away"):
            await rt.start()
        assert vars(rt.broker)["calls"] == ["start", "close"]
        await rt.start()
        await rt.close()
        assert vars(rt.broker)["calls"] == ["start", "close"] * 2

    memory.run(scene())


def test_a_presence_that_cannot_be_closed_leaves_no_broker_behind() -> None:
    async def scene() -> None:
        presence = Presence()
        rt = Realtime(Store(0), presence=presence)
        await rt.start()
        presence.failures = 1
        with pytest.raises(BrokerError, match="away again"):
            await rt.close()
        assert vars(rt.broker)["calls"] == ["start", "close"]
        presence.failures = 0
        async with rt:
            pass

    memory.run(scene())


def test_closing_while_it_starts() -> None:
    async def scene() -> None:
        rt = Realtime(Store(0, patience=5))
        starting = asyncio.create_task(rt.start())
        await asyncio.sleep(1)
        await rt.close()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert now() == 1
        async with rt:
            assert vars(rt.broker)["calls"] == ["start", "close", "start"]

    memory.run(scene())


def test_a_caller_that_gives_up_does_not_stop_it() -> None:
    async def scene() -> None:
        rt = Realtime(Store(0, patience=5))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(rt.start(), 1)
        await rt.start()
        assert now() == 5
        assert vars(rt.broker)["calls"] == ["start"]
        await rt.close()

    memory.run(scene())


# One heartbeat


class RawPeer(asyncio.Protocol):
    """A client that answers pings of the protocol, and none of WebSocket."""

    def __init__(self) -> None:
        self.incoming = Incoming()
        self.opened = asyncio.Event()
        self.frames: list[tuple[float, int, bytes]] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(request())

    def data_received(self, data: bytes) -> None:
        self.incoming.feed(data)
        if not self.opened.is_set():
            if self.incoming.take_head() is None:
                return
            self.opened.set()
        while (frame := self.incoming.take_frame()) is not None:
            self.frames.append((now(), frame.opcode, frame.payload))
            if frame.payload == b"{}":
                self.say("{}")

    def say(self, text: str) -> None:
        self.transport.write(encode_frame(TEXT, text.encode(), mask=random_mask()))

    def close(self) -> None:
        self.transport.write(close_frame())


def websocket_pings(rt: Realtime, handler: Callable[[Any], Awaitable[None]] | None = None) -> int:
    """How many a client gets within 100 seconds, which must not end its connection."""

    async def scene() -> int:
        async with rt, rt.serve(port=8765) if handler is None else serve(handler, port=8765, compression=None):
            _, peer = await asyncio.get_running_loop().create_connection(RawPeer, "localhost", 8765)
            await peer.opened.wait()
            peer.say('{"id":1,"connect":{}}')
            await asyncio.sleep(100)
            is_open = bool(rt.clients())
            peer.close()
            pings = [opcode for _, opcode, _ in peer.frames].count(PING)
            assert is_open is (pings == 0), peer.frames[-1]
            return pings

    return memory.run(scene())


def test_there_is_one_heartbeat_that_of_the_protocol() -> None:
    assert websocket_pings(Realtime()) == 0
    rt = Realtime()
    assert websocket_pings(rt, rt.handler) == 0


def test_where_the_protocol_has_no_pings_websocket_has() -> None:
    assert websocket_pings(Realtime(timeouts=Timeouts(ping=None))) > 0
    rt = Realtime()
    rt.channel("a", publish="anyone")

    async def plain(websocket: Any) -> None:
        await rt.plain(websocket, "a")

    assert websocket_pings(rt, plain) > 0

"""Publications leave together, but never wait for code of the program."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.pair import port_of
from tests.support.threads import PATIENCE
from trunkline import serve
from trunkline.asyncio.server import ServerConnection
from trunkline.realtime import Limits, Realtime, select_subprotocol
from trunkline.realtime.options import Slow
from trunkline.realtime.program.pace import PROOFS, QUICK, QUIET, Pace
from trunkline.sync.client import ClientConnection, connect


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Written:
    """A pace, and the number of times that it wrote."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pace = Pace(self.clock)
        self.pace.write = self.write
        self.gathered = False
        self.writes = 0

    def write(self) -> bool:
        gathered, self.gathered = self.gathered, False
        self.writes += gathered
        return gathered

    def publish(self, after: float = 0.0) -> bool:
        """Publish; returns whether that left at once."""
        self.clock.now += after
        self.pace.begin()
        self.gathered = True
        self.pace.done()
        return not self.gathered


def test_the_first_publications_of_the_program_leave_at_once_and_those_that_follow_quickly_wait() -> None:
    program = Written()
    assert [program.publish() for _ in range(PROOFS + 3)] == [True] * (PROOFS + 1) + [False] * 2
    program.write()
    assert [program.publish(2 * QUIET), program.publish()] == [True, False]


def test_a_program_that_withheld_something_must_prove_again_that_it_is_quick() -> None:
    program = Written()
    while program.publish():
        pass
    assert program.publish(2 * QUIET)
    assert program.writes == PROOFS + 3, "the one that waited left before the next one was published"
    assert [program.publish() for _ in range(PROOFS + 1)] == [True] * PROOFS + [False]


def test_what_waits_leaves_before_a_function_that_may_be_slow() -> None:
    program = Written()
    took = [0.0]

    class Function:
        proofs = 0

        def start(self, client: Any, data: bytes | None, parameters: dict[str, str]) -> bool:
            program.clock.now += took[0]
            return program.gathered

    function: Any = Function()

    def call(seconds: float = 0.0) -> bool:
        """Call it; returns whether publications wait meanwhile."""
        program.gathered = True
        took[0] = seconds
        return bool(program.pace.start(function, None, None, {}))

    assert [call() for _ in range(PROOFS + 1)] == [False] * PROOFS + [True]
    assert [call(2 * QUICK), call()] == [True, False]


# With real connections


class Listener:
    """A client in a thread of its own, which reads while the event loop of the server is blocked."""

    def __init__(self, port: int, channel: str) -> None:
        self.heard: queue.Queue[Any] = queue.Queue()
        self.websocket: ClientConnection = connect(f"ws://127.0.0.1:{port}", compression=None, legacy=True)
        self.websocket.send(json.dumps({"id": 1, "connect": {}}))
        self.websocket.send(json.dumps({"id": 2, "subscribe": {"channel": channel}}))
        assert b"subscribe" in self.websocket.recv(PATIENCE, decode=False) + self.websocket.recv(PATIENCE, decode=False)
        self.thread = threading.Thread(target=self._listen)
        self.thread.start()

    def _listen(self) -> None:
        for frame in self.websocket:
            for line in str(frame).split("\n"):
                message = json.loads(line)
                push = message.get("push", {})
                self.heard.put(push.get("pub", push.get("message", {})).get("data", message))

    def next(self) -> Any:
        return self.heard.get(timeout=PATIENCE)

    def close(self) -> None:
        self.websocket.close()
        self.thread.join(PATIENCE)


@asynccontextmanager
async def listening(rt: Realtime, channel: str = "room", **options: Any) -> AsyncIterator[Listener]:
    async with rt.serve("127.0.0.1", 0, compression=None, **options) as server:
        listener = await asyncio.to_thread(Listener, port_of(server), channel)
        try:
            yield listener
        finally:
            await asyncio.to_thread(listener.close)


def test_a_publication_of_the_program_arrives_while_the_program_computes() -> None:
    async def main() -> None:
        rt = Realtime()
        rt.channel("room")
        async with rt, listening(rt) as listener:
            for number in range(PROOFS + 1):
                await rt.publish("room", number)
                assert listener.next() == number, "nothing else runs in the event loop meanwhile"

    asyncio.run(main())


def test_a_message_of_the_program_arrives_while_the_program_computes() -> None:
    async def main() -> None:
        rt = Realtime()
        rt.channel("room")
        async with rt, listening(rt) as listener:
            [client] = rt.clients()
            await rt.send("hello", client=client.id)
            assert listener.next() == "hello"

    asyncio.run(main())


def test_a_publication_of_a_client_arrives_while_a_hook_computes_for_the_next_one() -> None:
    async def main() -> None:
        rt = Realtime()
        channel = rt.channel("room", publish="anyone")
        arrived: list[Any] = []

        @channel.on_publish
        def hook(client: Any, data: int) -> None:
            if data > 0:
                arrived.append(listener.next())

        async with rt, listening(rt) as listener:
            commands = [{"id": 7 + each, "publish": {"channel": "room", "data": each}} for each in range(3)]
            await asyncio.to_thread(listener.websocket.send, "\n".join(map(json.dumps, commands)))
            while len(arrived) < 2:
                await asyncio.sleep(0)
            rest = [await asyncio.to_thread(listener.next) for _ in range(4)]
        told = [each for each in arrived + rest if not isinstance(each, dict)]
        answers = [each["id"] for each in arrived + rest if isinstance(each, dict)]
        assert (told, answers) == ([0, 1, 2], [7, 8, 9])

    asyncio.run(main())


def test_what_clients_publish_in_one_turn_leaves_in_one_write_and_in_order() -> None:
    async def main() -> None:
        rt = Realtime()
        rt.channel("room", publish="anyone", history=50)
        writes: list[bytes] = []

        async def handler(connection: ServerConnection) -> None:
            transport = connection.transport
            write = transport.write
            transport.write = lambda data: (writes.append(bytes(data)), write(data))
            transport.writelines = lambda chunks: transport.write(b"".join(chunks))
            await rt.handler(connection)

        server = await serve(handler, "127.0.0.1", 0, compression=None, select_subprotocol=select_subprotocol)
        async with rt, server:
            listener = await asyncio.to_thread(Listener, port_of(server), "room")
            writes.clear()
            commands = [{"id": 7 + each, "publish": {"channel": "room", "data": each}} for each in range(16)]
            await asyncio.to_thread(listener.websocket.send, "\n".join(map(json.dumps, commands)))
            heard = [await asyncio.to_thread(listener.next) for _ in range(32)]
            await asyncio.to_thread(listener.close)
        pairs = [(each["id"] - 7 if isinstance(each, dict) else each) for each in heard]
        assert pairs == [number for number in range(16) for _ in range(2)], "each publication, then its answer"
        assert [write.count(b'"pub"') for write in writes if b'"pub"' in write] == [16]

    asyncio.run(main())


@pytest.mark.parametrize("slow", ["disconnect", "drop_oldest", "block", "conflate"])
def test_a_program_that_publishes_without_letting_the_loop_turn_makes_no_client_look_slow(slow: Slow) -> None:
    count = 4000  # more bytes than may wait, but fewer than the kernel takes

    async def main() -> None:
        rt = Realtime(limits=Limits(queue=1 << 12))
        rt.channel("room", slow=slow)
        async with rt, listening(rt) as listener:
            for number in range(count):
                await rt.publish("room", number, key=str(number) if slow == "conflate" else "")
            room = rt.stats().channels["room"]
            assert (room.delivered, room.dropped, room.slow) == (count, 0, 0)
            assert await asyncio.to_thread(lambda: [listener.next() for _ in range(count)]) == list(range(count))

    asyncio.run(main())

"""The reactor's transports and listeners, beyond what tests/asyncio shows to be the same for all engines."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import random
import re
import socket
from collections.abc import Callable, Coroutine
from typing import Any
from unittest import mock

import pytest

import trunkline
from tests.support.loop import run_clean, settled
from tests.support.memory import LOOPS
from tests.support.pair import Accepted, echo, idle, port_of, serve
from tests.support.pair import connect as connect_any
from tests.support.raw import RawPeer, accept_handshake, encode_frame, request, scripted_server
from trunkline.asyncio.server import Server, ServerConnection
from trunkline.core.session import Side
from trunkline.core.writer import PreparedMessage
from trunkline.exceptions import ConnectionClosedError
from trunkline.frames import Opcode
from trunkline.reactor import epoll


def connect(to: Any, **options: Any) -> Any:
    return connect_any(to, engine="reactor", **options)


ENDED = "Cannot call write() after write_eof()"


class Accepting:
    """A server whose connections the test takes one by one, each with a raw peer."""

    async def __aenter__(self) -> Accepting:
        self._accepted = Accepted()
        self._server = serve(self._accepted, engine="reactor", ping_interval=None, close_timeout=0.05)
        self.server: Server = await self._server.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._server.__aexit__(*exc_info)

    async def pair(self, **options: Any) -> tuple[RawPeer, ServerConnection]:
        peer = await RawPeer.open(port_of(self.server), **options)
        return peer, await self._accepted.connection()


def run_with_pair(test: Callable[[RawPeer, Any], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run a test of one transport, with the peer on the other end."""

    async def main() -> None:
        async with Accepting() as accepting:
            peer, ws = await accepting.pair(**options)
            async with peer:
                await test(peer, ws.transport)

    run_clean(main)


# --- writing ---


@pytest.mark.parametrize("seed", range(8))
def test_everything_written_arrives_in_order(seed: int) -> None:
    """Chunks of all sizes, sent in parts, as the peer reads: nothing is lost, doubled or moved."""
    draw = random.Random(seed)

    async def test(peer: RawPeer, transport: Any) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        expected = b""
        received = b""
        for _ in range(60):
            sizes = [draw.choice([0, 1, 7, 100, 5000, 20_000, 70_000]) for _ in range(draw.choice([1, 2, 3, 90]))]
            chunks = [draw.randbytes(size) for size in sizes if sum(sizes) < 400_000 or size < 200]
            if draw.random() < 0.5:
                transport.writelines(chunks)
            else:
                for chunk in chunks:
                    transport.write(chunk)
            expected += b"".join(chunks)
            assert 0 <= transport.get_write_buffer_size() <= len(expected) - len(received)
            if draw.random() < 0.7:
                await asyncio.sleep(0)
                received += await peer.read_exactly(draw.randrange(len(expected) - len(received) + 1))
        received += await peer.read_exactly(len(expected) - len(received))
        assert received == expected
        await settled(lambda: transport.get_write_buffer_size() == 0)
        assert transport.get_write_buffer_size() == 0

    run_with_pair(test, receive_buffer=4096)


@pytest.mark.parametrize("ending", ["close", "write_eof"])
def test_what_waits_is_sent_before_the_end(ending: str) -> None:
    async def test(peer: RawPeer, transport: Any) -> None:
        transport.write(bytes(3_000_000))
        assert transport.get_write_buffer_size() > 0
        getattr(transport, ending)()
        if ending == "write_eof":
            for write in (lambda: transport.write(b"too late"), lambda: transport.writelines([b"too", b"late"])):
                with pytest.raises(RuntimeError, match=re.escape(ENDED)):
                    write()
        assert await peer.read_to_eof() == bytes(3_000_000)

    run_with_pair(test, receive_buffer=4096)


@pytest.mark.parametrize("way", ["send", "ping", "broadcast", "send_nowait"])
def test_a_stream_that_the_program_ended_loses_the_connection(way: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Accepting() as accepting:
            peer, ws = await accepting.pair()
            async with peer:
                ws.transport.write_eof()
                if way == "broadcast":
                    trunkline.broadcast([ws], "text")
                elif way == "send_nowait":
                    ws.send_nowait(PreparedMessage("text"))
                else:
                    with pytest.raises(ConnectionClosedError, match="no close frame"):
                        await getattr(ws, way)("text")
                with pytest.raises(ConnectionClosedError) as caught:
                    await ws.recv()
                assert isinstance(caught.value.__cause__, RuntimeError)

    run_clean(main)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["skipped broadcast: failed to write message: RuntimeError: " + ENDED] * (way == "broadcast")


@pytest.mark.parametrize("call", ["abort", "close", "write_eof", "write", "socket"])
def test_what_waits_in_the_connection_was_sent_before(call: str) -> None:
    """Frames may wait in batches of a handler that was quick: later calls of the transport come behind them."""
    behind = b"\x81\x01!"

    def act(transport: Any) -> None:
        if call == "socket":
            os.write(transport.get_extra_info("socket").fileno(), behind)
        elif call == "write":
            transport.write(behind)
        else:
            getattr(transport, call)()

    async def handler(ws: ServerConnection) -> None:
        async for message in ws:
            await ws.send(message)
            if message == "act":
                act(ws.transport)

    async def main() -> None:
        async with (
            serve(handler, engine="reactor", close_timeout=0.05) as server,
            await RawPeer.open(port_of(server)) as peer,
        ):
            batch = encode_frame(Opcode.TEXT, b"quick") * 8
            for _ in range(50):
                await peer.send(batch)
                for _ in range(8):
                    assert (await peer.read_frame()).payload == b"quick"
            await peer.send(*(encode_frame(Opcode.TEXT, text) for text in (b"1", b"2", b"act", b"4")))
            expected = [b"1", b"2", b"act"] + ([b"!", b"4"] if call in ("write", "socket") else [])
            assert [(await peer.read_frame()).payload for _ in expected] == expected

    run_clean(main)


def test_abort_drops_what_waits() -> None:
    async def test(peer: RawPeer, transport: Any) -> None:
        transport.write(bytes(10_000_000))
        transport.abort()
        assert transport.get_write_buffer_size() == 0
        assert len(await peer.read_to_eof()) < 10_000_000

    run_with_pair(test, receive_buffer=4096)


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, (16384, 65536)), ({"high": 100}, (25, 100)), ({"low": 10}, (10, 40)), ({"high": 0}, (0, 0))],
)
def test_write_buffer_limits(given: dict[str, int], expected: tuple[int, int]) -> None:
    async def test(peer: RawPeer, transport: Any) -> None:
        transport.set_write_buffer_limits(**given)
        assert transport.get_write_buffer_limits() == expected

    run_with_pair(test)


@pytest.mark.parametrize("given", [{"high": 1, "low": 2}, {"high": -1}, {"low": -1}])
def test_write_buffer_limits_that_make_no_sense(given: dict[str, int]) -> None:
    async def test(peer: RawPeer, transport: Any) -> None:
        with pytest.raises(ValueError, match="write buffer limits are"):
            transport.set_write_buffer_limits(**given)

    run_with_pair(test)


# --- programs that come between ---


class Recording:
    """A wrapper that a program may put around a transport, in order to see the bytes that are written."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.written = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        self.written += data
        self.transport.write(data)


class RecordingConnection(ServerConnection):
    def connection_made(self, transport: Any) -> None:
        super().connection_made(Recording(transport))


async def send_in_all_ways(ws: Any) -> None:
    await ws.send("1")
    await ws.send([b"2", b"3"])
    trunkline.broadcast([ws], "4")
    ws.send_nowait(PreparedMessage(b"5" * 100_000))


SENT = [b"1", b"2", b"3", b"", b"4", b"5" * 100_000]


def test_connection_writes_to_what_a_subclass_puts_around_the_transport() -> None:
    """It used to be taken for the transport itself, and the process crashed."""

    async def main() -> None:
        accepted = Accepted()
        async with (
            serve(accepted, engine="reactor", create_connection=RecordingConnection) as server,
            await RawPeer.open(port_of(server)) as peer,
        ):
            ws = await accepted.connection()
            assert ws.transport.written.startswith(b"HTTP/1.1 101 ")
            ws.transport.written = b""
            await send_in_all_ways(ws)
            assert [(await peer.read_frame()).payload for _ in SENT] == SENT
            assert len(ws.transport.written) == sum(map(len, SENT)) + 2 * 5 + 10

    run_clean(main)


def test_transport_of_an_open_connection_can_be_wrapped() -> None:
    async def main() -> None:
        async with Accepting() as accepting:
            peer, ws = await accepting.pair()
            async with peer:
                recording: Any = Recording(ws.transport)
                ws.transport = recording
                await send_in_all_ways(ws)
                assert [(await peer.read_frame()).payload for _ in SENT] == SENT
                assert len(recording.written) == sum(map(len, SENT)) + 2 * 5 + 10

    run_clean(main)


def test_write_can_be_replaced_and_put_back() -> None:
    """As a test does that drops what one side sends."""

    async def main() -> None:
        async with Accepting() as accepting:
            peer, ws = await accepting.pair()
            async with peer:
                with mock.patch.object(ws.transport, "write") as write:
                    await send_in_all_ways(ws)
                    await peer.send(encode_frame(Opcode.PING, b"6"))
                    await settled(lambda: write.call_args == mock.call(b"\x8a\x016"))
                written = b"".join(call.args[0] for call in write.call_args_list)
                assert written.startswith(b"\x81\x011\x02\x012")
                await ws.send("7")
                assert (await peer.read_frame()).payload == b"7"

    run_clean(main)


# --- the rest of the interface ---


def test_protocol_is_kept() -> None:
    async def test(peer: RawPeer, transport: Any) -> None:
        assert transport.get_protocol().transport is transport
        with pytest.raises(RuntimeError, match="engine='transports'"):
            transport.set_protocol(asyncio.Protocol())

    run_with_pair(test)


def test_no_message_waits_for_the_acknowledgement_of_the_one_before() -> None:
    async def test(peer: RawPeer, transport: Any) -> None:
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0

    run_with_pair(test)


def test_socket_of_the_program_is_a_descriptor_of_its_own() -> None:
    """The transport keeps its descriptor, although the program closes the socket that it was given."""

    async def test(peer: RawPeer, transport: Any) -> None:
        sock = transport.get_extra_info("socket")
        assert transport.get_extra_info("socket").fileno() == sock.fileno()
        transport.abort()
        await settled(lambda: sock.fileno() == -1)
        assert sock.fileno() == -1

    run_with_pair(test)


def test_calls_after_the_end_do_nothing() -> None:
    async def test(peer: RawPeer, transport: Any) -> None:
        transport.abort()
        for _ in range(2):
            transport.write(b"x")
            transport.writelines([b"x", b"y"])
            transport.write_eof()
            transport.pause_reading()
            transport.resume_reading()
            transport.close()
            transport.abort()
            assert transport.is_closing()
            assert not transport.is_reading()
            await asyncio.sleep(0)
        assert await peer.read_to_eof() == b""

    run_with_pair(test)


@pytest.mark.parametrize("call", ["write", "writelines"])
@pytest.mark.parametrize("data", [None, bytearray(b"x"), "x"])
def test_only_bytes_are_written(call: str, data: Any) -> None:
    async def test(peer: RawPeer, transport: Any) -> None:
        with pytest.raises(TypeError):
            getattr(transport, call)([data] if call == "writelines" and data is not None else data)

    run_with_pair(test)


# --- reactors ---


def test_reactor_comes_and_goes_with_its_sockets() -> None:
    """A program that only connects now and then keeps no descriptor in between."""

    async def main() -> None:
        async with scripted_server(hold) as port:
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(3):
                async with connect(port, close_timeout=0.05):
                    assert len(os.listdir("/proc/self/fd")) > before
                await settled(lambda: len(os.listdir("/proc/self/fd")) <= before)
                assert len(os.listdir("/proc/self/fd")) <= before

    async def hold(peer: RawPeer) -> None:
        await accept_handshake(peer)
        await peer.read_to_eof()

    run_clean(main)


def test_loops_one_after_another_have_their_own_reactors() -> None:
    async def main() -> None:
        async with serve(engine="reactor") as server, connect(server) as ws:
            await ws.send("x")
            assert await ws.recv() == "x"

    for _ in range(5):
        run_clean(main)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_lonely_connection_gets_company_and_loses_it(loop: str) -> None:
    """The event loop watches a lonely socket itself, and goes back to the epoll whenever that isn't enough."""

    async def echo_frames(peer: RawPeer) -> None:
        await accept_handshake(peer)
        while True:
            frame = await peer.read_frame()
            await peer.send(encode_frame(frame.opcode, frame.payload, mask=None))

    async def answers(*clients: Any) -> None:
        for client in clients:
            await client.send("x" * 100_000)
        for client in clients:
            assert len(await client.recv()) == 100_000

    async def main() -> None:
        async with scripted_server(echo_frames) as port:
            first = await connect(port, ping_interval=None, close_timeout=0.05)
            for ending in ("abort", "close"):
                await answers(first)
                second, third = await connect(port), await connect(port)
                await answers(first, second, third)
                for other in (second, third):
                    getattr(other.transport, ending)()
                    await other.wait_closed()
            first.transport.pause_reading()
            waiting = asyncio.create_task(answers(first))
            second = await connect(port)
            for _ in range(3):
                await answers(second)
            second.transport.abort()
            await second.wait_closed()
            assert not waiting.done()
            first.transport.resume_reading()
            await waiting
            first.transport.abort()
            await first.wait_closed()

    run_clean(main, LOOPS[loop])


def test_connection_class_that_cannot_be_made_harms_no_other() -> None:
    failures = 0

    def create_connection(protocol: Side, server: Server) -> ServerConnection:
        nonlocal failures
        if failures < 2:
            failures += 1
            raise RuntimeError("cannot be made")
        return ServerConnection(protocol, server)

    async def main() -> None:
        unseen: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unseen.append(context["exception"]))
        async with serve(create_connection=create_connection, engine="reactor") as server:
            for _ in range(2):
                async with await RawPeer.connect(port_of(server)) as peer:
                    await peer.send(request())
                    assert await peer.read_to_eof() == b""
            async with connect(server) as client:
                await client.send("now")
                assert await client.recv() == "now"
        assert [str(error) for error in unseen] == ["cannot be made"] * 2

    run_clean(main)


def test_error_in_the_code_of_a_connection_ends_only_that() -> None:
    class Broken(ServerConnection):
        def start(self, *arguments: Any) -> None:
            if self.path == "/broken":
                raise RuntimeError("a bug")
            super().start(*arguments)

    async def main() -> None:
        unseen: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: unseen.append(context))
        async with serve(create_connection=Broken, engine="reactor") as server, connect(server) as other:
            async with await RawPeer.connect(port_of(server)) as peer:
                await peer.send(request(path="/broken"))
                assert (await peer.read_to_eof()).endswith(b"\r\n\r\n")  # of the head, and no frame
            await other.send("fine")
            assert await other.recv() == "fine"
        assert [context["message"] for context in unseen] == ["unexpected error in the reactor"]

    run_clean(main)


# --- listening and connecting ---


def test_a_connection_that_fails_when_it_is_made_is_closed() -> None:
    class Failing(ServerConnection):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            raise LookupError("no")

    async def main() -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        async with serve(echo, engine="reactor", create_connection=Failing) as server:
            async with await RawPeer.connect(port_of(server)) as peer:
                await peer.send(request())
                assert await peer.read_to_eof() == b""
            assert not server.connections
        assert [str(context["exception"]) for context in reported] == ["no"]

    run_clean(main)


def test_listener_on_several_sockets_starts_later_and_closes() -> None:
    async def main() -> None:
        server = await trunkline.serve(idle, ["127.0.0.1", "::1"], 0, engine="reactor", start_serving=False)
        assert not server.is_serving()
        assert len(server.sockets) == 2
        (port,) = [sock.getsockname()[1] for sock in server.sockets if sock.family == socket.AF_INET]
        await server.start_serving()
        assert server.is_serving()
        async with connect(port) as ws:
            await ws.ping()
        server.close()
        await server.wait_closed()
        assert server.sockets == ()
        with pytest.raises(ConnectionRefusedError):
            await connect(port)

    run_clean(main)


def test_connecting_tries_all_addresses() -> None:
    async def main() -> None:
        async with serve(echo, engine="reactor") as server:
            port = port_of(server)
            async with trunkline.connect(f"ws://localhost:{port}", proxy=None, engine="reactor") as ws:
                assert ws.remote_address[:2] == ("127.0.0.1", port)
        with pytest.raises(OSError, match=r"connecting to localhost port|Connect call failed"):
            await trunkline.connect(f"ws://localhost:{port}", proxy=None, engine="reactor")

    run_clean(main)


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.2", "127.0.0.2"), (None, "127.0.0.1")])
def test_local_address_is_bound(host: str | None, expected: str) -> None:
    """Without a host, `local_addr` says which port, as for `loop.create_connection`."""

    async def main() -> None:
        async with serve(echo, engine="reactor") as server, connect(server, local_addr=(host, 0)) as ws:
            assert ws.local_address[0] == expected

    run_clean(main)


def test_local_address_that_is_taken() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            async with serve(echo, engine="reactor") as server:
                with pytest.raises(OSError) as caught:  # noqa: PT011
                    await connect(server, local_addr=other.getsockname())
        assert caught.value.errno == errno.EADDRINUSE

    run_clean(main)


def test_engine_info_names_the_reactor() -> None:
    assert trunkline.engine_info()["engine"] == "reactor"
    assert epoll.__file__.endswith(".so")

"""The promises of `websockets` 17.4 about its asyncio connections, and those that ours add."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import inspect
import logging
import re
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypedDict

import msgspec
import pytest

import trunkline
from tests.support.loop import run_clean, settled
from tests.support.pair import blocked_send, connect, idle, pair, port_of, raw_pair, serve, start
from tests.support.raw import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    RawFrame,
    RawPeer,
    accept_handshake,
    close_frame,
    encode_frame,
    scripted_server,
)
from trunkline.asyncio.connection import Connection
from trunkline.exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    PayloadTooBig,
    ProtocolError,
)
from trunkline.frames import Close


def run_pair(talk: Callable[[Any, Any], Any], **options: Any) -> None:
    """Run `talk(client, server)` on both ends of one connection."""

    async def main() -> None:
        async with pair(**options) as (client, server):
            await asyncio.wait_for(talk(client, server), 10)

    run_clean(main)


def run_raw(talk: Callable[[RawPeer, Any], Any], **options: Any) -> None:
    """Run `talk(peer, server)` with a client that speaks raw bytes."""

    async def main() -> None:
        async with raw_pair(**options) as (peer, server):
            await asyncio.wait_for(talk(peer, server), 10)

    run_clean(main)


async def hang_up(peer: RawPeer) -> None:
    """End the TCP connection, as a client does once the server has ended its side."""
    await peer.read_to_eof()
    peer.close()


async def read_frames(peer: RawPeer, count: int) -> list[tuple[int, bytes, bool]]:
    return [(frame.opcode, frame.payload, frame.fin) for frame in [await peer.read_frame() for _ in range(count)]]


# --- signatures ---


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("recv", {"decode": None}),
        ("recv_streaming", {"decode": None}),
        ("send", {"message": inspect.Parameter.empty, "text": None, "compress": None}),
        ("close", {"code": 1000, "reason": ""}),
        ("ping", {"data": None}),
        ("pong", {"data": b""}),
        ("wait_closed", {}),
    ],
)
def test_signature(method: str, expected: dict[str, Any]) -> None:
    parameters = inspect.signature(getattr(Connection, method)).parameters
    assert {name: parameter.default for name, parameter in parameters.items() if name != "self"} == expected


@pytest.mark.parametrize("name", ["text", "compress"])
def test_options_of_send_are_keyword_only(name: str) -> None:
    assert inspect.signature(Connection.send).parameters[name].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("name", ["ClientConnection", "ServerConnection"])
def test_both_connections_share_a_base(name: str) -> None:
    assert issubclass(getattr(trunkline, name), Connection)


# --- recv ---


def test_recv_tells_text_from_binary() -> None:
    async def talk(client: Any, server: Any) -> None:
        await client.send("text")
        await client.send(b"binary")
        assert [await server.recv(), await server.recv()] == ["text", b"binary"]

    run_pair(talk)


@pytest.mark.parametrize("kind", ["str", "bytes"])
def test_recv_decode_overrides(kind: str) -> None:
    async def talk(client: Any, server: Any) -> None:
        message: Any = "é" if kind == "str" else "é".encode()
        for decode, expected in [(None, message), (True, "é"), (False, "é".encode())]:
            await client.send(message)
            assert await server.recv(decode=decode) == expected
            await client.send(message)
            assert await server.recv(decode) == expected

    run_pair(talk)


@pytest.mark.parametrize(("decode", "expected"), [(None, "éa"), (True, "éa"), (False, "éa".encode())])
def test_recv_joins_fragments(decode: bool | None, expected: Any) -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await peer.send(encode_frame(TEXT, b"\xc3", fin=False), encode_frame(CONT, b"\xa9", fin=False))
        await peer.send(encode_frame(CONT, b"a"))
        assert await server.recv(decode=decode) == expected

    run_raw(talk)


def test_recv_returns_what_came_before_the_close() -> None:
    async def talk(client: Any, server: Any) -> None:
        await client.send("one")
        await client.send("two")
        await client.close()
        await server.wait_closed()
        assert [await server.recv(), await server.recv()] == ["one", "two"]
        with pytest.raises(ConnectionClosedOK):
            await server.recv()

    run_pair(talk)


def test_recv_is_cancel_safe_with_timeouts() -> None:
    async def talk(client: Any, server: Any) -> None:
        for n in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await server.recv()
            await client.send(str(n))
            assert await server.recv() == str(n)

    run_pair(talk)


@pytest.mark.parametrize("first", ["recv", "streaming", "iteration"])
@pytest.mark.parametrize("second", ["recv", "streaming", "iteration"])
def test_receiving_twice(first: str, second: str) -> None:
    async def receive(ws: Any, how: str) -> Any:
        match how:
            case "recv":
                return await ws.recv()
            case "streaming":
                return await anext(ws.recv_streaming())
            case _:
                return await anext(aiter(ws))

    async def talk(client: Any, server: Any) -> None:
        waiting = await start(receive(server, first))
        with pytest.raises(ConcurrencyError):
            await receive(server, second)
        await client.send("for the first")
        assert await waiting == "for the first"

    run_pair(talk)


def test_concurrency_error_is_a_runtime_error() -> None:
    assert issubclass(ConcurrencyError, RuntimeError)


# --- recv_streaming ---


def test_recv_streaming_yields_fragments_as_they_come() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        fragments = server.recv_streaming()
        await peer.send(encode_frame(TEXT, b"a\xc3", fin=False))
        assert await anext(fragments) == "a"
        await peer.send(encode_frame(CONT, b"\xa9b", fin=False))
        assert await anext(fragments) == "éb"
        await peer.send(encode_frame(CONT, b"c"))
        assert await anext(fragments) == "c"
        with pytest.raises(StopAsyncIteration):
            await anext(fragments)
        await peer.send(encode_frame(TEXT, b"next"))
        assert await server.recv() == "next"

    run_raw(talk)


@pytest.mark.parametrize(
    ("opcode", "decode", "expected"),
    [
        (TEXT, None, ["a", "b"]),
        (TEXT, False, [b"a", b"b"]),
        (BINARY, None, [b"a", b"b"]),
        (BINARY, True, ["a", "b"]),
    ],
)
def test_recv_streaming_decode_overrides(opcode: int, decode: bool | None, expected: list[Any]) -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await peer.send(encode_frame(opcode, b"a", fin=False), encode_frame(CONT, b"b"))
        assert [fragment async for fragment in server.recv_streaming(decode=decode)] == expected

    run_raw(talk)


def test_recv_streaming_of_a_whole_message() -> None:
    async def talk(client: Any, server: Any) -> None:
        await client.send("whole")
        await client.send(b"")
        assert [fragment async for fragment in server.recv_streaming()] == ["whole"]
        assert [fragment async for fragment in server.recv_streaming()] == [b""]

    run_pair(talk)


def test_recv_streaming_cancelled_before_the_first_fragment_loses_nothing() -> None:
    async def talk(client: Any, server: Any) -> None:
        waiting = await start(anext(server.recv_streaming()))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await client.send("whole")
        assert await server.recv() == "whole"

    run_pair(talk)


# --- iteration ---


def test_iteration_ends_when_the_connection_closes_normally() -> None:
    async def talk(client: Any, server: Any) -> None:
        for n in range(3):
            await client.send(str(n))
        closing = asyncio.create_task(client.close(1001))
        assert [message async for message in server] == ["0", "1", "2"]
        await closing

    run_pair(talk)


def test_iteration_raises_when_the_connection_breaks() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await peer.send(encode_frame(TEXT, b"one"))
        messages = aiter(server)
        assert await anext(messages) == "one"
        peer.reset()
        with pytest.raises(ConnectionClosedError):
            await anext(messages)

    run_raw(talk)


def test_iteration_can_be_left_and_taken_up_again() -> None:
    async def talk(client: Any, server: Any) -> None:
        for n in range(3):
            await client.send(str(n))
        async for message in server:
            assert message == "0"
            break
        assert await server.recv() == "1"
        async for message in server:
            assert message == "2"
            break

    run_pair(talk)


# --- send ---


@pytest.mark.parametrize(
    ("message", "text", "expected"),
    [
        ("é", None, (TEXT, "é".encode())),
        ("é", False, (BINARY, "é".encode())),
        (b"b", None, (BINARY, b"b")),
        (b"b", True, (TEXT, b"b")),
        (bytearray(b"b"), None, (BINARY, b"b")),
        (memoryview(b"b"), None, (BINARY, b"b")),
        (memoryview(b"b"), True, (TEXT, b"b")),
        (memoryview(b"abcdef")[::2], None, (BINARY, b"ace")),
        ("", None, (TEXT, b"")),
        (b"", None, (BINARY, b"")),
    ],
)
def test_send(message: Any, text: bool | None, expected: tuple[int, bytes]) -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await server.send(message, text=text)
        assert (await peer.read_frame())[:2] == expected

    run_raw(talk)


async def asynchronously(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item


def synchronously(items: list[Any]) -> Iterator[Any]:
    yield from items


@pytest.mark.parametrize("wrap", [list, synchronously, asynchronously])
@pytest.mark.parametrize(
    ("fragments", "text", "opcode"),
    [
        (["a", "é", "c"], None, TEXT),
        ([b"a", bytearray("é".encode()), memoryview(b"c")], None, BINARY),
        (["a", "é", "c"], False, BINARY),
        ([b"a", "é".encode(), b"c"], True, TEXT),
    ],
    ids=["text", "binary", "text as binary", "binary as text"],
)
def test_send_fragments(wrap: Callable[[list[Any]], Any], fragments: list[Any], text: Any, opcode: int) -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await server.send(wrap(fragments), text=text)
        await server.send("next")
        frames = []
        while not frames or frames[-1].opcode != TEXT or frames[-1].payload != b"next":
            frames.append(await peer.read_frame())
        message = frames[:-1]
        assert b"".join(frame.payload for frame in message) == "aéc".encode()
        assert [frame.opcode for frame in message] == [opcode] + [CONT] * (len(message) - 1)
        assert [frame.fin for frame in message] == [False] * (len(message) - 1) + [True]
        assert len(message) >= 3

    run_raw(talk)


@pytest.mark.parametrize("wrap", [list, synchronously, asynchronously])
def test_send_of_no_fragments_sends_nothing(wrap: Callable[[list[Any]], Any]) -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await server.send(wrap([]))
        await server.send("next")
        assert await peer.read_frame() == RawFrame(TEXT, b"next")

    run_raw(talk)


@pytest.mark.parametrize("wrap", [list, synchronously, asynchronously])
@pytest.mark.parametrize("fragments", [["a", b"b"], [b"a", "b"], ["a", 42]])
def test_send_of_mixed_fragments_fails_the_connection(wrap: Callable[[list[Any]], Any], fragments: list[Any]) -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        failing = asyncio.create_task(server.send(wrap(fragments)))
        assert await peer.read_close() == 1011
        await peer.send(close_frame(1011))
        await hang_up(peer)
        with pytest.raises(TypeError):
            await failing

    run_raw(talk)


@pytest.mark.parametrize("wrap", [list, synchronously, asynchronously])
def test_send_of_fragments_that_are_no_data(wrap: Callable[[list[Any]], Any]) -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        with pytest.raises(TypeError):
            await server.send(wrap([42]))

    run_raw(talk, close_timeout=0.1)


@pytest.mark.parametrize("message", [{"a": "b"}, 42, None, object(), 1.5])
def test_send_of_no_message(message: Any) -> None:
    async def talk(client: Any, server: Any) -> None:
        with pytest.raises(TypeError):
            await client.send(message)
        await client.send("still usable")
        assert await server.recv() == "still usable"

    run_pair(talk)


def test_send_waits_for_a_fragmented_message() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        more = asyncio.Event()

        async def fragments() -> AsyncIterator[str]:
            yield "a"
            await more.wait()
            yield "b"

        fragmented = await start(server.send(fragments()))
        whole = await start(server.send("whole"))
        more.set()
        await asyncio.gather(fragmented, whole)
        frames = await read_frames(peer, 4)
        assert b"".join(payload for _, payload, _ in frames) == b"abwhole"
        assert frames[-1] == (TEXT, b"whole", True)

    run_raw(talk)


def test_send_waits_at_write_limit_and_goes_on() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        sending = await blocked_send(server)
        for _ in range(200):
            assert await peer.read_frame() == RawFrame(BINARY, b"x" * 65536)
        assert not sending.done()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        server.transport.abort()

    run_raw(talk)


def test_concurrent_sends_keep_messages_whole() -> None:
    async def talk(client: Any, server: Any) -> None:
        texts = [str(n) * (1 + 300 * n) for n in range(50)]
        receiving = asyncio.create_task(collect(server, len(texts)))
        await asyncio.gather(*(client.send(text) for text in texts))
        assert sorted(await receiving) == sorted(texts)

    async def collect(ws: Any, count: int) -> list[Any]:
        return [await ws.recv() for _ in range(count)]

    run_pair(talk)


def test_iterating_goes_through_recv_of_a_subclass() -> None:
    class Shouting(trunkline.ClientConnection):
        async def recv(self, decode: bool | None = None) -> Any:
            return str(await super().recv(decode)).upper()

    async def handler(ws: Any) -> None:
        await ws.send("one")
        await ws.send("two")

    async def main() -> None:
        async with serve(handler) as server, connect(server, create_connection=Shouting) as ws:
            assert [message async for message in ws] == ["ONE", "TWO"]

    run_clean(main)


# --- ping, pong, latency ---


def test_ping_gives_the_latency() -> None:
    async def talk(client: Any, server: Any) -> None:
        waiter = await client.ping()
        latency = await waiter
        assert isinstance(latency, float)
        assert 0 < latency < 10
        assert client.latency == latency

    run_pair(talk, ping_interval=None)


def test_ping_has_four_random_bytes() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        for _ in range(10):
            await server.ping()
        payloads = {(await peer.read_frame()).payload for _ in range(10)}
        assert len(payloads) == 10
        assert {len(payload) for payload in payloads} == {4}

    run_raw(talk, ping_interval=None, close_timeout=0.1)


@pytest.mark.parametrize("data", ["é", "é".encode(), bytearray("é".encode()), memoryview("é".encode())])
def test_ping_and_pong_take_data(data: Any) -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await server.ping(data)
        await server.pong(data)
        await server.pong()
        assert await read_frames(peer, 3) == [(PING, "é".encode(), True), (PONG, "é".encode(), True), (PONG, b"", True)]

    run_raw(talk, close_timeout=0.1)


@pytest.mark.parametrize("data", [42, ["a"], {}])
def test_ping_and_pong_of_no_data(data: Any) -> None:
    async def talk(client: Any, server: Any) -> None:
        with pytest.raises(TypeError):
            await client.ping(data)
        with pytest.raises(TypeError):
            await client.pong(data)

    run_pair(talk)


def test_ping_with_the_same_data_twice() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await server.ping(b"same")
        with pytest.raises(ConcurrencyError, match="already waiting for a pong with the same data"):
            await server.ping(b"same")
        await peer.send(encode_frame(PONG, b"same"))
        await settled(lambda: server.latency > 0)
        await server.ping(b"same")

    run_raw(talk, ping_interval=None, close_timeout=0.1)


def test_pong_acknowledges_earlier_pings() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        waiters = [await server.ping(data) for data in (b"1", b"2", b"3")]
        await peer.send(encode_frame(PONG, b"2"))
        await asyncio.gather(*waiters[:2])
        assert not waiters[2].done()
        await peer.send(encode_frame(PONG, b"unsolicited"), encode_frame(PONG, b"1"))
        await peer.send(encode_frame(PONG, b"3"))
        await waiters[2]

    run_raw(talk, close_timeout=0.1)


def test_cancelled_ping_waiter_harms_nothing() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        first, second = await server.ping(b"1"), await server.ping(b"2")
        first.cancel()
        await peer.send(encode_frame(PONG, b"2"))
        await second

    run_raw(talk, close_timeout=0.1)


def test_pings_pending_at_close_fail() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        waiter = await server.ping()
        await peer.send(close_frame(4000))
        await hang_up(peer)
        with pytest.raises(ConnectionClosedError, match="4000"):
            await waiter

    run_raw(talk)


def test_pings_pending_at_close_that_nobody_awaits_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await server.ping()
        peer.reset()
        await server.wait_closed()

    run_raw(talk)
    gc.collect()
    assert not caplog.records


def test_pings_are_answered_without_receiving() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await peer.send(encode_frame(PING, b"data"))
        assert await peer.read_frame() == RawFrame(PONG, b"data")

    run_raw(talk)


def test_keepalive_pings_and_measures_latency() -> None:
    async def talk(client: Any, server: Any) -> None:
        assert client.latency == 0
        await settled(lambda: client.latency > 0)
        assert client.latency > 0

    run_pair(talk, ping_interval=0.02)


def test_keepalive_can_be_disabled() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await peer.read_frame()

    run_raw(talk, ping_interval=None, close_timeout=0.1)


def test_keepalive_without_timeout_only_pings() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        for _ in range(3):
            assert (await peer.read_frame()).opcode == PING
        assert server.state is trunkline.State.OPEN

    run_raw(talk, ping_interval=0.05, ping_timeout=None, close_timeout=0.1)


def test_keepalive_closes_without_a_pong() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        receiving = await start(server.recv())
        assert await peer.read_close() == 1011
        with pytest.raises(ConnectionClosedError) as caught:
            await receiving
        assert str(caught.value) == "sent 1011 (internal error) keepalive ping timeout; no close frame received"

    run_raw(talk, ping_interval=0.05, ping_timeout=0.05, close_timeout=0.1)


# --- close ---


def test_close_sends_code_and_reason() -> None:
    async def talk(client: Any, server: Any) -> None:
        await client.close(4000, "because")
        await server.wait_closed()
        for ws in (client, server):
            assert (ws.close_code, ws.close_reason) == (4000, "because")
            assert ws.state is trunkline.State.CLOSED

    run_pair(talk)


def test_close_is_idempotent() -> None:
    async def talk(client: Any, server: Any) -> None:
        await client.close(4000)
        await client.close(4001)
        await server.close()
        assert client.close_code == server.close_code == 4000

    run_pair(talk)


def test_close_waits_for_the_peer_up_to_close_timeout() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await server.close()
        assert server.state is trunkline.State.CLOSED
        assert server.close_code == 1006

    run_raw(talk, close_timeout=0.1)


def test_close_does_not_wait_for_unread_messages() -> None:
    async def talk(client: Any, server: Any) -> None:
        for _ in range(10):
            await client.send("x" * 1000)
        await server.close()
        assert client.close_code == 1000

    run_pair(talk, max_queue=1)


def test_wait_closed_waits_for_either_side() -> None:
    async def talk(client: Any, server: Any) -> None:
        waiting = [await start(client.wait_closed()), await start(server.wait_closed())]
        await client.close()
        await asyncio.gather(*waiting)
        await client.wait_closed()

    run_pair(talk)


def test_wait_closed_can_be_cancelled() -> None:
    async def talk(client: Any, server: Any) -> None:
        waiting = await start(client.wait_closed())
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await client.send("still open")
        assert await server.recv() == "still open"

    run_pair(talk)


def test_states() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        assert server.state is trunkline.State.OPEN
        closing = await start(server.close())
        assert server.state is trunkline.State.CLOSING
        assert await peer.read_close() == 1000
        await peer.send(close_frame())
        await hang_up(peer)
        await closing
        assert server.state is trunkline.State.CLOSED

    run_raw(talk)


# --- ConnectionClosed ---


def test_connection_closed_ok() -> None:
    async def talk(client: Any, server: Any) -> None:
        await client.close()
        with pytest.raises(ConnectionClosedOK) as caught:
            await client.recv()
        error = caught.value
        assert (error.rcvd, error.sent, error.rcvd_then_sent) == (Close(1000, ""), Close(1000, ""), False)
        assert str(error) == "sent 1000 (OK); then received 1000 (OK)"
        with pytest.raises(ConnectionClosedOK) as caught:
            await server.send("late")
        assert caught.value.rcvd_then_sent is True
        assert str(caught.value) == "received 1000 (OK); then sent 1000 (OK)"

    run_pair(talk)


@pytest.mark.parametrize(("code", "expected"), [(1000, ConnectionClosedOK), (1001, ConnectionClosedOK)])
def test_normal_close_codes(code: int, expected: type[Exception]) -> None:
    async def talk(client: Any, server: Any) -> None:
        await client.close(code)
        with pytest.raises(expected):
            await server.recv()

    run_pair(talk)


def test_empty_close_is_normal() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await peer.send(close_frame(None))
        await hang_up(peer)
        with pytest.raises(ConnectionClosedOK):
            await server.recv()
        assert server.close_code == 1005
        assert server.close_reason == ""

    run_raw(talk)


@pytest.mark.parametrize("code", [1002, 1008, 1011, 3000, 4999])
def test_other_close_codes(code: int) -> None:
    async def talk(client: Any, server: Any) -> None:
        await client.close(code, "why")
        with pytest.raises(ConnectionClosedError, match=rf"received {code} .*why; then sent {code} .*why"):
            await server.recv()

    run_pair(talk)


def test_connection_closed_without_close_frames() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        peer.reset()
        with pytest.raises(ConnectionClosedError, match=r"^no close frame received or sent$") as caught:
            await server.recv()
        assert (caught.value.rcvd, caught.value.sent, caught.value.rcvd_then_sent) == (None, None, None)
        assert isinstance(caught.value.__cause__, (OSError, EOFError))
        assert (server.close_code, server.close_reason) == (1006, "")

    run_raw(talk)


@pytest.mark.parametrize(
    ("data", "code", "cause"),
    [
        (encode_frame(0x3), 1002, ProtocolError),
        (encode_frame(TEXT, b"\xff"), 1007, UnicodeDecodeError),
        (encode_frame(TEXT, b"x" * 2000), 1009, PayloadTooBig),
    ],
    ids=["protocol error", "invalid UTF-8", "too big"],
)
def test_cause_of_connection_closed(data: bytes, code: int, cause: type[Exception]) -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await peer.send(data)
        await hang_up(peer)
        with pytest.raises(ConnectionClosedError) as caught:
            await server.recv()
        assert caught.value.sent.code == code
        assert isinstance(caught.value.__cause__, cause)

    run_raw(talk, max_size=1000)


def test_code_and_reason_are_deprecated() -> None:
    error = ConnectionClosedError(Close(4000, "why"), None)
    with pytest.warns(DeprecationWarning, match="code"):
        assert error.code == 4000
    with pytest.warns(DeprecationWarning, match="reason"):
        assert error.reason == "why"


def test_each_operation_raises_its_own_exception_object() -> None:
    async def talk(client: Any, server: Any) -> None:
        await client.close()
        errors = []
        for _ in range(2):
            with pytest.raises(ConnectionClosed) as caught:
                await client.recv()
            errors.append(caught.value)
        # One object raised again and again would collect tracebacks.
        assert errors[0] is not errors[1]

    run_pair(talk)


# --- limits ---


@pytest.mark.parametrize("max_size", [None, 1 << 24])
def test_max_size_can_be_raised(max_size: int | None) -> None:
    async def talk(client: Any, server: Any) -> None:
        await client.send(b"x" * (3 << 20))
        assert len(await server.recv()) == 3 << 20

    run_pair(talk, max_size=max_size)


def test_max_size_is_a_mebibyte() -> None:
    async def talk(client: Any, server: Any) -> None:
        await client.send(b"x" * (1 << 20))
        assert len(await server.recv()) == 1 << 20
        sending = asyncio.create_task(client.send(b"x" * ((1 << 20) + 1)))
        with pytest.raises(ConnectionClosedError) as caught:
            await server.recv()
        assert caught.value.sent.code == 1009
        with contextlib.suppress(ConnectionClosed):
            await sending

    run_pair(talk)


@pytest.mark.parametrize("max_size", [(None, 10), (100, 10), (100, None), (100, 20)])
def test_max_size_of_message_and_fragment(max_size: tuple[int | None, int | None]) -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await peer.send(encode_frame(BINARY, b"x" * 10, fin=False), encode_frame(CONT, b"x" * 10))
        assert await server.recv() == b"x" * 20
        await peer.send(encode_frame(BINARY, b"x" * 101))
        await hang_up(peer)
        with pytest.raises(ConnectionClosedError) as caught:
            await server.recv()
        assert caught.value.sent.code == 1009

    run_raw(talk, max_size=max_size)


@pytest.mark.parametrize("max_queue", [None, 1, (4, 2), 0])
def test_max_queue(max_queue: Any) -> None:
    async def talk(client: Any, server: Any) -> None:
        sending = asyncio.create_task(send_all(client))
        assert [await server.recv() for _ in range(100)] == [str(n) for n in range(100)]
        await sending

    async def send_all(ws: Any) -> None:
        for n in range(100):
            await ws.send(str(n))

    run_pair(talk, max_queue=max_queue)


@pytest.mark.parametrize("write_limit", [0, 1, (1 << 20, 1 << 10), (1 << 16, None)])
def test_write_limit(write_limit: Any) -> None:
    async def talk(client: Any, server: Any) -> None:
        sending = asyncio.create_task(client.send(b"x" * 1_000_000))
        assert len(await server.recv()) == 1_000_000
        await sending

    run_pair(talk, write_limit=write_limit)


# --- context manager ---


def test_context_manager_closes_with_1000() -> None:
    async def main() -> None:
        async with serve(idle) as server:
            async with await connect(server) as ws:
                pass
            assert ws.close_code == 1000

    run_clean(main)


def test_context_manager_closes_with_1011_after_an_error() -> None:
    async def main() -> None:
        async with serve(idle) as server:
            with pytest.raises(ValueError, match="mine"):
                async with await connect(server) as ws:
                    raise ValueError("mine")
            assert ws.close_code == 1011

    run_clean(main)


# --- logging ---


def test_debug_log_shows_frames(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "websockets.server")

    async def talk(peer: RawPeer, server: Any) -> None:
        await peer.send(encode_frame(TEXT, b"hello"), encode_frame(BINARY, bytes(100)))
        await server.recv()
        await server.send(b"\x00\xff")
        await server.ping(b"ping")
        await peer.send(close_frame(4000, b"why"))
        await hang_up(peer)
        await server.wait_closed()

    run_raw(talk)
    text = "\n".join(record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG)
    for expected in (
        r"< GET / HTTP/1.1",
        r"< Upgrade: websocket",
        r"> HTTP/1.1 101 Switching Protocols",
        r"= connection is CONNECTING",
        r"= connection is OPEN",
        r"< TEXT 'hello' \[5 bytes\]",
        r"< BINARY 00 00 .* \[100 bytes\]",
        r"> BINARY 00 ff \[2 bytes\]",
        r"> PING 'ping' \[text, 4 bytes\]",
        r"< CLOSE 4000 \(private use\) why \[5 bytes\]",
        r"> CLOSE 4000 \(private use\) why \[5 bytes\]",
        r"= connection is CLOSING",
        r"> EOF",
        r"= connection is CLOSED",
    ):
        assert re.search(f"^({expected})$", text, re.MULTILINE), f"{expected}\nnot in\n{text}"


def test_debug_log_shows_keepalive(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "websockets.client")

    async def talk(client: Any, server: Any) -> None:
        await settled(lambda: client.latency > 0)

    run_pair(talk, ping_interval=0.02)
    assert "% sent keepalive ping" in [record.getMessage() for record in caplog.records]


def test_log_records_know_their_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "websockets.server")

    async def talk(client: Any, server: Any) -> None:
        (opened,) = [record for record in caplog.records if record.msg.startswith("connection open")]
        assert opened.websocket.id == server.id
        assert isinstance(opened.websocket, weakref.ProxyType)

    run_pair(talk)


# --- JSON ---


class Point(msgspec.Struct):
    x: int
    y: int


@dataclasses.dataclass
class Person:
    name: str
    age: int


class Entry(TypedDict):
    key: str
    values: list[int]


def test_send_json_sends_text() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await server.send_json({"hello": ["wörld", 1, None, True, 1.5]})
        frame = await peer.read_frame()
        assert frame.opcode == TEXT
        assert msgspec.json.decode(frame.payload) == {"hello": ["wörld", 1, None, True, 1.5]}

    run_raw(talk)


@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], "text", 42, None, True])
def test_json_round_trip(value: Any) -> None:
    async def talk(client: Any, server: Any) -> None:
        await client.send_json(value)
        assert await server.recv_json() == value

    run_pair(talk)


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (Point(1, 2), Point),
        (Person("Ada", 36), Person),
        (Entry(key="k", values=[1, 2]), Entry),
        ([Point(1, 2)], list[Point]),
        ({"p": Point(1, 2)}, dict[str, Point]),
        (None, Person | None),
    ],
    ids=["Struct", "dataclass", "TypedDict", "list", "dict", "union"],
)
def test_json_is_typed(value: Any, type_: Any) -> None:
    async def talk(client: Any, server: Any) -> None:
        await client.send_json(value)
        received = await server.recv_json(type=type_)
        assert received == value
        assert type(received) is type(value)

    run_pair(talk)


@pytest.mark.parametrize(
    ("data", "type_", "position", "path"),
    [
        (b'{"a": 1,}', None, 8, None),
        (b"", None, None, None),
        (b"[oops]", None, 1, None),
        (b'[1, 2, "x"]', list[int], None, "$[2]"),
        (b'{"x": 1}', Point, None, "$"),
        (b'{"name": "Ada", "age": "old"}', Person, None, "$.age"),
    ],
    ids=["malformed", "empty", "nonsense", "item", "missing", "type"],
)
def test_invalid_json(data: bytes, type_: Any, position: int | None, path: str | None) -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await peer.send(encode_frame(TEXT, data), encode_frame(TEXT, b'"next"'))
        with pytest.raises(trunkline.InvalidJSON) as caught:
            await server.recv_json(type=type_)
        error = caught.value
        assert isinstance(error, trunkline.WebSocketException)
        assert isinstance(error, ValueError)
        if position is not None:
            assert error.position == position
            assert str(position) in str(error)
        if path is not None:
            assert error.path == path
        assert await server.recv_json() == "next"
        await server.send_json("still usable")
        assert await peer.read_frame() == RawFrame(TEXT, b'"still usable"')

    run_raw(talk)


def test_json_in_binary_messages_and_fragments() -> None:
    async def talk(peer: RawPeer, server: Any) -> None:
        await peer.send(encode_frame(BINARY, b'{"a": 1}'))
        assert await server.recv_json() == {"a": 1}
        await peer.send(encode_frame(TEXT, b'{"a"', fin=False), encode_frame(CONT, b": 1}"))
        assert await server.recv_json() == {"a": 1}

    run_raw(talk)


def test_send_json_of_what_json_cannot_say() -> None:
    async def talk(client: Any, server: Any) -> None:
        with pytest.raises((TypeError, ValueError)):
            await client.send_json(object())
        await client.send_json("still usable")
        assert await server.recv_json() == "still usable"

    run_pair(talk)


def test_recv_json_after_the_end() -> None:
    async def talk(client: Any, server: Any) -> None:
        await client.close()
        with pytest.raises(ConnectionClosedOK):
            await server.recv_json()

    run_pair(talk)


# --- the client's own side ---


def test_client_masks_and_server_does_not() -> None:
    masks = []

    async def script(peer: RawPeer) -> None:
        await accept_handshake(peer)
        frame = await peer.read_frame()
        masks.append(frame.mask)
        assert frame.payload == b"hello"
        assert (await peer.read_frame()).opcode == CLOSE
        await peer.send(close_frame(mask=None))

    async def main() -> None:
        async with scripted_server(script) as port, connect(port) as ws:
            await ws.send("hello")
        async with raw_pair() as (peer, server):
            await server.send("hello")
            assert (await peer.read_frame()).mask is None

    run_clean(main)
    assert len(masks) == 1
    assert masks[0] is not None


def test_port_of_is_what_the_client_connects_to() -> None:
    async def main() -> None:
        async with serve(idle) as server, connect(server) as ws:
            assert ws.remote_address[:2] == ("127.0.0.1", port_of(server))

    run_clean(main)

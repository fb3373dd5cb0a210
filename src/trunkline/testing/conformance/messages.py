"""Messages: both types, all sizes, and what the calls that send and receive them promise."""

from __future__ import annotations

import json
import os
import random
import zlib

from trunkline.core.writer import PreparedMessage
from trunkline.exceptions import ConcurrencyError, ConnectionClosedError
from trunkline.json import InvalidJSON
from trunkline.testing.conformance.scenario import BOTH, PAIR, scenario
from trunkline.testing.conformance.world import World, expect, unmasked
from trunkline.testing.wire import BINARY, TEXT, RawFrame

#: Sizes about which the length of a payload is encoded in another way (RFC 6455 section 5.2), and buffers end.
SIZES = (0, 1, 125, 126, 127, 65535, 65536, 300_000)


@scenario(*BOTH)
def receives_text_and_binary(world: World) -> None:
    """RFC 6455 section 5.6: text is str, binary is bytes, whatever the size."""
    with world.link() as (ws, peer):
        for size in SIZES:
            payload = bytes(i % 128 for i in range(size))
            peer.send_frame(TEXT, payload)
            assert ws.recv() == payload.decode()
            peer.send_frame(BINARY, payload)
            assert ws.recv() == payload


@scenario(*BOTH)
def sends_text_and_binary(world: World) -> None:
    """Sections 5.2 and 5.3: frames of the shortest form, masked by clients only."""
    with world.link() as (ws, peer):
        for size in SIZES:
            payload = bytes(i % 128 for i in range(size))
            for message, opcode in ((payload.decode(), TEXT), (payload, BINARY)):
                sending = ws.start("send", message)
                frame = peer.read_frame()
                sending.result()
                assert (frame.opcode, frame.payload, frame.fin, frame.rsv) == (opcode, payload, True, 0)
                assert (frame.mask is None) == (world.role == 0)


@scenario(*BOTH)
def bytes_arrive_one_by_one(world: World) -> None:
    """TCP is a stream: nothing depends on where reads end."""
    with world.link() as (ws, peer):
        for byte in peer.frame(TEXT, "é".encode()) + peer.frame(BINARY, bytes(130)):
            peer.send(bytes([byte]))
        assert ws.recv() == "é"
        assert ws.recv() == bytes(130)


@scenario(*BOTH)
def many_messages_arrive_at_once(world: World) -> None:
    """Order is kept, and nothing is lost in a buffer that holds more than one message."""
    with world.link() as (ws, peer):
        messages = [str(i) for i in range(500)]
        peer.send(b"".join(peer.frame(TEXT, message.encode()) for message in messages))
        assert [ws.recv() for _ in messages] == messages


@scenario(*BOTH)
def decode_overrides_the_type(world: World) -> None:
    """`recv(decode=)`: True gives str, False gives bytes."""
    with world.link() as (ws, peer):
        for decode, expected in ((None, ["é", b"\xc3\xa9"]), (True, ["é", "é"]), (False, [b"\xc3\xa9", b"\xc3\xa9"])):
            for opcode, message in zip((TEXT, BINARY), expected, strict=True):
                peer.send_frame(opcode, b"\xc3\xa9")
                assert ws.recv(decode=decode) == message


@scenario(*BOTH)
def decode_of_what_is_no_text(world: World) -> None:
    """`recv(decode=True)` of a binary message that isn't UTF-8 fails the connection with 1007."""
    with world.link() as (ws, peer):
        peer.send_frame(BINARY, b"\xff")
        receiving = ws.start("recv", decode=True)
        assert peer.read_close() == 1007
        peer.close()
        with expect(ConnectionClosedError):
            receiving.result()


@scenario(*BOTH)
def text_overrides_the_type(world: World) -> None:
    """`send(text=)`: True sends bytes as text, False sends str as binary; bytes-like is as good as bytes."""
    with world.link() as (ws, peer):
        for message, text, opcode in (
            (b"a", True, TEXT),
            ("a", False, BINARY),
            ("a", True, TEXT),
            (b"a", False, BINARY),
            (bytearray(b"a"), None, BINARY),
            (memoryview(b"a"), True, TEXT),
        ):
            ws.send(message, text=text)
            assert unmasked(peer.read_frame()) == RawFrame(opcode, b"a")


@scenario(*BOTH)
def what_is_no_message_is_refused(world: World) -> None:
    """`send` raises TypeError before a byte is sent; a dict is taken for a mistake."""
    with world.link() as (ws, peer):
        for message in (5, None, {"a": 1}):
            with expect(TypeError):
                ws.send(message)
        ws.send("next")
        assert peer.read_frame().payload == b"next"


@scenario(*BOTH)
def two_calls_receive_at_once(world: World) -> None:
    """A second receiver gets ConcurrencyError, and the first one its message."""
    with world.link() as (ws, peer):
        first = ws.start("recv")
        ws.pong()  # so it is waiting by now, in whatever order calls are begun
        peer.read_frame()
        calls = [ws.start("recv"), ws.start("recv_streaming", print), ws.start("iterate", print)]
        for call in calls:
            with expect(ConcurrencyError):
                call.result()
        peer.send_frame(TEXT, b"a")
        assert first.result() == "a"


@scenario(*BOTH)
def many_calls_send_at_once(world: World) -> None:
    """Frames stay whole, and each caller's messages stay in order (section 5.4: frames don't interleave)."""
    callers, each = 5, 20
    with world.link() as (ws, peer):
        started = [ws.start("send", bytes([i]) * 3000) for _ in range(each) for i in range(callers)]
        received = [peer.read_frame() for _ in started]
        for call in started:
            call.result()
        for frame in received:
            assert frame.payload == frame.payload[:1] * 3000
        assert sorted(frame.payload[0] for frame in received) == sorted([*range(callers)] * each)


@scenario(*BOTH)
def iteration_ends_with_the_connection(world: World) -> None:
    """Iterating gives what was received, and ends when the peer closes normally."""
    with world.link() as (ws, peer):
        for text in (b"a", b"b", b"c"):
            peer.send_frame(TEXT, text)
        peer.send_close(1000)
        assert ws.recv_all() == ["a", "b", "c"]
        peer.close()


@scenario(*BOTH)
def iteration_raises_for_a_failure(world: World) -> None:
    """Iterating raises ConnectionClosedError when the peer closes with a code that means an error."""
    with world.link() as (ws, peer):
        received: list[object] = []
        peer.send_frame(TEXT, b"a")
        peer.send_close(1011)
        iterating = ws.start("iterate", received.append)
        assert peer.read_close() == 1011
        peer.close()
        with expect(ConnectionClosedError) as caught:
            iterating.result()
        assert received == ["a"]
        assert caught.value.rcvd.code == 1011


@scenario(*BOTH)
def json_both_ways(world: World) -> None:
    """`send_json` sends text, `recv_json` checks what it gets against a type and leaves the connection usable."""
    with world.link() as (ws, peer):
        ws.start("send_json", {"a": [1, "é"]}).result()
        frame = peer.read_frame()
        assert frame.opcode == TEXT
        assert json.loads(frame.payload) == {"a": [1, "é"]}
        peer.send_frame(TEXT, b"[1, 2]")
        assert ws.start("recv_json", list[int]).result() == [1, 2]
        peer.send_frame(TEXT, b'["a"]')
        with expect(InvalidJSON):
            ws.start("recv_json", list[int]).result()
        peer.send_frame(TEXT, b"{")
        with expect(InvalidJSON):
            ws.start("recv_json").result()
        peer.send_frame(BINARY, b'["\xc3\xa9\xff"]')
        with expect(InvalidJSON) as caught:
            ws.start("recv_json").result()
        assert caught.value.position == 4
        with expect(TypeError):
            ws.start("send_json", object()).result()
        peer.send_frame(TEXT, b"null")
        assert ws.start("recv_json").result() is None


@scenario(needs=PAIR)
def large_messages_in_both_directions_at_once(world: World) -> None:
    """Neither end waits for the other to read before it reads itself."""
    sizes = [3 << 20, 1, 70_000, (5 << 20) + 3, 0, 65_536]
    messages = [os.urandom(size) for size in sizes]
    with world.pair(max_size=None) as (client, server):
        sending = [ws.start("send", message) for message in messages for ws in (client, server)]
        received = [(client.recv(), server.recv()) for _ in messages]
        for call in sending:
            call.result()
    for of_one_end in zip(*received, strict=True):
        assert sorted(of_one_end) == sorted(messages)


@scenario(needs=PAIR)
def compressed_messages(world: World) -> None:
    """RFC 7692: with compression on both sides, messages of all sizes arrive as they were."""
    with world.pair(compression="deflate") as (client, server):
        assert "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]
        for size in SIZES:
            for message in (os.urandom(size), "ab" * (size // 2)):
                for sender, receiver in ((client, server), (server, client)):
                    sending = sender.start("send", message)
                    assert receiver.recv() == message
                    sending.result()


@scenario(*BOTH, needs=("cancellation",))
def cancelled_receiving_loses_nothing(world: World) -> None:
    """A call that is cancelled, before its message arrives or just then, leaves the message to the next one."""
    with world.link() as (ws, peer):
        received = []
        for i in range(40):
            call = ws.start("recv")
            if i % 2:
                peer.send_frame(TEXT, str(i).encode())
            if not call.cancel():
                received.append(call.result())
            if i % 2 == 0:
                peer.send_frame(TEXT, str(i).encode())
        while len(received) < 40:
            received.append(ws.recv())
        assert received == [str(i) for i in range(40)]


@scenario(*BOTH)
def compresses_every_message_if_told(world: World) -> None:
    """`compression="deflate-all"`: peers such as those of libwebsockets wait for ever behind one that isn't."""
    noise = random.Random(0).randbytes(1000)
    with world.link("Sec-WebSocket-Extensions: permessage-deflate", compression="deflate-all") as (ws, peer):
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)

        def expect_message(payload: bytes) -> None:
            data, first = b"", True
            while True:
                frame = peer.read_frame()
                assert bool(frame.rsv) is first, "RFC 7692 section 6: the bit of the first fragment"
                data, first = data + frame.payload, False
                if frame.fin:
                    break
            assert inflater.decompress(data + b"\x00\x00\xff\xff") == payload

        for message in ("", "hi", b"\x00", noise, "long " * 1000):
            payload = message.encode() if isinstance(message, str) else message
            for compress in (None, True, False):
                ws.send(message, compress=compress)
                expect_message(payload)
                prepared = PreparedMessage(message, compress=compress)
                ws.send(prepared)
                expect_message(payload)
                world.broadcast([ws], prepared)
                expect_message(payload)
                ws.send([message, message], compress=compress)
                expect_message(payload * 2)
            world.broadcast([ws], message)
            expect_message(payload)
        ws.start("send_json", {"a": 1}).result()
        expect_message(b'{"a":1}')


@scenario(*BOTH, needs=("timeouts",))
def timed_out_receiving_loses_nothing(world: World) -> None:
    """`recv(timeout=)` raises TimeoutError; 0 takes what is there."""
    with world.link() as (ws, peer):
        for timeout in (0, 0.01):
            with expect(TimeoutError):
                ws.start("recv", timeout=timeout).result()
        peer.send_frame(TEXT, b"a")
        peer.send_frame(TEXT, b"b")
        assert ws.recv() == "a"
        assert ws.start("recv", timeout=1).result() == "b"


@scenario(*BOTH, needs=("cancellation",))
def cancelled_sending_leaves_whole_frames(world: World) -> None:
    """Wherever `send` is when it is cancelled, the peer receives frames that end."""
    size = 100_000
    with world.link(ping_interval=None) as (ws, peer):
        calls = [ws.start("send", bytes([i]) * size) for i in range(40)]
        assert len(peer.read_frame().payload) == size  # so they have begun
        cancelled = [call.cancel() for call in reversed(calls)]
        assert any(cancelled)
        ws_sending = ws.start("send", "after")
        while (frame := peer.read_frame()).opcode == BINARY:
            assert frame.payload == frame.payload[:1] * size
        assert frame.payload == b"after"
        ws_sending.result()

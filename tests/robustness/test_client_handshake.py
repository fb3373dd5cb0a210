"""Bad servers, and what a client must never put on the wire: RFC 6455 sections 4.1, 5.1 and 5.3."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

import trunkline
from tests.support.raw import (
    BINARY,
    CLOSE,
    TEXT,
    RawPeer,
    accept_handshake,
    close_frame,
    encode_frame,
    header,
    scripted_server,
    switching_protocols,
)
from trunkline.asyncio.client import ClientConnection
from trunkline.exceptions import (
    ConnectionClosedError,
    InvalidHandshake,
    InvalidHeader,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    NegotiationError,
    SecurityError,
)
from trunkline.testing.tls import tls_contexts


def connect(port: int, path: str = "/", **options: Any) -> Any:
    """A client without compression or proxy that doesn't wait long."""
    defaults: dict[str, Any] = {"compression": None, "proxy": None, "open_timeout": 5, "close_timeout": 0.5}
    return trunkline.connect(f"ws://127.0.0.1:{port}{path}", **(defaults | options))


# --- row 26: nothing that the caller says may become another line, header or request ---

INJECTIONS = ["a\r\nX-Injected: yes", "a\nb", "a\rb", "a\0b", "a\r\n\r\nGET / HTTP/1.1"]
injections = pytest.mark.parametrize("text", INJECTIONS, ids=["header", "LF", "CR", "NUL", "request"])


@injections
@pytest.mark.parametrize(
    "options",
    [
        lambda text: {"additional_headers": {"X-Header": text}},
        lambda text: {"additional_headers": [("X-Header", text)]},
        lambda text: {"additional_headers": [(text, "value")]},
        lambda text: {"origin": text},
        lambda text: {"user_agent_header": text},
        lambda text: {"subprotocols": [text]},
    ],
    ids=["headers", "header list", "header name", "origin", "user agent", "subprotocol"],
)
def test_row26_client_strings_are_checked_before_any_byte_is_sent(
    options: Callable[[str], dict[str, Any]], text: str
) -> None:
    received = bytearray()

    async def script(peer: RawPeer) -> None:
        received.extend(await peer.read_to_eof())

    async def main() -> None:
        async with scripted_server(script) as port:
            with pytest.raises((ValueError, InvalidHandshake)):
                await connect(port, **options(text))

    asyncio.run(main())
    assert not received


@injections
def test_row26_uri_is_quoted_or_refused(text: str) -> None:
    received = bytearray()

    async def script(peer: RawPeer) -> None:
        received.extend(await peer.read_head())

    async def main() -> None:
        async with scripted_server(script) as port:
            with pytest.raises((ValueError, InvalidURI, InvalidMessage)):
                await connect(port, f"/{text}?{text}")

    asyncio.run(main())
    start, *fields = received.split(b"\r\n")
    assert not {b"\r", b"\n", b"\0"} & {bytes([byte]) for byte in start}
    assert not any(field.startswith(b"X-Injected") for field in fields)


@injections
@pytest.mark.parametrize("where", ["header", "header name", "server header", "reason"])
def test_row26_server_strings_are_checked_before_any_byte_is_sent(where: str, text: str) -> None:
    def process_response(ws: Any, request: Any, response: Any) -> Any:
        if where == "header":
            response.headers["X-Header"] = text
        elif where == "header name":
            response.headers[text] = "value"
        elif where == "reason":
            response.reason_phrase = text
            return response
        return None

    async def main() -> None:
        options = {"server_header": text} if where == "server header" else {}
        try:
            server = await trunkline.serve(
                lambda ws: ws.wait_closed(), "127.0.0.1", 0, process_response=process_response, **options
            )
        except (ValueError, InvalidHandshake):
            return
        async with server, await RawPeer.connect(server.sockets[0].getsockname()[1]) as peer:
            await peer.send(HANDSHAKE)
            reply = await peer.read_head() if where != "server header" else await peer.read_to_eof()
        assert reply == b"" or reply.startswith((b"HTTP/1.1 500 ", b"HTTP/1.1 101 Switching Protocols\r\n")), reply
        assert b"X-Injected" not in reply
        assert b"\0" not in reply
        assert b"\n" not in reply.replace(b"\r\n", b"")

    asyncio.run(main())


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1000, "r" * 124), (1000, "é" * 62), (1005, ""), (1006, ""), (1015, ""), (999, ""), (5000, ""), (0, "")],
)
def test_row26_close_frames_that_must_not_be_sent(code: int, reason: str) -> None:
    async def script(peer: RawPeer) -> None:
        await accept_handshake(peer)
        frame = await peer.read_frame()
        assert (frame.opcode, frame.payload) == (TEXT, b"still usable")
        assert await peer.read_close() == 1000
        await peer.send(close_frame(mask=None))

    async def main() -> None:
        async with scripted_server(script) as port, connect(port) as ws:
            with pytest.raises((ValueError, trunkline.ProtocolError)):
                await ws.close(code, reason)
            await ws.send("still usable")

    asyncio.run(main())


@pytest.mark.parametrize("size", [126, 1000])
def test_row26_pings_that_must_not_be_sent(size: int) -> None:
    async def script(peer: RawPeer) -> None:
        await accept_handshake(peer)
        assert (await peer.read_frame()).opcode == CLOSE
        await peer.send(close_frame(mask=None))

    async def main() -> None:
        async with scripted_server(script) as port, connect(port) as ws:
            with pytest.raises((ValueError, trunkline.ProtocolError)):
                await ws.ping(b"p" * size)
            with pytest.raises((ValueError, trunkline.ProtocolError)):
                await ws.pong(b"p" * size)

    asyncio.run(main())


# --- row 29: redirects ---


def redirect(to: str, status: str = "302 Found") -> bytes:
    return f"HTTP/1.1 {status}\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


SECRETS = {"Authorization": "Bearer secret", "Cookie": "session=secret", "Proxy-Authorization": "Basic secret"}


def test_row29_credentials_do_not_follow_to_another_origin() -> None:
    heads: list[bytes] = []

    async def second(peer: RawPeer) -> None:
        heads.append(await accept_handshake(peer))

    async def main() -> None:
        async with scripted_server(second) as target:

            async def first(peer: RawPeer) -> None:
                heads.append(await peer.read_head())
                await peer.send(redirect(f"ws://127.0.0.1:{target}/new"))

            async with (
                scripted_server(first) as port,
                connect(port, additional_headers=SECRETS | {"X-Kept": "yes"}, close_timeout=0.1),
            ):
                pass

    asyncio.run(main())
    assert [header(heads[0], name) for name in SECRETS] == list(SECRETS.values())
    assert [header(heads[1], name) for name in SECRETS] == [None] * 3
    assert header(heads[1], "X-Kept") == "yes"


def test_row29_credentials_of_the_uri_do_not_follow_to_another_origin() -> None:
    heads: list[bytes] = []

    async def second(peer: RawPeer) -> None:
        heads.append(await accept_handshake(peer))

    async def main() -> None:
        async with scripted_server(second) as target:

            async def first(peer: RawPeer) -> None:
                heads.append(await peer.read_head())
                await peer.send(redirect(f"ws://127.0.0.1:{target}/"))

            async with scripted_server(first) as port:
                uri = f"ws://user:secret@127.0.0.1:{port}/"
                async with trunkline.connect(uri, proxy=None, close_timeout=0.1):
                    pass

    asyncio.run(main())
    assert header(heads[0], "Authorization") is not None
    assert header(heads[1], "Authorization") is None


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/new", "new", "//127.0.0.1:{port}/new", "ws://127.0.0.1:{port}/new"])
def test_row29_credentials_follow_within_an_origin(status: int, location: str) -> None:
    heads: list[bytes] = []

    async def main() -> None:
        async def script(peer: RawPeer) -> None:
            heads.append(await peer.read_head())
            if heads[-1].startswith(b"GET /new "):
                await peer.send(switching_protocols(heads[-1]))
            else:
                await peer.send(redirect(location.format(port=port), f"{status} Elsewhere"))

        async with (
            scripted_server(script) as port,
            connect(port, "/old", additional_headers=SECRETS, close_timeout=0.1),
        ):
            pass

    asyncio.run(main())
    assert len(heads) == 2
    assert header(heads[1], "Authorization") == "Bearer secret"


def test_row29_endless_redirects_end() -> None:
    requests = 0

    async def script(peer: RawPeer) -> None:
        nonlocal requests
        await peer.read_head()
        requests += 1
        await peer.send(redirect(f"/{requests}"))

    async def main() -> None:
        async with scripted_server(script) as port:
            with pytest.raises(SecurityError):
                await connect(port)

    asyncio.run(main())
    assert 10 <= requests <= 11


@pytest.mark.parametrize(
    "location", ["http+unix:///run/socket", "file:///etc/passwd", "unix:/run/socket", "http://[", "ws://user@:x/", ""]
)
def test_row29_redirects_to_no_websocket_are_refused(location: str) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        await peer.send(redirect(location))

    async def main() -> None:
        async with scripted_server(script) as port:
            with pytest.raises((InvalidURI, InvalidHandshake)):
                await connect(port, open_timeout=2)

    asyncio.run(main())


def test_row29_redirect_from_wss_to_ws_is_refused() -> None:
    server_context, client_context = tls_contexts()
    plain_connections = 0

    async def plain(peer: RawPeer) -> None:
        nonlocal plain_connections
        plain_connections += 1
        await accept_handshake(peer)

    async def main() -> None:
        async with scripted_server(plain) as target:

            def downgrade(ws: Any, request: Any) -> Any:
                response = ws.respond(302, "")
                response.headers["Location"] = f"ws://127.0.0.1:{target}/"
                return response

            async with trunkline.serve(
                lambda ws: ws.wait_closed(), "localhost", 0, ssl=server_context, process_request=downgrade
            ) as server:
                port = server.sockets[0].getsockname()[1]
                with pytest.raises(SecurityError):
                    await trunkline.connect(f"wss://localhost:{port}/", ssl=client_context, proxy=None)

    asyncio.run(main())
    assert not plain_connections


# --- row 30: responses ---

Reply = Callable[[bytes], bytes]


def lines(*fields: str, start: str = "HTTP/1.1 101 Switching Protocols") -> bytes:
    return "".join(f"{line}\r\n" for line in (start, *fields, "")).encode("latin-1")


def good(head: bytes, *fields: str) -> bytes:
    return switching_protocols(head, *fields)


def edited(old: bytes, new: bytes) -> Reply:
    def reply(head: bytes) -> bytes:
        response = switching_protocols(head)
        assert old in response
        return response.replace(old, new)

    return reply


BAD_RESPONSES: dict[str, tuple[Reply, type[Exception]]] = {
    "no accept": (lambda head: lines("Upgrade: websocket", "Connection: Upgrade"), InvalidHeader),
    "wrong accept": (edited(b"Accept: ", b"Accept: AAAA"), InvalidHeader),
    "accept of another key": (lambda head: good(b"\r\nSec-WebSocket-Key: " + b"A" * 22 + b"=="), InvalidHeader),
    "two accepts": (lambda head: good(head, "Sec-WebSocket-Accept: x"), InvalidHandshake),
    "no upgrade": (edited(b"Upgrade: websocket\r\n", b""), InvalidHeader),
    "other upgrade": (edited(b"Upgrade: websocket", b"Upgrade: h2c"), InvalidHeader),
    "no connection": (edited(b"Connection: Upgrade\r\n", b""), InvalidHeader),
    "other connection": (edited(b"Connection: Upgrade", b"Connection: close"), InvalidHeader),
    "extension not offered": (
        lambda head: good(head, "Sec-WebSocket-Extensions: permessage-deflate"),
        NegotiationError,
    ),
    "unknown extension": (lambda head: good(head, "Sec-WebSocket-Extensions: x-webkit"), NegotiationError),
    "malformed extension": (lambda head: good(head, "Sec-WebSocket-Extensions: ;=,"), InvalidHandshake),
    "extension not ASCII": (lambda head: good(head, "Sec-WebSocket-Extensions: \xe9"), InvalidHandshake),
    "subprotocol not offered": (lambda head: good(head, "Sec-WebSocket-Protocol: chat"), NegotiationError),
    "two subprotocols": (
        lambda head: good(head, "Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"),
        InvalidHandshake,
    ),
    "HTTP/1.0": (edited(b"HTTP/1.1", b"HTTP/1.0"), InvalidHandshake),
    "HTTP/2": (edited(b"HTTP/1.1", b"HTTP/2.0"), InvalidHandshake),
    "no HTTP": (lambda head: b"SSH-2.0-OpenSSH_9.9\r\n\r\n", InvalidMessage),
    "noise": (lambda head: bytes(range(256)) + b"\r\n\r\n", InvalidMessage),
    "nothing": (lambda head: b"", InvalidMessage),
    "half a line": (lambda head: b"HTTP/1.1 101 Swi", InvalidMessage),
    "half a head": (lambda head: good(head)[:-2], InvalidMessage),
    "status of two digits": (lambda head: lines(start="HTTP/1.1 20 OK"), InvalidMessage),
    "status of four digits": (lambda head: lines(start="HTTP/1.1 1010 OK"), InvalidMessage),
    "negative length": (lambda head: lines("Content-Length: -1", start="HTTP/1.1 403 Forbidden"), InvalidHandshake),
    "length with a plus": (
        lambda head: lines("Content-Length: +1", start="HTTP/1.1 403 Forbidden") + b"x",
        InvalidHandshake,
    ),
    "bad chunk": (
        lambda head: lines("Transfer-Encoding: chunked", start="HTTP/1.1 403 Forbidden") + b"0x5\r\nhello\r\n0\r\n\r\n",
        InvalidHandshake,
    ),
    "folded line": (lambda head: good(head, "X-Header: a", " b"), InvalidHandshake),
    "space before the colon": (lambda head: good(head, "X-Header : a"), InvalidHandshake),
    "bare CR": (lambda head: good(head, "X-Header: a\rb"), InvalidHandshake),
    "NUL": (lambda head: good(head, "X-Header: a\0b"), InvalidHandshake),
    "forbidden": (lambda head: lines("Content-Length: 0", start="HTTP/1.1 403 Forbidden"), InvalidStatus),
    "plain OK": (lambda head: lines("Content-Length: 2", start="HTTP/1.1 200 OK") + b"hi", InvalidStatus),
    "body to the end": (lambda head: lines(start="HTTP/1.1 404 Not Found") + b"gone", InvalidStatus),
    "redirect to nowhere": (lambda head: lines("Content-Length: 0", start="HTTP/1.1 302 Found"), InvalidHandshake),
    "too many headers": (lambda head: good(head, *(["X-Header: a"] * 1000)), InvalidHandshake),
    "header too long": (lambda head: good(head, "X-Header: " + "a" * 100_000), InvalidHandshake),
    "status line too long": (lambda head: lines(start="HTTP/1.1 403 " + "a" * 100_000), InvalidHandshake),
}


@pytest.mark.parametrize(("reply", "expected"), BAD_RESPONSES.values(), ids=BAD_RESPONSES.keys())
def test_row30_bad_responses(reply: Reply, expected: type[Exception]) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.send(reply(await peer.read_head()))

    async def main() -> None:
        async with scripted_server(script) as port:
            with pytest.raises(expected):
                await connect(port)
            assert len(asyncio.all_tasks()) <= 3  # this one, and those of the scripted server

    asyncio.run(main())


@pytest.mark.parametrize("informational", ["100 Continue", "103 Early Hints", "102 Processing"])
def test_row30_informational_responses_are_skipped_or_refused(informational: str) -> None:
    async def script(peer: RawPeer) -> None:
        head = await peer.read_head()
        await peer.send(lines(start=f"HTTP/1.1 {informational}"), good(head), encode_frame(TEXT, b"hello", mask=None))
        await peer.read_to_eof()

    async def main() -> None:
        async with scripted_server(script) as port:
            try:
                async with connect(port) as ws:
                    assert await ws.recv() == "hello"
            except InvalidHandshake:
                pass

    asyncio.run(main())


def test_row30_frames_in_the_segment_of_the_response() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.send(good(await peer.read_head()) + encode_frame(TEXT, b"early", mask=None))
        await peer.read_to_eof()

    async def main() -> None:
        async with scripted_server(script) as port, connect(port) as ws:
            assert await ws.recv() == "early"

    asyncio.run(main())


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"HTTP/1.1 101 Switching Protocols\r\nX-Header: ",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9999999999\r\n\r\n",
    ],
    ids=["status line", "header", "body"],
)
def test_row30_endless_responses_are_cut(start: bytes) -> None:
    stopped = asyncio.Event()

    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        await peer.send(start)
        assert await peer.send_until_blocked(b"A" * 65536, limit=1 << 26) < 1 << 26
        stopped.set()

    async def main() -> None:
        async with scripted_server(script) as port:
            with pytest.raises((InvalidHandshake, TimeoutError)):
                await connect(port, open_timeout=2)
            await asyncio.wait_for(stopped.wait(), 10)

    asyncio.run(main())


@pytest.mark.parametrize(
    "start",
    [b"", b"HTTP/1.1 101 Switch", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nslow"],
    ids=["nothing", "half a line", "half a body"],
)
def test_row30_silent_servers_end_at_open_timeout(start: bytes) -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        await peer.send(start)
        await peer.read_to_eof()

    async def main() -> None:
        async with scripted_server(script) as port:
            with pytest.raises((TimeoutError, InvalidStatus)):
                await connect(port, open_timeout=0.2)

    asyncio.run(main())


def test_row30_body_of_a_refusal_is_readable() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        await peer.send(lines("Content-Length: 5", start="HTTP/1.1 403 Forbidden") + b"no no")

    async def main() -> None:
        async with scripted_server(script) as port:
            with pytest.raises(InvalidStatus, match="403") as caught:
                await connect(port)
            assert caught.value.response.body == b"no no"

    asyncio.run(main())


# --- frames of a server ---


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(encode_frame(TEXT, b"masked"), 1002, id="row15 masked"),
        pytest.param(close_frame(1000), 1002, id="row15 masked close"),
        pytest.param(encode_frame(TEXT, b"a", rsv=0x40, mask=None), 1002, id="row05 RSV1"),
        pytest.param(encode_frame(BINARY, length=(1 << 63) - 1, mask=None), 1009, id="row13 length"),
        pytest.param(encode_frame(TEXT, b"a", width=8, mask=None), 1002, id="row14 length"),
        pytest.param(encode_frame(0x3, mask=None), 1002, id="row16 opcode"),
        pytest.param(encode_frame(TEXT, b"\xff", fin=False, mask=None), 1007, id="row17 UTF-8"),
        pytest.param(close_frame(1005, mask=None), 1002, id="row18 close code"),
    ],
)
def test_row15_client_fails_the_connection(data: bytes, code: int) -> None:
    answered: list[int | None] = []

    async def script(peer: RawPeer) -> None:
        await accept_handshake(peer)
        await peer.send(data)
        answered.append(await peer.read_close())

    async def main() -> None:
        async with scripted_server(script) as port, connect(port) as ws:
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.recv()
            assert caught.value.sent is not None
            assert caught.value.sent.code == code

    asyncio.run(main())
    assert answered == [code]


def test_row31_masks_are_fresh_and_random() -> None:
    total = 100_000
    masks: list[bytes | None] = []

    async def script(peer: RawPeer) -> None:
        await accept_handshake(peer)
        while (frame := await peer.read_frame()).opcode != CLOSE:
            masks.append(frame.mask)
        await peer.send(close_frame(mask=None))

    async def send_all(ws: ClientConnection) -> None:
        for _ in range(total):
            await ws.send(b"")

    async def main() -> None:
        async with scripted_server(script) as port, connect(port, close_timeout=60) as ws:
            await send_all(ws)

    asyncio.run(main())
    assert len(masks) == total
    numbers = [int.from_bytes(mask or b"", "big") for mask in masks]
    # Among 10^5 of 2^32 values about one pair is equal by chance.
    assert len(set(numbers)) > total - 20
    for bit in range(32):
        ones = sum(number >> bit & 1 for number in numbers)
        assert abs(ones - total / 2) < 6 * (total**0.5) / 2, f"bit {bit} is set {ones} times in {total}"
    steps = Counter((after - before) % 2**32 for before, after in pairwise(numbers))
    assert steps.most_common(1)[0][1] < 20, "masks follow each other by a constant"

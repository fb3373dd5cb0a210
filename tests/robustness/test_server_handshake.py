"""Opening handshakes that a server must refuse, or must not be hurt by: RFC 6455 section 4.2, RFC 9112."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

import trunkline
from tests.robustness.conftest import serves
from tests.support.process import ServerProcess, environment, server_process
from tests.support.raw import (
    KEY,
    TEXT,
    RawFrame,
    RawPeer,
    encode_frame,
    header,
    in_segments,
    request,
    status_of,
)
from trunkline.asyncio.server import ServerConnection, basic_auth
from trunkline.datastructures import Headers


async def answer_to(port: int, *data: bytes) -> bytes:
    """The head of the server's answer, or nothing when it closes without a word."""
    async with await RawPeer.connect(port) as peer:
        try:
            await peer.send(*data)
            return await peer.read_head()
        except (EOFError, ConnectionError):
            return b""


def status(server: ServerProcess, *data: bytes) -> int | None:
    """The HTTP status that the server answers, None when it closes without a word."""
    head = asyncio.run(answer_to(server.port, *data))
    return status_of(head) if head else None


# --- time ---


@pytest.mark.parametrize(
    "data", [b"", b"GET / HTTP/1.1\r\nHost: local", request()[:-2]], ids=["silent", "line", "head"]
)
def test_row21_slow_handshake_is_dropped_at_open_timeout(data: bytes) -> None:
    async def main(port: int) -> None:
        async with await RawPeer.connect(port) as peer:
            await peer.send(data)
            assert await peer.outcome() in (None, 400, 408)

    with server_process("echo", open_timeout=0.2) as server:
        asyncio.run(main(server.port))


def test_row21_trickle_does_not_extend_open_timeout() -> None:
    async def main(port: int) -> None:
        async with await RawPeer.connect(port) as peer:
            ended = asyncio.create_task(peer.read_to_eof())
            await peer.send(b"GET / HTTP/1.1\r\n")
            with contextlib.suppress(ConnectionError):
                for _ in range(100):  # headers, far beyond open_timeout
                    await peer.send(b"X: y\r\n")
                    await asyncio.wait([ended], timeout=0.05)
            assert ended.done()
            await ended

    with server_process("echo", open_timeout=0.3) as server:
        asyncio.run(main(server.port))


def test_row22_silent_connections_do_not_delay_another_client(echo_server: ServerProcess) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            for _ in range(200):
                await stack.enter_async_context(await RawPeer.connect(echo_server.port))
            async with asyncio.timeout(5), await RawPeer.open(echo_server.port) as peer:
                for _ in range(100):
                    await peer.send(encode_frame(TEXT, b"hello"))
                    assert await peer.read_frame() == RawFrame(TEXT, b"hello")

    asyncio.run(main())


# --- size ---


def test_row23_number_of_headers(echo_server: ServerProcess) -> None:
    assert status(echo_server, request(*("X-Header: value" for _ in range(100)))) == 101
    assert status(echo_server, request(*("X-Header: value" for _ in range(200)))) == 431
    assert status(echo_server, request(*(f"X-Header-{n}: value" for n in range(20_000)))) in (431, None)


def test_row23_length_of_a_header(echo_server: ServerProcess) -> None:
    assert status(echo_server, request("X-Header: " + "v" * 8000)) == 101
    assert status(echo_server, request("X-Header: " + "v" * 9000)) == 431


def test_row23_length_of_the_uri(echo_server: ServerProcess) -> None:
    assert status(echo_server, request(path="/" + "p" * 8000)) == 101
    assert status(echo_server, request(path="/" + "p" * 9000)) == 414


@pytest.mark.parametrize("start", [b"", b"GET /", b"GET / HTTP/1.1\r\nX-Header: "], ids=["method", "uri", "header"])
def test_row23_endless_line(echo_server: ServerProcess, start: bytes) -> None:
    async def main() -> None:
        async with await RawPeer.connect(echo_server.port) as peer:
            await peer.send(start)
            await peer.send_until_blocked(b"A" * 65536, limit=1 << 25)
            assert await peer.outcome() in (400, 414, 431, None)

    with echo_server.memory_bounded(8):
        asyncio.run(main())


def test_row23_head_in_one_byte_segments_costs_linear_time() -> None:
    def cpu_for(headers: int, server: ServerProcess) -> float:
        async def main() -> None:
            async with await RawPeer.connect(server.port) as peer:
                for byte in in_segments(request(*("X-Header: " + "v" * 600 for _ in range(headers))), 1):
                    await peer.send(byte)
                assert status_of(await peer.read_head()) == 101

        before = server.census()["cpu"]
        asyncio.run(main())
        return float(server.census()["cpu"] - before)

    with server_process("echo") as server:
        cpu_for(5, server)  # warm up
        base = cpu_for(20, server)
        # Parsing again from the start would need 16 times the CPU for 4 times the bytes.
        assert cpu_for(80, server) < 10 * base + 0.05


# --- header fields that are hard to parse ---

HARD_FIELDS = {
    "many offers": "Sec-WebSocket-Extensions: " + ", ".join(["permessage-deflate"] * 180),
    "many parameters": "Sec-WebSocket-Extensions: x" + "; a=b" * 1500,
    "unclosed quote": 'Sec-WebSocket-Extensions: x; a="' + "\\" * 7000,
    "escapes in a quote": 'Sec-WebSocket-Extensions: x; a="' + "\\a" * 3500 + '"',
    "spaces": "Sec-WebSocket-Extensions: x" + " " * 7500 + "y",
    "commas": "Sec-WebSocket-Extensions: " + "," * 7500,
    "semicolons": "Sec-WebSocket-Extensions: " + ";" * 7500,
    "names of object members": "Sec-WebSocket-Extensions: constructor, __proto__, __class__; __init__=toString",
    "not ASCII": "Sec-WebSocket-Extensions: p\xe9rmessage; d\xe9flate=\xff",
    "many subprotocols": "Sec-WebSocket-Protocol: " + ",".join(["chat"] * 1500),
    "subprotocol spaces": "Sec-WebSocket-Protocol: chat" + " " * 7500 + "x",
    "subprotocol commas": "Sec-WebSocket-Protocol: " + "," * 7500,
    "subprotocol not ASCII": "Sec-WebSocket-Protocol: \xe9\xff\x80",
    "upgrade list": "Upgrade: " + "websocket, " * 700,
    "connection list": "Connection: " + "," * 7500,
    "header not ASCII": "X-Header: \xff\xfe\x80",
}


@pytest.mark.parametrize("field", HARD_FIELDS.values(), ids=HARD_FIELDS.keys())
@pytest.mark.parametrize("options", [{}, {"compression": "deflate"}], ids=["plain", "deflate"])
def test_row24_fields_that_are_hard_to_parse(field: str, options: dict[str, Any], row24_servers: Any) -> None:
    server = row24_servers["compression" in options]
    cpu = server.census()["cpu"]
    assert status(server, request(field)) in (101, 400, 426, 431)
    assert server.census()["cpu"] - cpu < 1
    assert asyncio.run(serves(server.port))
    assert "Traceback" not in server.log()


@pytest.fixture(scope="module")
def row24_servers() -> Iterator[dict[bool, ServerProcess]]:
    with server_process("echo") as plain, server_process("echo", compression="deflate") as deflate:
        yield {False: plain, True: deflate}


# --- smuggling ---


def raw_request(*lines: str, start: str = "GET / HTTP/1.1", end: str = "\r\n") -> bytes:
    """A request made of exactly these lines."""
    return (end.join([start, *lines]) + end + end).encode("latin-1")


GOOD = [
    "Host: localhost",
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
]


def without(name: str) -> list[str]:
    return [line for line in GOOD if not line.startswith(name)]


MALFORMED = {
    "Content-Length": raw_request(*GOOD, "Content-Length: 5") + b"hello",
    "Content-Length of a frame": raw_request(*GOOD, "Content-Length: 11") + encode_frame(TEXT, b"hello"),
    "Transfer-Encoding": raw_request(*GOOD, "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
    "Content-Length and Transfer-Encoding": raw_request(*GOOD, "Content-Length: 4", "Transfer-Encoding: chunked"),
    "two Content-Lengths": raw_request(*GOOD, "Content-Length: 0", "Content-Length: 5"),
    "Content-Length with a sign": raw_request(*GOOD, "Content-Length: +0"),
    "folded line": raw_request(*GOOD, "X-Header: a", " b"),
    "folded first header": raw_request(" X-Header: a", *GOOD),
    "space before the colon": raw_request(*GOOD, "X-Header : a"),
    "no colon": raw_request(*GOOD, "X-Header"),
    "empty name": raw_request(*GOOD, ": a"),
    "name that is no token": raw_request(*GOOD, "X(Header): a"),
    "bare CR in a value": raw_request(*GOOD, "X-Header: a\rb"),
    "bare CR in a name": raw_request(*GOOD, "X\rHeader: a"),
    "NUL in a value": raw_request(*GOOD, "X-Header: a\0b"),
    "NUL in the target": raw_request(*GOOD, start="GET /\0 HTTP/1.1"),
    "LF-only lines": raw_request(*GOOD, end="\n"),
    "CR-only lines": raw_request(*GOOD, end="\r") + b"\r\n\r\n",
    "two keys": raw_request(*GOOD, f"Sec-WebSocket-Key: {KEY}"),
    "no key": raw_request(*without("Sec-WebSocket-Key")),
    "short key": raw_request(*without("Sec-WebSocket-Key"), "Sec-WebSocket-Key: c2hvcnQ="),
    "key that is no base64": raw_request(*without("Sec-WebSocket-Key"), "Sec-WebSocket-Key: " + "?" * 24),
    "two hosts": raw_request(*GOOD, "Host: elsewhere"),
    "no host": raw_request(*without("Host")),
    "two versions": raw_request(*GOOD, "Sec-WebSocket-Version: 8"),
    "no upgrade": raw_request(*without("Upgrade")),
    "upgrade to something else": raw_request(*without("Upgrade"), "Upgrade: h2c"),
    "upgrade to two things": raw_request(*GOOD, "Upgrade: h2c"),
    "no connection": raw_request(*without("Connection")),
    "connection that closes": raw_request(*without("Connection"), "Connection: close"),
    "space in the target": raw_request(*GOOD, start="GET / / HTTP/1.1"),
    "no version": raw_request(*GOOD, start="GET /"),
    "lower-case protocol": raw_request(*GOOD, start="GET / http/1.1"),
    "HTTP/1.0": raw_request(*GOOD, start="GET / HTTP/1.0"),
    "HTTP/2.0": raw_request(*GOOD, start="GET / HTTP/2.0"),
    "two spaces": raw_request(*GOOD, start="GET  / HTTP/1.1"),
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_row25_malformed_requests_are_refused(echo_server: ServerProcess, data: bytes) -> None:
    async def main() -> bytes:
        async with await RawPeer.connect(echo_server.port) as peer:
            await peer.send(data)
            return await peer.read_to_eof()

    reply = asyncio.run(main())
    assert reply == b"" or status_of(reply) in (400, 405, 426, 501, 505), reply
    assert len(re.findall(rb"HTTP/1\.1 \d\d\d ", reply)) <= 1, "the body was taken as a second request"
    assert b"hello" not in reply, "the body was taken as a frame"


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "get", "BREW"])
def test_row25_only_get_opens_a_websocket(echo_server: ServerProcess, method: str) -> None:
    assert status(echo_server, raw_request(*GOOD, start=f"{method} / HTTP/1.1")) in (400, 405, 501, None)


def test_row25_unsupported_version_names_the_supported_one(echo_server: ServerProcess) -> None:
    # RFC 6455 section 4.4
    head = asyncio.run(
        answer_to(echo_server.port, raw_request(*without("Sec-WebSocket-Version"), "Sec-WebSocket-Version: 8"))
    )
    assert status_of(head) in (400, 426)
    assert header(head, "Sec-WebSocket-Version") == "13"


def test_row25_absolute_form_means_its_path(echo_server: ServerProcess) -> None:
    # RFC 9112 section 3.2.2: a server must accept it; it must not become another path.
    assert status(echo_server, raw_request(*GOOD, start="GET http://localhost/ HTTP/1.1")) == 101
    assert status(echo_server, raw_request(*GOOD, start="GET file:///etc/passwd HTTP/1.1")) == 400


def test_row25_pipelined_request_is_no_second_request(echo_server: ServerProcess) -> None:
    async def main() -> None:
        async with await RawPeer.connect(echo_server.port) as peer:
            await peer.send(request(), request(path="/second"))
            head = await peer.read_head()
            rest = await peer.read_to_eof()
        assert b"HTTP/1.1" not in rest
        if status_of(head) == 101:
            # "GE" is a frame with reserved bits and opcode 7.
            assert rest[:4] == bytes([0x88, len(rest) - 2]) + (1002).to_bytes(2, "big")

    asyncio.run(main())


def test_row25_pipelined_request_after_a_refusal_is_not_answered(echo_server: ServerProcess) -> None:
    async def main() -> bytes:
        async with await RawPeer.connect(echo_server.port) as peer:
            await peer.send(raw_request("Host: localhost"), request())
            return await peer.read_to_eof()

    reply = asyncio.run(main())
    assert reply == b"" or status_of(reply) in (400, 426)
    assert reply.count(b"HTTP/1.1 ") <= 1


# --- who may connect ---

ORIGINS = ["https://example.com", re.compile(r"https://[a-z]+\.example\.org")]


@pytest.mark.parametrize(
    ("origins", "lines", "expected"),
    [
        pytest.param(ORIGINS, ["Origin: https://example.com"], 101, id="listed"),
        pytest.param(ORIGINS, ["Origin: https://www.example.org"], 101, id="pattern"),
        pytest.param(ORIGINS, ["Origin: https://www.example.org.evil.com"], 403, id="pattern with a tail"),
        pytest.param(ORIGINS, ["Origin: xhttps://www.example.org"], 403, id="pattern with a head"),
        pytest.param(ORIGINS, ["Origin: http://example.com"], 403, id="scheme"),
        # RFC 6454 section 4: scheme and host ignore case, and a default port may be written.
        pytest.param(ORIGINS, ["Origin: https://example.com:443"], 101, id="default port"),
        pytest.param(ORIGINS, ["Origin: HTTPS://Example.COM"], 101, id="case"),
        pytest.param(ORIGINS, ["Origin: http://example.com:443"], 403, id="default port of another scheme"),
        pytest.param(ORIGINS, ["Origin: https://example.com:8443"], 403, id="other port"),
        pytest.param(ORIGINS, ["Origin: https://example.com.evil.com"], 403, id="longer host"),
        pytest.param(ORIGINS, ["Origin: https://example.com/"], 403, id="path"),
        pytest.param(ORIGINS, ["Origin: null"], 403, id="null"),
        pytest.param(ORIGINS, ["Origin:"], 403, id="empty"),
        pytest.param(ORIGINS, [], 403, id="missing"),
        pytest.param([*ORIGINS, None], [], 101, id="missing is allowed"),
        pytest.param([*ORIGINS, None], ["Origin: null"], 403, id="null is not missing"),
        pytest.param([None], ["Origin: https://example.com"], 403, id="only missing is allowed"),
        pytest.param([""], [], 403, id="an empty origin is not None"),
        pytest.param(None, ["Origin: https://evil.com"], 101, id="no check"),
    ],
)
def test_row27_origin(origins: Any, lines: list[str], expected: int) -> None:
    async def main() -> int:
        async with trunkline.serve(lambda ws: ws.wait_closed(), "127.0.0.1", 0, origins=origins) as server:
            return status_of(await answer_to(server.sockets[0].getsockname()[1], request(*lines)))

    assert asyncio.run(main()) == expected


def test_row27_two_origins_are_refused() -> None:
    async def main() -> int:
        async with trunkline.serve(lambda ws: ws.wait_closed(), "127.0.0.1", 0, origins=ORIGINS) as server:
            two = request("Origin: https://example.com", "Origin: https://evil.com")
            return status_of(await answer_to(server.sockets[0].getsockname()[1], two))

    assert asyncio.run(main()) in (400, 403)


def credentials(user: str, password: str, encoding: str = "utf-8") -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode(encoding)).decode()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([credentials("hello", "iloveyou")], 101, id="right"),
        pytest.param([credentials("hello", "iloveyou").replace("Basic", "bAsIc")], 101, id="case of the scheme"),
        pytest.param([credentials("hello", "wrong")], 401, id="wrong password"),
        pytest.param([credentials("wrong", "iloveyou")], 401, id="wrong user"),
        pytest.param([credentials("hello", "")], 401, id="empty password"),
        pytest.param([credentials("hello", "iloveyou:")], 401, id="more"),
        pytest.param([credentials("h\xe9llo", "\xff", "latin-1")], 401, id="not UTF-8"),
        pytest.param([credentials("h\xe9llo", "\u20ac")], 401, id="not ASCII"),
        pytest.param(["Authorization: Basic " + base64.b64encode(b"no colon").decode()], 401, id="no colon"),
        pytest.param(["Authorization: Basic !!!"], 401, id="no base64"),
        pytest.param(["Authorization: Basic aGVsbG86aWxvdmV5b3U"], 401, id="no padding"),
        pytest.param(["Authorization: Basic"], 401, id="empty"),
        pytest.param(["Authorization: Digest username=hello"], 401, id="other scheme"),
        pytest.param([], 401, id="none"),
    ],
)
def test_row28_basic_auth(lines: list[str], expected: int, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(ws: ServerConnection) -> None:
        await ws.wait_closed()

    async def main() -> bytes:
        check = basic_auth(realm="test", credentials=("hello", "iloveyou"))
        async with trunkline.serve(handler, "127.0.0.1", 0, process_request=check) as server:
            return await answer_to(server.sockets[0].getsockname()[1], request(*lines))

    head = asyncio.run(main())
    assert status_of(head) == expected
    if expected == 401:
        assert (header(head, "WWW-Authenticate") or "").startswith('Basic realm="test"')
    assert not [record for record in caplog.records if record.exc_info]


def test_row28_two_authorizations_are_refused() -> None:
    async def main() -> int:
        check = basic_auth(credentials=("hello", "iloveyou"))
        async with trunkline.serve(lambda ws: ws.wait_closed(), "127.0.0.1", 0, process_request=check) as server:
            twice = request(credentials("hello", "iloveyou"), credentials("hello", "iloveyou"))
            return status_of(await answer_to(server.sockets[0].getsockname()[1], twice))

    assert asyncio.run(main()) in (400, 401)


def test_row28_user_and_password_are_compared_in_constant_time() -> None:
    program = """
    import hmac, secrets
    compared = set()
    genuine = hmac.compare_digest
    def compare_digest(a, b):
        compared.update(x.encode() if isinstance(x, str) else bytes(x) for x in (a, b))
        return genuine(a, b)
    hmac.compare_digest = secrets.compare_digest = compare_digest

    import asyncio, trunkline
    from trunkline.asyncio.server import basic_auth

    async def main():
        check = basic_auth(credentials=("hello", "iloveyou"))
        async with trunkline.serve(lambda ws: ws.wait_closed(), "127.0.0.1", 0, process_request=check) as server:
            port = server.sockets[0].getsockname()[1]
            try:
                async with trunkline.connect(f"ws://wrong:guess@127.0.0.1:{port}", proxy=None):
                    pass
            except trunkline.InvalidStatus as exc:
                assert exc.response.status_code == 401
        for word in (b"wrong", b"guess", b"hello", b"iloveyou"):
            assert any(word in value for value in compared), (word, compared)
    asyncio.run(main())
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr


# --- hash flooding ---


def test_row32_names_of_headers_cannot_be_made_to_collide() -> None:
    """They are keys of a dict, which is as safe as its hash of str: keyed, with a key of this process."""
    assert sys.hash_info.algorithm.startswith("siphash")
    headers = Headers({f"X-{i}": "a" for i in range(128)})
    assert len(headers) == 128
    tables = [value for name in headers.__slots__ if isinstance(value := getattr(headers, name), dict)]
    assert [(len(table), {type(key) for key in table}) for table in tables] == [(128, {str})]

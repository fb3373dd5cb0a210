"""handshake.fastpath: what it answers is what `ServerHandshake` answers, byte for byte; the rest it leaves to that."""

import base64
import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trunkline.datastructures import Headers
from trunkline.endpoint.server import BaseServer
from trunkline.exceptions import InvalidHandshake
from trunkline.extensions.permessage_deflate import ServerPerMessageDeflateFactory, enable_server_permessage_deflate
from trunkline.handshake import hooks, server
from trunkline.handshake.server import ServerHandshake
from trunkline.handshake.upgrade import accept_key

fastpath = pytest.importorskip("trunkline.handshake.fastpath", reason="the interpreted build has no fast path")
FastPath = fastpath.FastPath

ADDED = Headers({"X-Served-By": "here", "Server": "trunkline"})
DEFLATE = enable_server_permessage_deflate(None)


def head(*lines: str, target: str = "/") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""]).encode("iso-8859-1")


KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = "Sec-WebSocket-Version: 13"
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
PLAIN = ("Host: example.com", *UPGRADE, KEY, VERSION)
CHROMIUM = (
    "Host: localhost:8765",
    "Connection: Upgrade",
    "Pragma: no-cache",
    "Cache-Control: no-cache",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Upgrade: websocket",
    "Origin: http://localhost:8765",
    "Sec-WebSocket-Version: 13",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-US,en;q=0.9",
    "Cookie: session=0123456789abcdef; theme=dark",
    "Sec-WebSocket-Key: 5AYc3pQ4nVGn0HaPdTaAyQ==",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
)
FIREFOX = (
    "Host: localhost:8765",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: */*",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Sec-WebSocket-Version: 13",
    "Origin: http://localhost:8765",
    "Sec-WebSocket-Extensions: permessage-deflate",
    "Sec-WebSocket-Key: d9Nnm6yO7vGkM9fz1RnzPA==",
    "DNT: 1",
    "Connection: keep-alive, Upgrade",
    "Sec-Fetch-Dest: empty",
    "Sec-Fetch-Mode: websocket",
    "Sec-Fetch-Site: same-origin",
    "Pragma: no-cache",
    "Cache-Control: no-cache",
    "Upgrade: websocket",
)
SAFARI = (
    "Host: localhost:8765",
    "Sec-WebSocket-Key: xZ4rQ0a4F5l0Tj3cXWkSdg==",
    "Sec-WebSocket-Version: 13",
    "Upgrade: websocket",
    "Origin: http://localhost:8765",
    "Sec-WebSocket-Extensions: permessage-deflate",
    "Connection: Upgrade",
    "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1",
)
GO = (  # its net/http writes the names in its own way
    "Host: 127.0.0.1:8765",
    "User-Agent: Go-http-client/1.1",
    "Connection: Upgrade",
    "Sec-Websocket-Key: K6yPtIFgSDV2sqpVvRyzVg==",
    "Sec-Websocket-Version: 13",
    "Upgrade: websocket",
)
WEBSOCKETS = (
    "Host: localhost:8765",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: 0gLGNlHhrCUfMbDS6wh/8w==",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    "Authorization: Bearer abc.def.ghi",
    "User-Agent: Python/3.13 websockets/15.0",
)
LOWER = (*(line.lower() for line in PLAIN if line is not KEY), KEY.replace("Sec-WebSocket-Key", "sec-websocket-key"))
CHAT = (*CHROMIUM, "Sec-WebSocket-Protocol: superchat, chat")
ORDINARY = {
    "plain": PLAIN,
    "Chromium": CHROMIUM,
    "Firefox": FIREFOX,
    "Safari": SAFARI,
    "Go": GO,
    "websockets": WEBSOCKETS,
    "lower case": LOWER,
    "subprotocols": CHAT,
    "no space": tuple(line.replace(": ", ":") for line in PLAIN),
    "tabs": tuple(line.replace(": ", ":\t ") + " \t" for line in PLAIN),
    "order": PLAIN[::-1],
}
RULES = {
    "default": {"extensions": DEFLATE},
    "no compression": {},
    "origins": {"origins": ["http://localhost:8765", None], "extensions": DEFLATE},
    "patterns": {"origins": [re.compile("http://.*"), None]},
    "subprotocols": {"subprotocols": ["chat", "superchat"], "extensions": DEFLATE},
    "strict deflate": {"extensions": [ServerPerMessageDeflateFactory(True, True, 10, 11)]},
}


def answer_slowly(data: bytes, rules: dict) -> tuple | None:
    """The answer of `ServerHandshake`, where that is 101."""
    handshake = ServerHandshake(**rules)
    try:
        request = handshake.receive_data(data)
    except InvalidHandshake:
        return None
    if request is None:
        return None
    response = handshake.accept(request)
    if response.status_code != 101:
        return None
    response.headers.update(ADDED)
    agreed = [repr(extension) for extension in handshake.extensions]
    return handshake.serialize(response), handshake.head, handshake.remaining, handshake.subprotocol, agreed


def answer_fast(data: bytes, rules: dict) -> tuple | None:
    upgrade = FastPath(ADDED, **rules).answer(data)
    if upgrade is None:
        return None
    agreed = [repr(extension) for extension in upgrade.extensions]
    return upgrade.response, upgrade.head, upgrade.remaining, upgrade.subprotocol, agreed


@pytest.fixture(autouse=True)
def same_date(monkeypatch):
    monkeypatch.setattr(server, "http_date", lambda _seconds: "Mon, 30 Nov 2026 12:00:00 GMT")
    monkeypatch.setattr(fastpath, "http_date", lambda _seconds: "Mon, 30 Nov 2026 12:00:00 GMT")


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@pytest.mark.parametrize("lines", ORDINARY.values(), ids=ORDINARY)
@pytest.mark.parametrize("rest", [b"", b"\x81", b"\x81\x85\1\2\3\4hello"], ids=["alone", "a byte", "a frame"])
def test_requests_that_clients_send_are_answered_alike(lines, rules, rest):
    data = head(*lines) + rest
    slow = answer_slowly(data, rules)
    assert answer_fast(data, rules) == slow
    if "subprotocols" not in rules or lines is CHAT:
        assert slow is not None


UNUSUAL = {
    "POST": head(*PLAIN).replace(b"GET", b"POST"),
    "HTTP/1.0": head(*PLAIN).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/1.2": head(*PLAIN).replace(b"HTTP/1.1", b"HTTP/1.2"),
    "absolute form": head(*PLAIN, target="http://example.com/"),
    "an empty line before it": b"\r\n" + head(*PLAIN),
    "line feeds only": head(*PLAIN).replace(b"\r\n", b"\n"),
    "a folded line": head(*PLAIN, "X-Long: a", " b"),
    "space before the colon": head(*PLAIN, "X-Odd : a"),
    "a control character": head(*PLAIN, "X-Odd: \x01"),
    "text outside ASCII": head(*PLAIN, "X-Odd: \xe9"),
    "no colon": head(*PLAIN, "odd"),
    "no name": head(*PLAIN, ": odd"),
    "two keys": head(*PLAIN, KEY),
    "two hosts": head(*PLAIN, "Host: other"),
    "no host": head(*PLAIN[1:]),
    "no key": head(PLAIN[0], *UPGRADE, VERSION),
    "a short key": head(PLAIN[0], *UPGRADE, VERSION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"),
    "a key with other bits": head(PLAIN[0], *UPGRADE, VERSION, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR=="),
    "version 8": head(*PLAIN[:-1], "Sec-WebSocket-Version: 8"),
    "a body": head(*PLAIN, "Content-Length: 5") + b"hello",
    "no body": head(*PLAIN, "Content-Length: 0"),
    "chunks": head(*PLAIN, "Transfer-Encoding: chunked"),
    "connection: close": head(PLAIN[0], "Connection: close", "Upgrade: websocket", KEY, VERSION),
    "two tokens": head(PLAIN[0], "Connection: foo, Upgrade", "Upgrade: websocket", KEY, VERSION),
    "h2c": head(PLAIN[0], "Connection: Upgrade", "Upgrade: h2c", KEY, VERSION),
    "two upgrades": head(*PLAIN, "Upgrade: websocket"),
    "text behind it": head(*PLAIN) + b"hello",
    "a long line": head(*PLAIN, "X-Long: " + "a" * 8192),
    "a long target": head(*PLAIN, target="/" + "a" * 8192),
    "many headers": head(*PLAIN, *["X-Many: a"] * 124),
    "malformed extensions": head(*PLAIN, "Sec-WebSocket-Extensions: ;"),
    "malformed subprotocols": head(*PLAIN, "Sec-WebSocket-Protocol: ,;"),
    "a foreign origin": head(*PLAIN, "Origin: https://elsewhere.example"),
    "two origins": head(*PLAIN, "Origin: http://localhost:8765", "Origin: http://localhost:8765"),
    "an empty origin": head(*PLAIN, "Origin: "),
}


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@pytest.mark.parametrize("data", UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_requests_are_answered_alike_or_left_alone(data, rules):
    assert answer_fast(data, rules) in (None, answer_slowly(data, rules))


@pytest.mark.parametrize("size", range(128 - 5 + 2))
def test_the_limit_of_headers_is_the_same(size):
    data = head(*PLAIN, *["X-Many: a"] * size)
    assert answer_fast(data, {}) == answer_slowly(data, {})


@pytest.mark.parametrize("size", [8180, 8182, 8183, 8184, 8185, 8186, 8190, 8192, 8193])
def test_the_limit_of_a_line_is_the_same(size):
    for data in (head(*PLAIN, "X-Long: " + "a" * (size - 8)), head(*PLAIN, target="/" + "a" * (size - 14))):
        assert answer_fast(data, {}) == answer_slowly(data, {})


def test_a_request_that_is_not_whole_is_left_alone():
    data = head(*CHROMIUM)
    path = FastPath(ADDED)
    for end in range(len(data)):
        assert path.answer(data[:end]) is None
    assert path.answer(data) is not None


PIECES = st.sampled_from([
    *CHROMIUM, *FIREFOX, *GO, "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: a,,b", "Upgrade: WebSocket",
    "Connection: upgrade", "Connection:", "Origin: null", "X: \t y", "Content-Length: 0", "Sec-WebSocket-Extensions: x",
    "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8, permessage-deflate",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=0",
])  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from([PLAIN, CHROMIUM, FIREFOX, CHAT]),
    st.lists(st.tuples(st.integers(0, 20), PIECES), max_size=3),
    st.lists(st.integers(0, 20), max_size=1),
    st.sampled_from(list(RULES)),
)
def test_lines_added_and_removed(lines, added, removed, rules):
    changed = list(lines)
    for place in removed:
        del changed[place % len(changed)]
    for place, line in added:
        changed.insert(place % (len(changed) + 1), line)
    data = head(*changed)
    assert answer_fast(data, RULES[rules]) in (None, answer_slowly(data, RULES[rules]))


@settings(max_examples=1500, deadline=None)
@given(
    st.sampled_from([PLAIN, CHROMIUM, FIREFOX, CHAT]),
    st.lists(st.tuples(st.integers(0, 900), st.binary(max_size=2), st.integers(0, 3)), min_size=1, max_size=3),
)
@example(PLAIN, [(5, b"[]", 0)])
@example(PLAIN, [(5, b"#", 0)])
@example(PLAIN, [(5, b"{", 0)])
def test_bytes_changed(lines, changes):
    data = head(*lines)
    for place, new, old in changes:
        place %= len(data)
        data = data[:place] + new + data[place + old :]
    assert answer_fast(data, RULES["subprotocols"]) in (None, answer_slowly(data, RULES["subprotocols"]))


@pytest.mark.parametrize("code", range(256))
@pytest.mark.parametrize("place", ["target", "name", "value", "key"])
def test_every_character(place, code):
    character = bytes([code])
    data = {
        "target": head(*PLAIN).replace(b"/ ", b"/a" + character + b"b "),
        "name": head(*PLAIN, "X-NaXme: a").replace(b"NaXme", b"Na" + character + b"me"),
        "value": head(*PLAIN, "X: aXb").replace(b"aXb", b"a" + character + b"b"),
        "key": head(*PLAIN).replace(b"IHNh", b"I" + character + b"Nh"),
    }[place]
    assert answer_fast(data, {}) in (None, answer_slowly(data, {}))


@given(st.binary(min_size=16, max_size=16))
def test_the_proof_of_every_key(nonce):
    key = base64.b64encode(nonce).decode()
    upgrade = FastPath(ADDED).answer(head("Host: a", *UPGRADE, VERSION, f"Sec-WebSocket-Key: {key}"))
    assert upgrade is not None
    assert f"\r\nSec-WebSocket-Accept: {accept_key(key)}\r\n".encode() in upgrade.response


def test_connections_do_not_share_extensions():
    path = FastPath(ADDED, extensions=DEFLATE)
    first, second = path.answer(head(*CHROMIUM)), path.answer(head(*CHROMIUM))
    assert first.extensions[0] is not second.extensions[0]
    assert repr(first.extensions) == repr(second.extensions)
    assert first.extensions[0].deflater is not second.extensions[0].deflater


def test_ever_new_origins_do_not_fill_the_memory():
    path = FastPath(ADDED, origins=[re.compile("http://.*")])
    for number in range(5 * fastpath.MOST_TERMS):
        assert path.answer(head(*PLAIN, f"Origin: http://{number}")) is not None
        assert len(path) <= fastpath.MOST_TERMS


def test_the_date_is_that_of_the_second(monkeypatch):
    monkeypatch.undo()
    path = FastPath(ADDED)
    before = int(time.time())
    response = path.answer(head(*PLAIN)).response
    dates = [server.http_date(second) for second in range(before, int(time.time()) + 1)]
    assert any(f"\r\nDate: {date}\r\n".encode() in response for date in dates)


class OtherFactory(ServerPerMessageDeflateFactory):
    """Its answer may depend on something else than the offer."""


@pytest.mark.parametrize(
    "rules",
    [
        {"process_request": print},
        {"process_response": print},
        {"subprotocols": ["chat"], "select_subprotocol": print},
        {"extensions": [OtherFactory()]},
        {"trusted_proxies": ["127.0.0.1"]},
        {"proxy_protocol": True},
    ],
    ids=lambda rules: next(iter(rules)),
)
def test_servers_go_without_it_where_the_program_has_a_say(rules):
    async def handler(connection):
        pass

    assert BaseServer(handler, **rules).fast_path is None
    assert BaseServer(handler, max_connections=1, max_per_ip=1).fast_path is not None
    assert BaseServer(handler, compression="deflate", origins=[None], subprotocols=["chat"]).fast_path is not None


def test_hooks_that_have_no_say_in_handshakes_leave_them_to_it():
    @hooks.for_pages
    def process_request(connection, request):
        raise NotImplementedError

    @hooks.by_offer
    def select_subprotocol(connection, offered):
        assert connection is None, "its choice is kept for all clients"
        return next((each for each in offered if each == "chat"), None)

    server = BaseServer(print, process_request=process_request, select_subprotocol=select_subprotocol)
    for offer, choice in ("a, chat", "chat"), ("a", None), ("", None):
        upgrade = server.fast_path.answer(head(*PLAIN, *([f"Sec-WebSocket-Protocol: {offer}"] if offer else [])))
        assert upgrade.subprotocol == choice
        line = f"\r\nSec-WebSocket-Protocol: {choice}\r\n".encode()
        assert (line in upgrade.response) == (choice is not None)
    server.process_request = print
    assert server.has_hooks_for_handshakes

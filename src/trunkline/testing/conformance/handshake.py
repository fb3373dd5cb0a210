"""The opening handshake (RFC 6455 section 4)."""

from __future__ import annotations

import base64
import re
from typing import Any

from trunkline.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus, InvalidUpgrade, NegotiationError
from trunkline.testing.conformance.scenario import BOTH, CLIENT, PAIR, SERVER, scenario
from trunkline.testing.conformance.world import World, eventually, expect
from trunkline.testing.wire import KEY, TEXT, header, request, status_of


def answer(world: World, *headers: str, data: bytes | None = None, **options: Any) -> tuple[int, bytes]:
    """Status and all bytes with which a server of the driver answers a request that it refuses."""
    with world.serve(**options) as server, world.peer_of(server) as peer:
        peer.send(request(*headers) if data is None else data)
        response = peer.read_to_eof()
        return status_of(response), response


@scenario(SERVER)
def accepts_a_request(world: World) -> None:
    """Section 4.2.2: the example of section 1.3; a frame follows the request."""
    with world.serve() as server, world.peer_of(server) as peer:
        peer.send(request("X-Test: a", path="/chat?room=1") + peer.frame(TEXT, b"early"))
        head = peer.read_head()
        assert status_of(head) == 101
        assert header(head, "Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        ws = server.accept()
        assert ws.recv() == "early"
        assert ws.request.path == "/chat?room=1"
        assert ws.request.headers["X-Test"] == "a"
        assert ws.response.status_code == 101
        assert ws.remote_address[:2] == peer.sock.getsockname()[:2]
        assert ws.local_address[:2] == server.address[:2]
        assert server.raw.connections == {ws.raw}


@scenario(SERVER)
def request_arrives_one_byte_at_a_time(world: World) -> None:
    """A request may arrive in any pieces."""
    with world.serve() as server, world.peer_of(server) as peer:
        for byte in request():
            peer.send(bytes([byte]))
        assert status_of(peer.read_head()) == 101


@scenario(SERVER)
def refuses_what_is_no_handshake(world: World) -> None:
    """Section 4.2.1: 400 for what isn't a handshake, 426 with the version or protocol that is missing."""
    good = request()
    for bad, status in (
        (good.replace(b"Upgrade: websocket\r\n", b""), 426),
        (good.replace(b"Version: 13", b"Version: 8"), 426),
        (good.replace(KEY.encode(), b"short"), 400),
        (good.replace(b"Host: localhost\r\n", b"") + b"", 400),
        (good.replace(b"GET", b"POST"), 405),
        (good.replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
        (b"\x16\x03\x01 nonsense\r\n\r\n", 400),
    ):
        assert answer(world, data=bad)[0] == status, bad


@scenario(CLIENT)
def sends_a_request(world: World) -> None:
    """Section 4.1: a GET with a key of 16 bytes, the version, and what the caller adds."""
    with world.linked(additional_headers={"X-Test": "a"}, origin="https://example.com") as (ws, _, head):
        assert head.startswith(b"GET / HTTP/1.1\r\n")
        assert len(base64.b64decode(header(head, "Sec-WebSocket-Key") or "")) == 16
        assert header(head, "Sec-WebSocket-Version") == "13"
        assert header(head, "Origin") == "https://example.com"
        assert header(head, "X-Test") == "a"
        assert header(head, "User-Agent")
        assert ws.response.status_code == 101


@scenario(CLIENT)
def refuses_a_bad_response(world: World) -> None:
    """Section 4.1: another status, a wrong accept value, another protocol, nonsense, or no response at all."""
    good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    for response, kind in (
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", InvalidStatus),
        (good + "Sec-WebSocket-Accept: wrong\r\n\r\n", InvalidHandshake),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", InvalidUpgrade),
        ("220 smtp.example.com ESMTP\r\n\r\n", InvalidMessage),
        ("", InvalidMessage),
    ):
        with world.listen() as listener:
            connecting = world.start_connecting(listener.uri)
            with listener.accept() as peer:
                peer.read_head()
                peer.send(response.encode())
                peer.end()
                with expect(kind) as caught:
                    connecting.result()
                assert peer.read_to_eof() == b""
            if kind is InvalidStatus:
                assert caught.value.response.body == b"nope"


@scenario(CLIENT)
def slow_server_times_out(world: World) -> None:
    """`open_timeout` covers the whole of connecting."""
    with world.listen() as listener:
        connecting = world.start_connecting(listener.uri, open_timeout=0.05)
        with listener.accept() as peer:
            peer.read_head()
            with expect(TimeoutError):
                connecting.result()
            assert peer.read_to_eof() == b""


@scenario(CLIENT)
def nobody_listens(world: World) -> None:
    """`connect` raises OSError where no server listens."""
    with world.listen() as listener:
        uri = listener.uri
    with expect(OSError):
        world.start_connecting(uri).result()


@scenario(CLIENT)
def follows_redirects(world: World) -> None:
    """RFC 9110 section 15.4: a Location leads on, also on the same server."""
    with world.listen() as listener:
        connecting = world.start_connecting(listener.uri)
        with listener.accept() as peer:
            peer.read_head()
            peer.send(b"HTTP/1.1 302 Found\r\nLocation: /there?a=b\r\nContent-Length: 0\r\n\r\n")
            with listener.accept() as other:
                assert other.accept().startswith(b"GET /there?a=b HTTP/1.1\r\n")
                ws = world.connected(connecting)
                other.close()
                ws.wait_closed()


@scenario(CLIENT, needs=("cancellation",))
def cancelled_connecting_leaves_nothing(world: World) -> None:
    """Wherever `connect` is when it is cancelled, its socket is closed."""
    for stage in range(3):
        with world.listen() as listener:
            connecting = world.start_connecting(listener.uri)
            if stage > 0:
                with listener.accept() as peer:
                    peer.read_head()
                    if stage > 1:
                        peer.send(b"HTTP/1.1 101 Switching")
                    assert connecting.cancel()
                    peer.read_to_eof()
            elif not connecting.cancel():
                world.connected(connecting)


@scenario(SERVER)
def process_request_may_answer(world: World) -> None:
    """`process_request` sees each request first; a response of its refuses the connection."""
    seen = []

    def process_request(connection, request):  # type: ignore[no-untyped-def]
        seen.append(request.path)
        return connection.respond(403, "members only\n") if request.path == "/closed" else None

    with world.serve(process_request=process_request) as server:
        with world.peer_of(server) as peer:
            peer.send(request(path="/closed"))
            response = peer.read_to_eof()
            assert status_of(response) == 403
            assert response.endswith(b"members only\n")
        with world.peer_of(server) as peer:
            peer.open(path="/open")
            server.accept()
    assert seen == ["/closed", "/open"]


@scenario(SERVER)
def process_response_may_change_the_answer(world: World) -> None:
    """`process_response` sees the response, and may change or replace it."""

    def process_response(connection, request, response):  # type: ignore[no-untyped-def]
        response.headers["X-Test"] = request.path
        return connection.respond(404, "replaced\n") if request.path == "/replace" else None

    with world.serve(process_response=process_response) as server:
        with world.peer_of(server) as peer:
            assert header(peer.open(path="/a"), "X-Test") == "/a"
            assert server.accept().response.headers["X-Test"] == "/a"
        with world.peer_of(server) as peer:
            peer.send(request(path="/replace"))
            assert peer.read_to_eof().startswith(b"HTTP/1.1 404 ")


@scenario(SERVER)
def hooks_that_raise_are_answered_with_500(world: World) -> None:
    """A fault of `process_request` or `process_response` is logged, and tells the client nothing."""

    def broken(*arguments: object) -> None:
        raise ValueError("secret")

    for hook in ("process_request", "process_response"):
        hooks: dict[str, Any] = {hook: broken}
        status, response = answer(world, **hooks)
        assert status == 500
        assert b"secret" not in response
        eventually(lambda hook=hook: f"{hook} failed" in world.log)  # type: ignore[misc]


@scenario(SERVER)
def chooses_a_subprotocol(world: World) -> None:
    """Section 4.2.2: the first of the server's that the client offers, or what `select_subprotocol` says."""
    with world.serve(subprotocols=["b", "a"]) as server, world.peer_of(server) as peer:
        assert header(peer.open("Sec-WebSocket-Protocol: a, b"), "Sec-WebSocket-Protocol") == "b"
        assert server.accept().subprotocol == "b"

    def select(connection, offered):  # type: ignore[no-untyped-def]
        if "never" in offered:
            raise NegotiationError("never")
        return offered[-1]

    with world.serve(subprotocols=["a"], select_subprotocol=select) as server:
        with world.peer_of(server) as peer:
            assert header(peer.open("Sec-WebSocket-Protocol: a, z"), "Sec-WebSocket-Protocol") == "z"
        with world.peer_of(server) as peer:
            peer.send(request("Sec-WebSocket-Protocol: never"))
            assert status_of(peer.read_to_eof()) == 400
    assert answer(world, "Sec-WebSocket-Protocol: c", subprotocols=["a"])[0] == 400
    assert answer(world, subprotocols=["a"])[0] == 400


@scenario(SERVER)
def protocol_has_the_rules_of_the_server(world: World) -> None:
    """`protocol` tells what the server was given, in hooks and later; its answer asks `select_subprotocol`, too."""
    answers = []

    def select(connection, offered):  # type: ignore[no-untyped-def]
        return offered[-1]

    def process_request(connection, request):  # type: ignore[no-untyped-def]
        answers.append(connection.protocol.accept(request))

    rules = {"subprotocols": ["a"], "select_subprotocol": select, "process_request": process_request}
    with world.serve(**rules) as server, world.peer_of(server) as peer:
        peer.open("Sec-WebSocket-Protocol: a, z", "Origin: https://example.com")
        protocol = server.accept().protocol
        assert (protocol.available_subprotocols, protocol.origin) == (["a"], "https://example.com")
    [answer] = answers
    assert (answer.status_code, answer.headers["Sec-WebSocket-Protocol"]) == (101, "z")


@scenario(CLIENT)
def protocol_has_the_offer_of_the_client(world: World) -> None:
    """`protocol` of an open connection tells what the client offered."""
    with world.linked(subprotocols=["a"], origin="https://example.com") as (ws, _, _):
        protocol = ws.protocol
        assert (protocol.available_subprotocols, protocol.origin) == (["a"], "https://example.com")


@scenario(CLIENT)
def offers_subprotocols(world: World) -> None:
    """Section 4.1: a client takes one that it offered, or none."""
    with world.linked("Sec-WebSocket-Protocol: b", subprotocols=["a", "b"]) as (ws, _, head):
        assert header(head, "Sec-WebSocket-Protocol") == "a, b"
        assert ws.subprotocol == "b"
    with world.listen() as listener:
        connecting = world.start_connecting(listener.uri, subprotocols=["a"])
        with listener.accept() as peer, expect(NegotiationError):
            peer.accept("Sec-WebSocket-Protocol: c")
            connecting.result()


@scenario(SERVER)
def checks_origins(world: World) -> None:
    """Section 10.2: 403 for an Origin that isn't among `origins`: strings, patterns, None for none."""
    origins = ["https://example.com", re.compile(r"https://.*\.example\.com"), None]
    assert answer(world, "Origin: https://evil.com", origins=origins)[0] == 403
    assert answer(world, "Origin: https://www.example.com.evil.com", origins=origins)[0] == 403
    assert answer(world, origins=origins[:2])[0] == 403
    with world.serve(origins=origins) as server:
        for headers in (["Origin: https://example.com"], ["Origin: https://www.example.com"], []):
            with world.peer_of(server) as peer:
                peer.open(*headers)


@scenario(*BOTH)
def negotiates_compression(world: World) -> None:
    """RFC 7692: `compression="deflate"` offers and accepts it; None doesn't."""
    extension = "Sec-WebSocket-Extensions: permessage-deflate"
    with world.linked(extension, compression="deflate") as (_, _, head):
        assert "permessage-deflate" in (header(head, "Sec-WebSocket-Extensions") or "")
    if world.role == 0:
        with world.linked(extension, compression=None) as (_, _, head):
            assert header(head, "Sec-WebSocket-Extensions") is None


@scenario(needs=PAIR)
def credentials_of_the_uri_and_basic_auth(world: World) -> None:
    """RFC 7617: a client sends the credentials of its URI, and `basic_auth` checks them."""

    async def check_later(username: str, password: str) -> bool:
        return (username, password) == ("user", "pass:é")

    checks: list[dict[str, object]] = [
        {"credentials": ("user", "pass:é")},
        {"credentials": [("other", "x"), ("user", "pass:é")]},
        {"check_credentials": lambda username, password: (username, password) == ("user", "pass:é")},
    ]
    if "cancellation" in world.driver.features:  # it has coroutines
        checks.append({"check_credentials": check_later})
    for check in checks:
        auth = world.driver.basic_auth("realm", **check)
        with world.serve(process_request=auth) as server:
            with world.connect(server.uri.replace("//", "//user:pass%3A%C3%A9@")):
                assert server.accept().username == "user"
            for credentials in ("", "user:wrong@", "nobody:pass%3A%C3%A9@"):
                with expect(InvalidStatus) as caught:
                    world.start_connecting(server.uri.replace("//", f"//{credentials}")).result()
                assert caught.value.response.status_code == 401
                assert 'realm="realm"' in caught.value.response.headers["WWW-Authenticate"]

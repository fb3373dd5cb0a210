"""HTTP around the opening handshake (RFC 9110, RFC 9112): what clients, proxies and load balancers may say."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import Any

from trunkline.datastructures import Headers
from trunkline.exceptions import ConnectionClosedError, InvalidMessage, InvalidProxyStatus, InvalidStatus
from trunkline.http11 import Response
from trunkline.testing.conformance.scenario import CLIENT, SERVER, scenario
from trunkline.testing.conformance.world import Server, World, eventually, expect
from trunkline.testing.peer import PATIENCE, Peer
from trunkline.testing.wire import TEXT, header, request, status_of

UNDECIDED = (  # headers of a response that say twice where its body ends, and the body as Transfer-Encoding has it
    b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 99\r\nContent-Length: 4\r\n\r\n4\r\nbusy\r\n0\r\n\r\n",
)


def ask(world: World, server: Server, data: bytes) -> tuple[bytes, bytes]:
    """Head and body of a server's answer to what opens no connection."""
    with world.peer_of(server) as peer:
        peer.send(data)
        head, _, body = peer.read_to_eof().partition(b"\r\n\r\n")
        return head + b"\r\n\r\n", body


# Servers


@scenario(SERVER)
def accepts_targets_in_absolute_form(world: World) -> None:
    """RFC 9112 section 3.2.2: a server must accept them; the host in them counts, whatever the header says."""
    seen = []

    def process_request(connection, request):  # type: ignore[no-untyped-def]
        seen.append((request.path, request.headers["Host"]))

    for hooks in ({"process_request": process_request}, {}):
        with world.serve(origins=["https://example.com"], **hooks) as server:
            for target, path in (
                ("ws://example.com:8080/chat?x=1", "/chat?x=1"),
                ("HTTP://example.com:8080", "/"),
                ("wss://example.com:8080?x=1", "/?x=1"),
            ):
                with world.peer_of(server) as peer:
                    peer.send(request("Origin: https://example.com", path=target, host="elsewhere"))
                    assert status_of(peer.read_head()) == 101
                    ws = server.accept()
                    assert ws.path == ws.request.path == path
                    assert ws.request.headers.get_all("Host") == ["example.com:8080"]
            head, _ = ask(world, server, request(path="ws://example.com:8080/"))
            assert status_of(head) == 403
    assert seen[:3] == [(path, "example.com:8080") for path in ("/chat?x=1", "/", "/?x=1")]


@scenario(SERVER)
def refuses_targets_that_are_none(world: World) -> None:
    """RFC 9110 section 4.2: no other scheme, no user information, no empty host; RFC 9112 section 3.2: one Host."""
    with world.serve() as server:
        for target in ("ftp://localhost/", "http:///", "http://user@localhost/", "http://", "localhost/", "*"):
            assert status_of(ask(world, server, request(path=target))[0]) == 400, target
        for data in (
            request("Host: localhost", path="http://localhost/"),
            request(path="http://localhost/").replace(b"Host: localhost\r\n", b""),
        ):
            assert status_of(ask(world, server, data)[0]) == 400, data


@scenario(SERVER)
def ignores_empty_lines_before_a_request(world: World) -> None:
    """RFC 9112 section 2.2: at least one, in any pieces; not lines without end."""
    with world.serve() as server:
        for pieces in ([b"\r\n" + request()], [b"\r", b"\n", request()], [b"\r\n\r\n", request()[:9], request()[9:]]):
            with world.peer_of(server) as peer:
                for piece in pieces:
                    peer.send(piece)
                assert status_of(peer.read_head()) == 101
                assert server.accept().request.path == "/"
        assert status_of(ask(world, server, b"\r\n" * 1000)[0]) == 400


@scenario(SERVER)
def treats_a_later_version_as_http_1_1(world: World) -> None:
    """RFC 9110 section 2.5: a server understands all requests of the same major version."""
    with world.serve() as server:
        with world.peer_of(server) as peer:
            peer.send(request(path="/HTTP/1.2").replace(b"HTTP/1.1", b"HTTP/1.2"))
            assert peer.read_head().startswith(b"HTTP/1.1 101 ")
            assert server.accept().request.path == "/HTTP/1.2"
        for version in (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9"):
            assert status_of(ask(world, server, request().replace(b"HTTP/1.1", version))[0]) == 505


@scenario(SERVER)
def answers_head_without_a_body(world: World) -> None:
    """RFC 9110 section 9.3.2: any answer, of the server and of a hook alike."""

    def process_request(connection, request):  # type: ignore[no-untyped-def]
        return connection.respond(200, "fine\n") if request.path == "/health" else None

    def process_response(connection, request, response):  # type: ignore[no-untyped-def]
        return connection.respond(404, "gone\n") if request.path == "/gone" else None

    with world.serve(process_request=process_request, process_response=process_response) as server:
        for start, status, length in (
            (b"HEAD /health HTTP/1.1", 200, "5"),
            (b"HEAD /gone HTTP/1.1", 404, "5"),
            (b"HEAD / HTTP/1.1", 405, None),  # GET has another answer, of another length (RFC 9110 section 8.6)
        ):
            head, body = ask(world, server, start + b"\r\nHost: localhost\r\n\r\n")
            assert (status_of(head), header(head, "Content-Length"), body) == (status, length, b""), start
        for bad in (
            b"HEAD / HTTP/2.0\r\n\r\n",
            b"HEAD / HTTP/1.1\r\nHost: \0",
            b"HEAD / HTTP/1.1\r\nContent-Length: 1",
        ):
            head, body = ask(world, server, bad + b"\r\n\r\n")
            assert status_of(head) in (400, 505)
            assert body == b""
        assert ask(world, server, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")[1] == b"fine\n"


@scenario(SERVER)
def other_methods_are_told_which_one_it_is(world: World) -> None:
    """RFC 9110 section 15.5.6: 405 names the methods allowed; no program opens a tunnel by mistake (section 9.3.6)."""

    def welcome(connection, request):  # type: ignore[no-untyped-def]
        return connection.respond(200, "welcome\n")

    for hooks in ({}, {"process_request": welcome}):
        options: dict[str, Any] = hooks
        with world.serve(**options) as server:
            for start in (b"OPTIONS * HTTP/1.1", b"CONNECT localhost:80 HTTP/1.1", b"CONNECT / HTTP/1.1"):
                head, body = ask(world, server, start + b"\r\nHost: localhost:80\r\n\r\n")
                assert (status_of(head), header(head, "Allow")) == (405, "GET"), start
                assert body
            if not hooks:
                head, _ = ask(world, server, b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert (status_of(head), header(head, "Allow")) == (405, "GET")


@scenario(SERVER)
def hooks_may_give_headers_in_any_form(world: World) -> None:
    """A mapping or pairs are as good as `Headers`, also where they are set later."""
    given: list[Any] = [
        {"Content-Type": "text/html", "Content-Length": 3},
        [("Content-Type", "text/html"), ("Content-Length", "3")],
    ]

    def process_request(connection, request):  # type: ignore[no-untyped-def]
        return Response(200, "OK", given[int(request.path[1:])], b"yes")

    def process_response(connection, request, response):  # type: ignore[no-untyped-def]
        assert response.headers["Content-Type"] == "text/html"
        response.headers = {**dict(response.headers.raw_items()), "X-Seen": "yes"}

    with world.serve(process_request=process_request, process_response=process_response) as server:
        for path in ("/0", "/1"):
            head, body = ask(world, server, request(path=path))
            assert status_of(head) == 200
            assert body == b"yes"
            for name, value in (("Content-Type", "text/html"), ("Content-Length", "3"), ("X-Seen", "yes")):
                assert header(head, name) == value
            assert header(head, "Server")


@scenario(SERVER)
def responses_that_are_none_are_answered_with_500(world: World) -> None:
    """A response that HTTP can't carry is a fault of the hook: it is logged, and nothing of it is sent."""
    wrong: list[Any] = [
        lambda: Response(200, "OK", [(b"secret", b"a")], b""),  # type: ignore[arg-type]
        lambda: Response(200, "OK", {"secret": b"a"}, b""),  # type: ignore[arg-type]
        lambda: Response(200, "OK", {"secret": "a\r\nb: c"}, b""),  # type: ignore[arg-type]
        lambda: Response(200, "OK", None, b"secret"),  # type: ignore[arg-type]
        lambda: Response(200, "OK", {}, "secret"),  # type: ignore[arg-type]
        lambda: Response(200, "OK", {}, None),  # type: ignore[arg-type]
        lambda: Response(20, "secret", {}, b""),  # type: ignore[arg-type]
        lambda: Response("200", "secret", {}, b""),  # type: ignore[arg-type]
        lambda: (200, [], b"secret"),
        lambda: {"secret": 1},
        lambda: "secret",
    ]
    for hook in ("process_request", "process_response"):

        def answer(connection, request, *rest):  # type: ignore[no-untyped-def]
            return wrong[int(request.path[1:])]()

        with world.serve(**{hook: answer}) as server:
            for i in range(len(wrong)):
                head, body = ask(world, server, request(path=f"/{i}"))
                assert status_of(head) == 500, i
                assert b"secret" not in head + body
                eventually(lambda: f"{hook} failed" in world.log)  # noqa: B023
                world.log.clear()


@scenario(SERVER)
def answers_clients_that_end_their_half(world: World) -> None:
    """A health check such as `nc -N` asks, ends its half of the stream at once, and waits for the answer."""

    def process_request(connection, request):  # type: ignore[no-untyped-def]
        return connection.respond(200, "OK\n") if request.path == "/healthz" else None

    plain = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for hooks in ({"process_request": process_request}, {}):
        with world.serve(**hooks) as server:
            for data, status in (
                (plain % b"/healthz", 200 if hooks else 426),
                (plain % b"/", 426),
                (b"nonsense\r\n\r\n", 400),
                (request(), 101),
            ) * 5:
                with world.peer_of(server) as peer:
                    peer.send(data)
                    peer.end()
                    assert status_of(peer.read_to_eof()) == status
                    if status == 101:
                        ws = server.accept()
                        with expect(ConnectionClosedError):
                            ws.recv()


@scenario(SERVER)
def answers_to_peers_that_are_gone_are_no_errors(world: World) -> None:
    """A hook may take longer than its client waits: whatever it says then, nothing is logged as an error."""
    for hook in ("process_request", "process_response"):
        for answer in (None, Response(403, "No", Headers()), Response(403, "No", Headers(), b"no" * 1_000_000)):
            for leave in (Peer.close, Peer.reset):
                entered, left = threading.Event(), concurrent.futures.Future[Any]()

                def wait(connection, *heads):  # type: ignore[no-untyped-def]
                    entered.set()  # noqa: B023
                    return world.driver.wait(left)  # noqa: B023

                with world.serve(close_timeout=0.1, **{hook: wait}) as server:
                    with world.peer_of(server) as peer:
                        peer.send(request())
                        assert entered.wait(PATIENCE)
                        leave(peer)
                    left.set_result(answer)
    assert not world.log


# Clients


@scenario(CLIENT)
def switching_protocols_has_no_body(world: World) -> None:
    """RFC 9112 section 6.3, item 1: a response with status 1xx ends with its head, whatever its headers say."""
    for lines in (
        ("Transfer-Encoding: chunked",),
        ("Content-Length: 129",),
        ("Content-Length: 0", "Transfer-Encoding: chunked"),
        ("Content-Length: x", "Content-Length: 5"),
    ):
        with world.listen() as listener:
            connecting = world.start_connecting(listener.uri)
            with listener.accept() as peer:
                peer.accept(*lines)
                peer.send_frame(TEXT, b"hello")
                ws = world.connected(connecting)
                assert ws.recv() == "hello"
                peer.close()
                ws.wait_closed()


def refused(world: World, response: bytes, **options: Any) -> Any:
    """The exceptions of a client for a response that refuses it."""
    with world.listen() as listener:
        uri = listener.uri
        if "proxy" in options:
            uri, options = "ws://example.com/", {"proxy": listener.uri.replace("ws://", "http://")}
        connecting = world.start_connecting(uri, **options)
        with listener.accept() as peer:
            peer.read_head()
            peer.send(response)
            peer.end()
            with expect(Exception) as caught:
                connecting.result()
            assert peer.read_to_eof() == b""
    return caught.value


@scenario(CLIENT)
def refuses_a_response_without_a_clear_end(world: World) -> None:
    """RFC 9112 section 6.3, item 5: an invalid Content-Length, or several, is an error, and its cause says so."""
    for lines in (b"Content-Length: 4\r\nContent-Length: 4", b"Content-Length: 4\r\nContent-Length: 5"):
        error = refused(world, b"HTTP/1.1 503 Busy\r\n" + lines + b"\r\n\r\nbusy")
        assert type(error) is InvalidMessage
        assert isinstance(error.__cause__, ValueError)
        assert "Content-Length" in str(error.__cause__)
    error = refused(world, b"HTTP/1.1 503 Busy\r\nContent-Length: many\r\n\r\nbusy")
    assert type(error) is InvalidMessage
    assert "many" in str(error.__cause__)
    assert not world.log


@scenario(CLIENT)
def transfer_encoding_overrides_content_length(world: World) -> None:
    """RFC 9112 section 6.3, item 3: a refusal with both is a refusal, with its body."""
    for rest in UNDECIDED:
        error = refused(world, b"HTTP/1.1 503 Busy\r\n" + rest)
        assert type(error) is InvalidStatus
        assert (error.response.status_code, error.response.body) == (503, b"busy")
        error = refused(world, b"HTTP/1.1 407 Proxy Authentication Required\r\n" + rest, proxy=True)
        assert type(error) is InvalidProxyStatus
        assert error.response.status_code == 407

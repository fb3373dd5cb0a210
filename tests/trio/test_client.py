"""The promises of `websockets` 17.4 about its trio client, and those that ours adds."""

from __future__ import annotations

import inspect
import itertools
import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import websockets.trio.client
import websockets.trio.server

from tests.trio.support import connecting, echo, port_of, run, serving, uri_of
from trunkline.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, SecurityError
from trunkline.testing.tls import tls_contexts
from trunkline.testing.wire import TEXT, Incoming, encode_frame, switching_protocols
from trunkline.trio.client import ClientConnection, connect, unix_connect
from trunkline.trio.server import ServerConnection, basic_auth


def test_parameters_are_those_of_websockets() -> None:
    theirs = inspect.signature(websockets.trio.client.connect).parameters
    ours = inspect.signature(connect).parameters
    for parameter in theirs.values():
        mine = ours[parameter.name]
        assert mine.kind == parameter.kind
        if parameter.name not in ("user_agent_header", "process_exception", "reconnect_delays"):
            assert mine.default == parameter.default, parameter.name
    assert list(inspect.signature(unix_connect).parameters) == ["path", "uri", "kwargs"]


def test_the_context_closes_the_connection() -> None:
    async def main() -> None:
        ended: list[int | None] = []

        async def handler(ws: ServerConnection) -> None:
            await echo(ws)
            ended.append(ws.close_code)

        async with serving(handler) as server:
            async with connecting(server) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
            assert ws.close_code == 1000
            assert ended == [1000]

    run(main)


def test_exceptions_of_the_body_come_out_as_they_are() -> None:
    async def main() -> None:
        codes: list[int | None] = []

        async def handler(ws: ServerConnection) -> None:
            try:
                await ws.recv()
            except ConnectionClosed:
                codes.append(ws.close_code)

        async with serving(handler) as server:
            with pytest.raises(KeyError, match="of the user"):
                async with connecting(server):
                    raise KeyError("of the user")
            await trio.sleep(0.01)
            assert codes == [1011]

    run(main)


def test_a_cancelled_body_leaves_nothing() -> None:
    async def main() -> None:
        async with serving() as server:
            with trio.move_on_after(0.05) as scope:
                async with connecting(server) as ws:
                    await ws.recv()
            assert scope.cancelled_caught
            assert ws.closed

    run(main)


def test_connect_is_not_reentrant() -> None:
    async def main() -> None:
        async with serving() as server:
            connector = connecting(server)
            async with connector:
                with pytest.raises(RuntimeError, match="reentrant"):
                    async with connector:
                        pass
            async with connector as ws:
                await ws.ping()

    run(main)


def test_in_a_nursery_of_the_caller() -> None:
    async def main() -> None:
        async with serving() as server, trio.open_nursery() as nursery:
            ws = await connecting(server).connect(nursery)
            assert isinstance(ws, ClientConnection)
            await ws.send("a")
            assert await ws.recv() == "a"
            await ws.aclose()

    run(main)


def test_iteration_reconnects() -> None:
    async def main() -> None:
        async with serving(lambda ws: ws.send("once")) as server:
            received = []
            async for ws in connecting(server):
                async for message in ws:
                    received.append(message)
                if len(received) == 3:
                    break
            assert received == ["once"] * 3

    run(main)


def test_iteration_waits_between_attempts(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving() as server:
            uri = uri_of(server)
        start = trio.current_time()
        delays = [7.0, 8.0]

        def give_up(error: Exception) -> Exception | None:
            return None if delays else ValueError("enough")

        def next_delays() -> Any:
            while delays:
                yield delays.pop(0)

        with pytest.raises(ValueError, match="enough"):
            async for _ in connect(uri, proxy=None, process_exception=give_up, reconnect_delays=next_delays):
                pass
        assert trio.current_time() - start == pytest.approx(15, abs=1)

    with caplog.at_level(logging.INFO, "websockets.client"):
        run(main, fake_clock=True)
    assert caplog.messages[-2].startswith("connect failed; reconnecting in 7.0 seconds: OSError")


def test_iteration_raises_what_does_not_pass() -> None:
    async def main() -> None:
        async with serving(process_request=lambda ws, request: ws.respond(404, "no")) as server:
            with pytest.raises(InvalidStatus):
                async for _ in connecting(server):
                    pass

    run(main)


def test_timeout_of_the_opening_handshake() -> None:
    async def main() -> None:
        ours, _ = trio.testing.memory_stream_pair()
        start = trio.current_time()
        with pytest.raises(TimeoutError, match="timed out during opening handshake"):
            async with connect("ws://localhost/", stream=ours, open_timeout=3):
                pass
        assert trio.current_time() - start == pytest.approx(3)

    run(main, fake_clock=True)


def test_stream_of_the_caller() -> None:
    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()

        async def answer() -> None:
            incoming = Incoming()
            while (head := incoming.take_head()) is None:
                incoming.feed(await theirs.receive_some())
            assert head.startswith(b"GET /chat HTTP/1.1\r\nHost: example.com\r\n")
            await theirs.send_all(switching_protocols(head) + encode_frame(TEXT, b"hello", mask=None))
            await theirs.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            async with connect("ws://example.com/chat", stream=ours) as ws:
                assert ws.stream is ours
                assert await ws.recv() == "hello"

    run(main)


def test_unix_socket(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        sock = trio.socket.socket(trio.socket.AF_UNIX)
        await sock.bind(str(path))
        sock.listen()
        paths: list[str] = []

        async def handler(ws: ServerConnection) -> None:
            paths.append(ws.path)
            await echo(ws)

        from trunkline.trio.server import serve

        async with trio.open_nursery() as nursery:

            async def serve_it(task_status: Any) -> None:
                await serve(handler, listeners=[trio.SocketListener(sock)], task_status=task_status)

            server = await nursery.start(serve_it)
            async with unix_connect(path, "ws://localhost/chat") as ws:
                await ws.send("a")
                assert await ws.recv() == "a"
            async with unix_connect(str(path)) as ws:
                assert ws.request.headers["Host"] == "localhost"
            await server.aclose()
        assert paths == ["/chat", "/"]

    run(main)
    with pytest.raises(ValueError, match="path"):
        unix_connect()


def test_tls() -> None:
    async def main() -> None:
        server_context, client_context = tls_contexts()
        async with trio.open_nursery() as nursery:
            from trunkline.trio.server import serve

            async def serve_it(task_status: Any) -> None:
                await serve(echo, 0, host="127.0.0.1", ssl=server_context, task_status=task_status)

            server = await nursery.start(serve_it)
            port = server.listeners[0].socket.getsockname()[1]
            uri = f"wss://127.0.0.1:{port}"
            async with connect(uri, ssl=client_context, server_hostname="localhost", proxy=None) as ws:
                assert isinstance(ws.stream, trio.SSLStream)
                await ws.send(b"x" * 100_000)
                assert await ws.recv() == b"x" * 100_000
                assert ws.remote_address[1] == port
            assert ws.close_code == 1000
            for kind in (OSError, trio.BrokenResourceError):
                with pytest.raises(kind, match=r"self.signed certificate") as caught:
                    async with connect(uri, proxy=None):
                        pass
                assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
            await server.aclose()

    run(main)


def test_redirects() -> None:
    async def main() -> None:
        def redirect(ws: ServerConnection, request: Any) -> Any:
            response = ws.respond(302, "elsewhere")
            response.headers["Location"] = {"/a": "/b", "/loop": "/loop"}.get(request.path, "")
            return None if request.path == "/b" else response

        async with serving(process_request=redirect) as server:
            async with connecting(server, "/a") as ws:
                assert ws.path == "/b"
            with pytest.raises(SecurityError, match="redirects"):
                async with connecting(server, "/loop"):
                    pass

    run(main)


def test_what_makes_no_sense_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(InvalidURI):
            async with connect("http://localhost/"):
                pass
        with pytest.raises(ValueError, match="ssl"):
            async with connect("ws://localhost/", ssl=ssl.create_default_context()):
                pass

    run(main)
    with pytest.raises(TypeError, match="unknown_argument"):
        connect("ws://localhost/", unknown_argument=1)
    with pytest.raises(ValueError, match="compression"):
        connect("ws://localhost/", compression="gzip")


def test_headers_and_credentials() -> None:
    async def main() -> None:
        async with serving(process_request=basic_auth("realm", ("user", "word"))) as server:
            uri = f"ws://user:word@127.0.0.1:{port_of(server)}/"
            async with connect(
                uri, proxy=None, additional_headers={"X-Test": "a"}, user_agent_header=None, origin="https://a.example"
            ) as ws:
                assert ws.request.headers["X-Test"] == "a"
                assert ws.request.headers["Origin"] == "https://a.example"
                assert "User-Agent" not in ws.request.headers
                (connection,) = server.connections
                assert connection.username == "user"

    run(main)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_talks_to_the_server_of_websockets(compression: str | None) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def serve_it(task_status: Any) -> None:
                await websockets.trio.server.serve(
                    echo, 0, host="127.0.0.1", compression=compression, max_size=None, task_status=task_status
                )

            server = await nursery.start(serve_it)
            uri = f"ws://127.0.0.1:{server.listeners[0].socket.getsockname()[1]}"
            async with connect(uri, proxy=None, max_size=None) as ws:
                for message in ("é" * 1000, b"\0" * 300_000, "", b""):
                    await ws.send(message)
                    assert await ws.recv() == message
                await ws.send(itertools.repeat("ab", 3))
                assert await ws.recv() == "ababab"
                await (await ws.ping()).wait()
                await ws.aclose(4321, "bye")
            assert (ws.close_code, ws.close_reason) == (4321, "bye")
            await server.aclose()

    run(main)

"""The promises of `websockets` 17.4 about its trio server, and those that ours adds."""

from __future__ import annotations

import functools
import inspect
import logging
from typing import Any

import pytest
import trio
import trio.testing
import websockets.trio.client
import websockets.trio.server

from tests.support.listening import longest_queue, needs_tcp_info, queue_of
from tests.trio.support import connecting, echo, port_of, run, serving, uri_of
from trunkline.core.session import State
from trunkline.exceptions import (
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidMessage,
    InvalidStatus,
    ProtocolError,
)
from trunkline.testing.tls import tls_contexts
from trunkline.trio.client import connect
from trunkline.trio.connection import Connection
from trunkline.trio.server import Server, ServerConnection, basic_auth, broadcast, serve


def test_parameters_are_those_of_websockets() -> None:
    for name in ("serve", "broadcast", "basic_auth"):
        theirs = inspect.signature(getattr(websockets.trio.server, name)).parameters
        ours = inspect.signature(globals()[name]).parameters
        for parameter in theirs.values():
            assert ours[parameter.name].kind == parameter.kind
            if parameter.name != "server_header":
                assert ours[parameter.name].default == parameter.default, parameter.name
    for name in ("aclose", "serve_forever", "connections"):
        assert hasattr(Server, name)
    assert list(inspect.signature(Server.aclose).parameters) == ["self", "close_connections", "code", "reason"]


def test_serve_runs_until_the_server_is_closed() -> None:
    async def main() -> None:
        returned = trio.Event()

        async def run_server(task_status: Any) -> None:
            await serve(echo, 0, host="127.0.0.1", task_status=task_status)
            returned.set()

        async with trio.open_nursery() as nursery:
            server = await nursery.start(run_server)
            uri = uri_of(server)
            assert isinstance(server, Server)
            async with connecting(server) as ws:
                assert len(server.connections) == 1
                assert isinstance(next(iter(server.connections)), ServerConnection)
                await server.aclose()
                with pytest.raises(ConnectionClosedOK) as caught:
                    await ws.recv()
                assert caught.value.rcvd.code == 1001
            await returned.wait()
            assert server.connections == set()
            await server.aclose()  # does nothing
            with pytest.raises(OSError, match="all attempts"):
                await connect(uri, proxy=None).connect(nursery)

    run(main)


def test_server_is_not_closed_with_what_cannot_be_sent() -> None:
    async def main() -> None:
        async with serving() as server, connecting(server) as ws:
            with pytest.raises(ProtocolError):
                await server.aclose(code=999)
            await ws.send("still there")
            assert await ws.recv() == "still there"

    run(main)


def test_server_on_listeners_of_the_caller() -> None:
    async def main() -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = Server(listeners, echo)
        assert server.listeners == listeners
        async with trio.open_nursery() as nursery:
            assert await nursery.start(server.serve_forever) is server
            async with connecting(server) as ws:
                await ws.send("a")
                assert await ws.recv() == "a"
            await server.aclose()

    run(main)


def test_listeners_are_those_that_accept_also_with_tls() -> None:
    async def main() -> None:
        server_context, client_context = tls_contexts()
        async with serving(ssl=server_context) as server:
            assert isinstance(server.listeners[0], trio.SocketListener)
            uri = f"wss://localhost:{port_of(server)}/"
            async with connect(uri, host="127.0.0.1", ssl=client_context, proxy=None) as ws:
                await ws.send("a")
                assert await ws.recv() == "a"

    run(main)


def test_open_timeout_counts_from_the_beginning_of_tls() -> None:
    async def main() -> None:
        async with (
            serving(ssl=tls_contexts()[0], open_timeout=0.01) as server,
            await trio.open_tcp_stream("127.0.0.1", port_of(server)) as stream,
        ):
            assert await stream.receive_some() == b""

    run(main)


@needs_tcp_info
@pytest.mark.parametrize(("options", "length"), [({}, None), ({"backlog": 7}, 7)], ids=["default", "given"])
def test_queue_of_listening_sockets(options: dict[str, Any], length: int | None) -> None:
    async def main() -> None:
        async with serving(**options) as server:
            for listener in server.listeners:
                assert queue_of(listener.socket) == (length or longest_queue())  # type: ignore[attr-defined]

    run(main)


@needs_tcp_info
def test_queue_of_listeners_of_the_caller_is_left_alone() -> None:
    async def main() -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=9)
        async with trio.open_nursery() as nursery:
            server = await nursery.start(functools.partial(serve, echo, listeners=listeners))
            assert queue_of(listeners[0].socket) == 9
            await server.aclose()

    run(main)


@pytest.mark.parametrize("options", [{}, {"port": 0, "listeners": []}])
def test_port_or_listeners(options: dict[str, Any]) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match=r"port is (required|incompatible)"):
            await serve(echo, **options)

    run(main)


@pytest.mark.parametrize("options", [{"subprotocols": "chat"}, {"compression": "no"}])
def test_an_option_that_makes_no_sense_comes_before_a_port_that_is_missing(options: dict[str, Any]) -> None:
    async def main() -> None:
        with pytest.raises((TypeError, ValueError), match=r"subprotocols|compression"):
            await serve(echo, **options)

    run(main)


def test_a_server_is_an_asynchronous_resource() -> None:
    async def main() -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            async with Server(listeners, echo) as server:
                await nursery.start(server.serve_forever)
            assert server.closing

    run(main)


class SlowToClose(trio.abc.Listener[trio.SocketStream]):
    """Lets all other tasks go on while it is closed."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self.listener = listener
        self.closing = trio.Event()

    async def accept(self) -> trio.SocketStream:
        return await self.listener.accept()

    async def aclose(self) -> None:
        self.closing.set()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
        await self.listener.aclose()


def test_a_hook_that_ends_while_a_listener_is_closed_lets_no_client_in() -> None:
    async def main() -> None:
        [tcp] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener, asked = SlowToClose(tcp), trio.Event()

        async def process_request(ws: ServerConnection, request: Any) -> None:
            asked.set()
            await listener.closing.wait()

        async def refused() -> None:
            with pytest.raises(InvalidStatus) as caught:
                async with connect(f"ws://127.0.0.1:{tcp.socket.getsockname()[1]}", proxy=None):
                    pass
            assert caught.value.response.status_code == 503

        async with trio.open_nursery() as nursery:
            server = Server([listener], echo, process_request=process_request)
            await nursery.start(server.serve_forever)
            nursery.start_soon(refused)
            await asked.wait()
            await server.aclose()

    run(main)


def test_cancelling_the_nursery_tells_the_clients() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def run_server(task_status: Any) -> None:
                with scope:
                    await serve(echo, 0, host="127.0.0.1", task_status=task_status)

            server = await nursery.start(run_server)
            async with connecting(server) as ws:
                await ws.send("a")
                assert await ws.recv() == "a"
                scope.cancel()
                with pytest.raises(ConnectionClosedOK) as caught:
                    await ws.recv()
                assert caught.value.rcvd.code == 1001

    run(main)


def test_errors_of_one_handler_end_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def handler(ws: ServerConnection) -> None:
            async for message in ws:
                if message == "group":
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(ws.send, 5)
                if message == "raise":
                    raise ValueError("broken")
                await ws.send(message)

        async with serving(handler) as server, connecting(server) as other:
            for message in ("group", "raise"):
                async with connecting(server) as ws:
                    await ws.send(message)
                    with pytest.raises(ConnectionClosedError) as caught:
                        await ws.recv()
                    assert caught.value.rcvd.code == 1011
            await other.send("still here")
            assert await other.recv() == "still here"

    run(main)
    assert caplog.messages == ["connection handler failed"] * 2


def test_closing_refuses_handshakes_in_progress() -> None:
    async def main() -> None:
        hooked = trio.Event()

        async def process_request(ws: ServerConnection, request: Any) -> None:
            hooked.set()
            await trio.sleep_forever()

        async with serving(process_request=process_request) as server, trio.open_nursery() as nursery:

            async def refused() -> None:
                with pytest.raises(InvalidStatus) as caught:
                    async with connecting(server):
                        pass
                assert caught.value.response.status_code == 503

            nursery.start_soon(refused)
            await hooked.wait()
            await server.aclose()

    run(main)


@pytest.mark.parametrize("hook", ["process_request", "process_response"])
def test_closing_refuses_also_who_would_be_let_in_now(hook: str) -> None:
    async def main() -> None:
        hooked, closing = trio.Event(), trio.Event()

        async def let_in(ws: ServerConnection, *heads: Any) -> None:
            hooked.set()
            with trio.CancelScope(shield=True):
                await closing.wait()

        async def rejected(server: Server) -> None:
            with pytest.raises(InvalidStatus) as caught:
                async with connecting(server):
                    pass
            assert caught.value.response.status_code == 503

        async with serving(**{hook: let_in}) as server, trio.open_nursery() as nursery:
            nursery.start_soon(rejected, server)
            await hooked.wait()
            nursery.start_soon(server.aclose)
            await trio.testing.wait_all_tasks_blocked()
            closing.set()

    run(main)


def test_closing_refuses_whose_response_is_being_processed() -> None:
    async def main() -> None:
        hooked = trio.Event()

        async def process_response(ws: ServerConnection, request: Any, response: Any) -> None:
            hooked.set()
            await trio.sleep_forever()

        async def rejected(server: Server) -> None:
            with pytest.raises(InvalidStatus) as caught:
                async with connecting(server):
                    pass
            assert caught.value.response.status_code == 503

        async with serving(process_response=process_response) as server, trio.open_nursery() as nursery:
            nursery.start_soon(rejected, server)
            await hooked.wait()
            await server.aclose()

    run(main)


def test_slow_handshake_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with (
            serving(open_timeout=0.01) as server,
            await trio.open_tcp_stream("127.0.0.1", port_of(server)) as stream,
        ):
            await stream.send_all(b"GET / HTTP/1.1\r\n")
            assert await stream.receive_some() == b""

    with caplog.at_level(logging.INFO):
        run(main)
    assert "connection handshake timed out: 127.0.0.1:" in caplog.text


def test_log_of_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(process_request=lambda ws, request: ws.respond(403, "no")) as server:
            with pytest.raises(InvalidStatus):
                async with connecting(server):
                    raise AssertionError("refused")

    with caplog.at_level(logging.INFO, "websockets.server"):
        run(main)
    assert caplog.messages[1].startswith("HTTP response sent (403 Forbidden): 127.0.0.1:")
    assert "connection closed: 127.0.0.1:" in caplog.text


def test_a_hook_may_close_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def process_request(ws: ServerConnection, request: Any) -> None:
            await ws.stream.aclose()

        async with serving(process_request=process_request) as server:
            with pytest.raises(InvalidMessage):
                async with connecting(server):
                    pass

    run(main)
    assert not caplog.records


def test_what_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving() as server, connecting(server):
            pass

    with caplog.at_level(logging.INFO, "websockets.server"):
        run(main)
    assert caplog.messages[0].startswith("server listening on 127.0.0.1:")
    events = [text.partition(":")[0] for text in caplog.messages]
    assert events[1] == "connection open"
    assert sorted(events[2:]) == ["connection closed", "server closed", "server closing"]


def test_hooks_may_be_coroutine_functions() -> None:
    async def main() -> None:
        async def process_request(ws: ServerConnection, request: Any) -> Any:
            await trio.sleep(0)
            return ws.respond(403, "no\n") if request.path == "/no" else None

        async def process_response(ws: ServerConnection, request: Any, response: Any) -> None:
            await trio.sleep(0)
            response.headers["X-Test"] = "a"

        async def check(username: str, password: str) -> bool:
            await trio.sleep(0)
            return username == password

        async with serving(process_request=process_request, process_response=process_response) as server:
            async with connecting(server) as ws:
                assert ws.response.headers["X-Test"] == "a"
            with pytest.raises(InvalidStatus) as caught:
                async with connecting(server, "/no"):
                    pass
            assert caught.value.response.body == b"no\n"
        async with serving(process_request=basic_auth(check_credentials=check)) as server:
            async with connecting(server, additional_headers={"Authorization": "Basic YTph"}):
                assert next(iter(server.connections)).username == "a"
            with pytest.raises(InvalidStatus):
                async with connecting(server):
                    pass

    run(main)


def test_subclass_of_the_connection() -> None:
    class Mine(ServerConnection):
        pass

    async def main() -> None:
        async with serving(create_connection=Mine) as server, connecting(server):
            assert {type(connection) for connection in server.connections} == {Mine}
            assert all(isinstance(connection, Connection) for connection in server.connections)

    run(main)


def test_connections_are_those_that_are_open() -> None:
    async def main() -> None:
        async with serving() as server:
            async with connecting(server) as ws:
                (connection,) = server.connections
                await broadcast(server.connections, "hello")
                assert await ws.recv() == "hello"
            await connection.wait_closed()
            assert connection.state is State.CLOSED
            assert server.connections == set()

    run(main)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_talks_to_the_client_of_websockets(compression: str | None) -> None:
    async def main() -> None:
        async with (
            serving(max_size=None) as server,
            websockets.trio.client.connect(uri_of(server), proxy=None, compression=compression, max_size=None) as ws,
        ):
            for message in ("é" * 1000, b"\0" * 300_000, "", b""):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send(["a", "b"])
            assert await ws.recv() == "ab"
            await (await ws.ping()).wait()
            (connection,) = server.connections
            await connection.aclose(4321, "bye")
            with pytest.raises(websockets.ConnectionClosedError) as caught:
                await ws.recv()
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (4321, "bye")

    run(main)

"""The events that an ASGI application may send and when, those that it receives, and answers to requests."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import trunkline
from tests.support.asgi import CLASSES, Receive, Send, uvicorn_server
from tests.support.loop import run_clean, settled
from tests.support.raw import BINARY, CLOSE, TEXT, RawPeer, close_frame, encode_frame, request
from trunkline.asgi.connection import ClientDisconnectedError

both = pytest.mark.parametrize("ws", CLASSES)
ACCEPT = {"type": "websocket.accept"}
ABNORMAL = {"type": "websocket.disconnect", "code": 1006}


def start(status: int = 404, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "websocket.http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "websocket.http.response.body", "body": data, "more_body": more}


def text(message: str) -> dict[str, Any]:
    return {"type": "websocket.send", "text": message}


async def refused(server: Any, **options: Any) -> trunkline.Response:
    """The response to a client that wants to connect."""
    with pytest.raises(trunkline.InvalidStatus) as error:
        await server.connect(**options)
    response: trunkline.Response = error.value.response
    return response


# --- the decision ---


@both
def test_refusal(ws: Any) -> None:
    async def main() -> None:
        events: list[Any] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            events.append(await receive())
            await send({"type": "websocket.close", "code": 4000, "reason": "no"})
            events.append(await receive())
            events.append(await receive())
            with pytest.raises(RuntimeError, match=r"Unexpected ASGI message 'websocket\.accept'"):
                await send(ACCEPT)

        async with uvicorn_server(app, ws) as server:
            assert (await refused(server)).status_code == 403
        assert events == [{"type": "websocket.connect"}, ABNORMAL, ABNORMAL]

    run_clean(main)


@both
def test_response_with_body(ws: Any) -> None:
    async def main() -> None:
        events: list[Any] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send(start(401, (b"content-type", b"application/json"), (b"www-authenticate", b"Basic")))
            with pytest.raises(RuntimeError, match=r"Expected ASGI message 'websocket.http.response.body' but got"):
                await send(start())
            await send(body(b'{"detail":"who are you?"}'))
            events.append(await receive())

        async with uvicorn_server(app, ws) as server:
            response = await refused(server)
        assert response.status_code == 401
        assert response.body == b'{"detail":"who are you?"}'
        assert response.headers["Content-Length"] == "25"
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["WWW-Authenticate"] == "Basic"
        assert response.headers["Server"] == "uvicorn"
        assert events == [ABNORMAL]

    run_clean(main)


@both
def test_response_with_a_long_body_in_parts(ws: Any) -> None:
    async def main() -> None:
        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send(start(200))
            for _ in range(50):
                await send(body(b"x" * 20_000, True))
            await send(body(b"end"))

        async with uvicorn_server(app, ws) as server:
            response = await refused(server)
        assert response.body == b"x" * 1_000_000 + b"end"
        assert "Content-Length" not in response.headers

    run_clean(main)


def test_response_without_end() -> None:
    async def main() -> None:
        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send(start(404))

        async with uvicorn_server(app) as server:
            response = await refused(server)
        assert (response.status_code, response.body) == (404, b"")

    run_clean(main)


@pytest.mark.parametrize("status", [99, 101, 700])
def test_response_with_a_status_that_ends_nothing(status: int, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send(start(status))

        async with uvicorn_server(app) as server:
            assert (await refused(server)).status_code == 500

    run_clean(main)
    assert "Exception in ASGI application" in caplog.text
    assert f"Invalid HTTP status code '{status}'" in caplog.text


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (ACCEPT | {"subprotocol": "v3"}, r"accepts the subprotocol 'v3'; the client offered \['v1', 'v2'\]"),
        (ACCEPT | {"headers": [(b"sec-websocket-protocol", b"v1")]}, "use 'subprotocol'"),
        (ACCEPT | {"headers": [(b"x-name", b"Ada\r\nX-Admin: 1")]}, "X-Admin"),
        (text("too early"), "Expected ASGI message 'websocket.accept', 'websocket.close' or"),
    ],
)
def test_mistake_of_the_application(event: Any, error: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is answered with status 500, and nothing else has left."""

    async def main() -> None:
        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            with pytest.raises(Exception, match=error):
                await send(event)
            raise ZeroDivisionError

        async with uvicorn_server(app) as server:
            response = await refused(server, subprotocols=["v1", "v2"])
        assert (response.status_code, response.body) == (500, b"Internal Server Error")

    run_clean(main)
    assert "ZeroDivisionError" in caplog.text


def test_application_that_returns_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()

        async with uvicorn_server(app) as server:
            assert (await refused(server)).status_code == 500

    run_clean(main)
    assert "without completing handshake" in caplog.text


def test_request_that_is_none() -> None:
    async def main() -> None:
        async def app(scope: Any, receive: Receive, send: Send) -> None:
            raise AssertionError("it is not asked")

        async with uvicorn_server(app) as server, await RawPeer.connect(server.port) as peer:
            await peer.send(request().replace(b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 12"))
            head = await peer.read_head()
        assert head.startswith(b"HTTP/1.1 426 ")
        assert b"\r\nsec-websocket-version: 13\r\n" in head.lower()

    run_clean(main)


@both
def test_client_that_goes_before_the_decision(ws: Any) -> None:
    async def main() -> None:
        events: list[Any] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            events.append(await receive())
            events.append(await receive())
            for event in (ACCEPT, {"type": "websocket.close"}, start()):
                with pytest.raises(OSError, match="the client is gone"):
                    await send(event)
            events.append("end")

        async with uvicorn_server(app, ws) as server:
            async with await RawPeer.connect(server.port) as peer:
                await peer.send(request())
                await settled(lambda: len(events) == 1)
            await settled(lambda: len(events) == 3)
        assert events == [{"type": "websocket.connect"}, ABNORMAL, "end"]

    run_clean(main)


@both
def test_frames_before_the_decision(ws: Any) -> None:
    """A client should wait for the answer; if it does not, its messages are kept, and no more than a little of them."""

    async def main() -> None:
        asked, deciding = asyncio.Event(), asyncio.Event()
        events: list[Any] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            asked.set()
            await deciding.wait()
            await send(ACCEPT)
            while (event := await receive())["type"] == "websocket.receive":
                events.append(event["text"])

        async with uvicorn_server(app, ws) as server, await RawPeer.connect(server.port) as peer:
            await peer.send(request())
            await asked.wait()
            await peer.send(encode_frame(TEXT, b"early"))
            [connection] = server.connections
            await settled(lambda: bool(connection.handshake and connection.handshake.remaining))
            assert not connection.transport.is_reading()
            deciding.set()
            await peer.read_head()
            await peer.send(encode_frame(TEXT, b"late"))
            await settled(lambda: len(events) == 2)
        assert events == ["early", "late"]

    run_clean(main)


def test_receive_in_another_task_before_the_decision() -> None:
    async def main() -> None:
        events: list[Any] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            receiving = asyncio.create_task(receive())  # type: ignore[arg-type]
            await asyncio.sleep(0)
            await send(ACCEPT)
            events.append(await receiving)

        async with uvicorn_server(app) as server, server.connect() as client:
            await client.send("hello")
            await settled(lambda: bool(events))
        assert events == [{"type": "websocket.receive", "text": "hello"}]

    run_clean(main)


def test_connect_is_told_also_after_the_acceptance() -> None:
    async def main() -> None:
        events: list[Any] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await send(ACCEPT)
            events.append(await receive())
            events.append(await receive())

        async with uvicorn_server(app) as server, server.connect() as client:
            await client.send("hello")
            await settled(lambda: len(events) == 2)
        assert events == [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hello"}]

    run_clean(main)


# --- messages ---


def test_mistakes_in_messages() -> None:
    """Each raises, before a byte is sent, and the connection stays usable."""

    async def main() -> None:
        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            for event, error in [
                ({"type": "websocket.send"}, TypeError),
                ({"type": "websocket.send", "text": None, "bytes": None}, TypeError),
                ({"type": "websocket.send", "text": b"bytes"}, TypeError),
                ({"type": "websocket.send", "bytes": "text"}, TypeError),
                ({"type": "websocket.send", "bytes": 5}, TypeError),
                ({"type": "websocket.send", "text": "\ud800"}, UnicodeEncodeError),
                ({"type": "websocket.close", "code": 1005}, trunkline.ProtocolError),
                ({"type": "websocket.close", "reason": "x" * 124}, trunkline.ProtocolError),
                ({"type": "websocket.accept"}, RuntimeError),
                ({"type": "http.response.start"}, RuntimeError),
            ]:
                with pytest.raises(error):
                    await send(event)
            await send({"type": "websocket.send", "bytes": bytearray(b"still open")})
            await send({"type": "websocket.close", "code": 3000, "reason": "bye"})
            with pytest.raises(RuntimeError, match=r"after sending 'websocket.close'"):
                await send(text("too late"))
            with pytest.raises(RuntimeError, match=r"after sending 'websocket.close'"):
                await send({"type": "websocket.close"})

        async with uvicorn_server(app) as server, server.connect() as client:
            assert await client.recv() == b"still open"
            with pytest.raises(trunkline.ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd == trunkline.Close(3000, "bye")

    run_clean(main)


def test_event_that_is_another_mapping() -> None:
    class Lazy(dict[str, Any]):
        pass

    async def main() -> None:
        from types import MappingProxyType

        async def app(scope: Any, receive: Receive, send: Any) -> None:
            await receive()
            await send(MappingProxyType(ACCEPT))
            await send(MappingProxyType(text("proxy")))
            await send(Lazy(text("subclass")))
            await receive()

        async with uvicorn_server(app) as server, server.connect() as client:
            assert await client.recv() == "proxy"
            assert await client.recv() == "subclass"

    run_clean(main)


@both
def test_messages_before_the_end_are_received(ws: Any) -> None:
    async def main() -> None:
        accepted, taking = asyncio.Event(), asyncio.Event()
        events: list[Any] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            accepted.set()
            await taking.wait()
            for _ in range(5):
                events.append(await receive())
            with pytest.raises(OSError, match="the client is gone"):
                await send(text("too late"))
            await send({"type": "websocket.close"})  # which does no harm
            events.append("end")

        async with uvicorn_server(app, ws) as server:
            async with await RawPeer.open(server.port) as peer:
                await peer.send(*(encode_frame(BINARY, bytes([n])) for n in range(3)), close_frame(4001, b"bye"))
                assert await peer.read_close() == 4001
            taking.set()
            await settled(lambda: len(events) == 6)
        gone = {"type": "websocket.disconnect", "code": 4001, "reason": "bye"}
        assert events == [{"type": "websocket.receive", "bytes": bytes([n])} for n in range(3)] + [gone, gone, "end"]

    run_clean(main)


@both
def test_answers_to_messages_before_a_fault(ws: Any) -> None:
    """Messages before a broken rule are answered, and the application is told the code that we sent."""

    async def main() -> None:
        events: list[Any] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            while (event := await receive())["type"] == "websocket.receive":
                await send(text(event["text"]))
            events.append(event)

        async with uvicorn_server(app, ws) as server, await RawPeer.open(server.port) as peer:
            await peer.send(encode_frame(TEXT, b"good"), encode_frame(TEXT, b"\xff"))
            assert (await peer.read_frame()).payload == b"good"
            assert await peer.read_close() == 1007
            await settled(lambda: bool(events))  # while the client has not ended the stream
            assert events[0]["code"] == 1007

    run_clean(main)


@both
def test_close_wakes_a_task_that_receives(ws: Any) -> None:
    async def main() -> None:
        events: list[Any] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            receiving = asyncio.create_task(receive())  # type: ignore[arg-type]
            await asyncio.sleep(0)
            await send({"type": "websocket.close", "code": 4000, "reason": "enough"})
            events.append(await receiving)

        async with uvicorn_server(app, ws) as server, await RawPeer.open(server.port) as peer:
            await settled(lambda: bool(events))  # also if the client never answers
            assert (await peer.read_frame()).opcode == CLOSE
        assert events == [{"type": "websocket.disconnect", "code": 4000, "reason": "enough"}]

    run_clean(main)


@both
def test_send_waits_for_a_client_that_does_not_read(ws: Any) -> None:
    async def main() -> None:
        sent: list[int] = []
        ends: list[Any] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            try:
                while True:
                    await send({"type": "websocket.send", "bytes": bytes(100_000)})
                    sent.append(1)
            except OSError as error:
                ends.append(error)

        async with uvicorn_server(app, ws) as server:
            async with await RawPeer.open(server.port, receive_buffer=4096):
                [connection] = server.connections
                await settled(lambda: connection.writing_paused)
                count = len(sent)
                for _ in range(10):
                    await asyncio.sleep(0)
                assert len(sent) == count
                assert connection.transport.get_write_buffer_size() < 1_000_000
            await settled(lambda: bool(ends))
        assert len(ends) == 1

    run_clean(main)


@both
def test_several_tasks_receive(ws: Any) -> None:
    """They take turns, as at the queue of other servers, and one that is cancelled loses nothing."""

    async def main() -> None:
        events: list[Any] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)

            async def take() -> None:
                events.append((await receive()).get("text"))

            tasks = [asyncio.create_task(take()) for _ in range(4)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            await send(text("ready"))
            await asyncio.gather(*tasks, return_exceptions=True)

        async with uvicorn_server(app, ws) as server:
            async with server.connect() as client:
                assert await client.recv() == "ready"
                await client.send("one")
                await client.send("two")
                await settled(lambda: len(events) == 2)
            await settled(lambda: len(events) == 3)
        assert events == ["one", "two", None]

    run_clean(main)


# --- the connection in the scope ---


@both
def test_connection_in_the_scope(ws: Any) -> None:
    """It is a `Connection`: with broadcasts, pings, prepared messages, fragments."""

    async def main() -> None:
        connections: set[Any] = set()

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            connection = scope["extensions"]["trunkline"]["connection"]
            connections.add(connection)
            await (await connection.ping())
            await connection.send(["in ", "fragments"])
            async for message in connection:
                trunkline.broadcast(connections, message)

        async with uvicorn_server(app, ws) as server, server.connect() as first, server.connect() as second:
            for client in (first, second):
                assert await client.recv() == "in fragments"
            await first.send("to all")
            for client in (first, second):
                assert await client.recv() == "to all"
            assert {connection.path for connection in connections} == {"/"}
            assert all(isinstance(connection, trunkline.asyncio.connection.Connection) for connection in connections)

    run_clean(main)


def test_send_while_the_connection_sends_fragments() -> None:
    async def main() -> None:
        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            connection = scope["extensions"]["trunkline"]["connection"]
            goes_on = asyncio.Event()

            async def fragments() -> Any:
                yield "in "
                await goes_on.wait()
                yield "fragments"

            sending = asyncio.create_task(connection.send(fragments()))
            await asyncio.sleep(0)
            behind = asyncio.create_task(send(text("behind")))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            goes_on.set()
            await asyncio.gather(sending, behind)

        async with uvicorn_server(app) as server, server.connect() as client:
            assert await client.recv() == "in fragments"
            assert await client.recv() == "behind"

    run_clean(main)


def test_nothing_refers_to_a_connection_that_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    """No cycle of references keeps it until the garbage collector comes."""
    import gc
    import weakref

    async def main() -> None:
        references: list[Any] = []

        async def app(scope: Any, receive: Receive, send: Send) -> None:
            references.append(weakref.ref(scope["extensions"]["trunkline"]["connection"]))
            await receive()
            await send(ACCEPT)
            await receive()

        async with uvicorn_server(app) as server:
            gc.disable()
            try:
                async with server.connect():
                    pass
                await settled(lambda: references[0]() is None)
                assert references[0]() is None
            finally:
                gc.enable()

    run_clean(main)


def test_disconnected_is_an_os_error() -> None:
    assert issubclass(ClientDisconnectedError, OSError)


def test_logger_has_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    """A client that leaves is no error, also if the application sends to it."""

    async def main() -> None:
        async def app(scope: Any, receive: Receive, send: Send) -> None:
            await receive()
            await send(ACCEPT)
            await receive()
            await send(text("to nobody"))

        async with uvicorn_server(app) as server:
            async with server.connect():
                pass
            await settled(lambda: not server.connections)

    with caplog.at_level(logging.WARNING):
        run_clean(main)
    assert not caplog.records

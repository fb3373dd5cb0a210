"""Methods are what they look like to programs, test doubles and tracers: coroutine functions, and replaceable."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any
from unittest import mock

import pytest
import trio

import trunkline.asyncio.client
import trunkline.asyncio.connection
import trunkline.asyncio.server
import trunkline.sync.client
import trunkline.sync.connection
import trunkline.sync.server
import trunkline.trio.client
import trunkline.trio.connection
import trunkline.trio.server
from tests.support.memory import connected, frames
from tests.support.pair import connect, pair, serve
from trunkline.realtime import Realtime

Run = Callable[[Coroutine[Any, Any, Any]], Any]

ASYNCIO, TRIO, SYNC = trunkline.asyncio, trunkline.trio, trunkline.sync

CONTEXT = ("__aenter__", "__aexit__")
OF_ASYNCIO = ("recv", "recv_json", "send", "send_json", "drain", "ping", "pong", "close", "wait_closed", *CONTEXT)
OF_TRIO = ("recv", "recv_json", "send", "send_json", "ping", "pong", "aclose", "wait_closed", *CONTEXT)

COROUTINE_FUNCTIONS: dict[type, tuple[str, ...]] = {
    ASYNCIO.connection.Connection: OF_ASYNCIO,
    ASYNCIO.client.ClientConnection: (*OF_ASYNCIO, "handshake"),
    ASYNCIO.server.ServerConnection: OF_ASYNCIO,
    ASYNCIO.client.connect: ("connect", *CONTEXT),
    ASYNCIO.server.Server: ("start_serving", "serve_forever", "wait_closed", *CONTEXT),
    TRIO.connection.Connection: OF_TRIO,
    TRIO.client.ClientConnection: OF_TRIO,
    TRIO.server.ServerConnection: OF_TRIO,
    TRIO.client.connect: ("connect", *CONTEXT),
    TRIO.server.Server: ("serve_forever", "aclose"),
    Realtime: ("publish", "history", "presence", "subscribe", "unsubscribe", "disconnect", *CONTEXT),
}
FUNCTIONS: dict[type, tuple[str, ...]] = {
    ASYNCIO.connection.Connection: ("send_nowait", "recv_streaming", "__aiter__", "start_keepalive"),
    ASYNCIO.server.Server: ("close", "is_serving", "get_loop"),
    SYNC.connection.Connection: ("recv", "send", "ping", "pong", "close", "wait_closed", "recv_streaming"),
    TRIO.connection.Connection: ("recv_streaming",),
    Realtime: ("channel",),
}


def pairs(table: dict[type, tuple[str, ...]]) -> list[Any]:
    return [
        pytest.param(kind, name, id=f"{kind.__module__}.{kind.__name__}.{name}")
        for kind, names in table.items()
        for name in names
    ]


def is_coroutine_function(function: Any) -> bool:
    """As all that ask see it: they agree."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.14 on
        answers = {inspect.iscoroutinefunction(function), asyncio.iscoroutinefunction(function)}
    [answer] = answers
    return answer


# Functions


@pytest.mark.parametrize(("kind", "name"), pairs(COROUTINE_FUNCTIONS))
def test_methods_to_await_are_coroutine_functions(kind: type, name: str) -> None:
    assert is_coroutine_function(getattr(kind, name))
    assert is_coroutine_function(inspect.getattr_static(kind, name))
    assert is_coroutine_function(functools.partial(getattr(kind, name)))


@pytest.mark.parametrize(("kind", "name"), pairs(FUNCTIONS))
def test_other_methods_are_not(kind: type, name: str) -> None:
    assert not is_coroutine_function(getattr(kind, name))


@pytest.mark.parametrize("library", [ASYNCIO, TRIO])
def test_fragments_come_from_an_asynchronous_generator(library: Any) -> None:
    assert inspect.isasyncgenfunction(library.connection.Connection.recv_streaming)


def test_bound_methods_are_coroutine_functions() -> None:
    async def main() -> None:
        ws, _ = connected()
        for name in OF_ASYNCIO:
            assert is_coroutine_function(getattr(ws, name)), name

    asyncio.run(main())


CALLS: dict[str, tuple[Any, ...]] = {
    "recv": (), "send": ("x",), "drain": (), "ping": (), "pong": (), "close": (), "wait_closed": (), "recv_json": (),
    "send_json": ({},), "__aenter__": (), "__aexit__": (None, None, None),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("state", ["open", "lost", "fragmenting"])
def test_they_return_coroutines(name: str, state: str) -> None:
    """`anyio` before 4.14 starts nothing else in a task group."""

    async def main() -> None:
        ws, _ = connected()
        if state == "lost":
            ws.connection_lost(None)
        fragments = asyncio.Event()

        async def endless() -> AsyncIterator[str]:
            yield "a"
            await fragments.wait()

        sending = asyncio.ensure_future(ws.send(endless())) if state == "fragmenting" else None
        await asyncio.sleep(0)
        returned = getattr(ws, name)(*CALLS[name])
        assert inspect.iscoroutine(returned)
        assert asyncio.iscoroutine(returned)
        assert inspect.isawaitable(returned)
        task = asyncio.get_running_loop().create_task(returned)
        await asyncio.sleep(0)
        for each in (task, sending):
            if each is not None:
                each.cancel()
                await asyncio.wait([each])
                if not each.cancelled():
                    each.exception()

    asyncio.run(main())


@pytest.mark.parametrize("arguments", [(True,), (False,)])
def test_a_recv_that_decodes_returns_a_coroutine(arguments: Any) -> None:
    async def main() -> None:
        ws, _ = connected()
        ws.data_received(frames(ws, "a"))
        returned = ws.recv(*arguments)
        assert inspect.iscoroutine(returned)
        assert await returned == ("a" if arguments[0] else b"a")

    asyncio.run(main())


def test_a_send_in_another_thread_returns_a_coroutine() -> None:
    async def main() -> None:
        ws, transport = connected()
        loop = asyncio.get_running_loop()

        def other() -> None:
            sending = ws.send("x")
            assert inspect.iscoroutine(sending)
            asyncio.run_coroutine_threadsafe(sending, loop).result(10)

        await asyncio.to_thread(other)
        assert [frame.payload for frame in transport.take()] == [b"x"]

    asyncio.run(main())


def test_a_bus_that_asks_before_it_awaits() -> None:
    """Schedulers and event buses await what coroutine functions return, and nothing else."""

    async def main() -> None:
        async with pair() as (client, server):
            for job in (client.send, functools.partial(client.send, "partial")):
                arguments = ("bound",) if job == client.send else ()
                assert is_coroutine_function(job)
                await job(*arguments)
                assert await server.recv() == (*arguments, "partial")[0]

    asyncio.run(main())


# Doubles


def without_context(names: tuple[str, ...]) -> tuple[str, ...]:
    """Doubles have methods of their own for `async with`."""
    return tuple(name for name in names if name not in CONTEXT)


@pytest.mark.parametrize(
    ("kind", "name"), pairs({kind: without_context(names) for kind, names in COROUTINE_FUNCTIONS.items()})
)
def test_doubles_can_be_awaited(kind: type, name: str) -> None:
    for double in (mock.AsyncMock(spec=kind), mock.MagicMock(spec=kind), mock.create_autospec(kind, instance=True)):
        getattr(double, name).return_value = "done"
        assert inspect.isawaitable(returned := getattr(double, name)(*[mock.ANY] * required(kind, name)))
        assert asyncio.run(settled(returned)) == "done"


def required(kind: type, name: str) -> int:
    """How many arguments a method must have, besides `self`."""
    parameters = list(inspect.signature(getattr(kind, name)).parameters.values())[1:]
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in kinds and each.default is inspect.Parameter.empty for each in parameters)


async def settled(awaitable: Any) -> Any:
    return await awaitable


def test_what_a_double_must_not_await() -> None:
    double = mock.AsyncMock(spec=ASYNCIO.server.Server)
    assert not inspect.isawaitable(double.close())
    double = mock.AsyncMock(spec=ASYNCIO.connection.Connection)
    assert not inspect.isawaitable(double.send_nowait())


def test_a_double_of_a_connection_in_a_handler() -> None:
    async def handler(ws: Any) -> None:
        await ws.send(await ws.recv())

    async def main() -> None:
        ws = mock.create_autospec(ASYNCIO.server.ServerConnection, instance=True)
        ws.recv.return_value = "hello"
        await handler(ws)
        ws.send.assert_awaited_once_with("hello")

    asyncio.run(main())


# Replacement


@pytest.fixture
def patch() -> Iterator[Callable[..., Any]]:
    """Puts a double in the place of a method until the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda kind, name, double: stack.enter_context(mock.patch.object(kind, name, double))


@pytest.mark.parametrize(
    ("kind", "name"), pairs(COROUTINE_FUNCTIONS | {SYNC.connection.Connection: ("recv", "send", "close", "ping")})
)
def test_methods_can_be_replaced_and_put_back(kind: type, name: str) -> None:
    original = getattr(kind, name)
    with mock.patch.object(kind, name, double := mock.AsyncMock()):
        assert getattr(kind, name) is double
    assert getattr(kind, name) == original
    setattr(kind, name, original)  # as tracers do that wrap it
    assert getattr(kind, name) == original


def traced(calls: list[str], method: Any) -> Any:
    """A method that notes its calls, as tracers make it."""

    @functools.wraps(method)
    async def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(method.__name__)
        return await method(self, *args, **kwargs)

    return wrapper


def check(calls: dict[str, list[str]], close: str) -> None:
    """Two messages there and back, by `async for` or `for` on the server."""
    assert calls["client"] == ["send", "recv", "send", "recv", close]
    assert calls["server"][:6] == ["recv", "send", "recv", "send", "recv", close]
    assert set(calls["server"][6:]) <= {close}  # the server closes, too


@pytest.mark.parametrize("engine", ["auto", "transports"])
def test_asyncio_uses_the_methods_that_a_tracer_put_there(engine: str, patch: Any) -> None:
    calls: dict[str, list[str]] = {"client": [], "server": []}
    for side, kind in (("client", ASYNCIO.client.ClientConnection), ("server", ASYNCIO.server.ServerConnection)):
        for name in ("recv", "send", "close"):
            patch(kind, name, traced(calls[side], getattr(kind, name)))

    async def handler(ws: Any) -> None:
        async for message in ws:
            await ws.send(message)

    async def main() -> None:
        async with serve(handler, engine=engine) as server, connect(server, engine=engine) as ws:
            await ws.send("a")
            assert await ws.recv() == "a"
            await ws.send_json([1])
            assert await ws.recv_json() == [1]

    asyncio.run(main())
    check(calls, "close")


class Proxy:
    """A method as tracers make it with wrapt: but for the call, it is the method."""

    def __init__(self, method: Any, calls: list[str]) -> None:
        self._method = method
        self._calls = calls

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else Proxy(self._method.__get__(instance, owner), self._calls)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._method, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._calls.append(self._method.__name__)
        return self._method(*args, **kwargs)


def test_a_tracer_may_leave_a_proxy_in_the_place_of_a_method(patch: Any) -> None:
    calls: list[str] = []
    for name in ("recv", "close"):
        patch(ASYNCIO.server.ServerConnection, name, Proxy(getattr(ASYNCIO.server.ServerConnection, name), calls))

    async def handler(ws: Any) -> None:
        async for message in ws:
            await ws.send(message)

    async def main() -> None:
        async with serve(handler) as server, connect(server) as ws:
            await ws.send("a")
            assert await ws.recv() == "a"

    asyncio.run(main())
    assert calls[:3] == ["recv", "recv", "close"]


def test_a_tracer_sees_each_send_once(patch: Any) -> None:
    """Also one that can't be written at once."""
    calls: list[str] = []
    Connection = ASYNCIO.connection.Connection  # noqa: N806
    patch(Connection, "send", traced(calls, Connection.send))

    async def main() -> None:
        ws, transport = connected()
        await asyncio.gather(ws.send(["a", "b"]), ws.send("c"))
        assert [frame.payload for frame in transport.take()] == [b"a", b"b", b"", b"c"]
        assert calls == ["send", "send"]

    asyncio.run(main())


def test_methods_of_one_connection_can_be_replaced(patch: Any) -> None:
    async def main() -> None:
        ws, _ = connected()
        patch(ws, "recv", mock.AsyncMock(side_effect=["a", "b", trunkline.ConnectionClosedOK(None, None)]))
        assert [message async for message in ws] == ["a", "b"]
        patch(ws, "recv", mock.AsyncMock(return_value="c"))
        assert await anext(ws) == "c"
        async with contextlib.aclosing(aiter(ws)) as messages:
            assert await anext(messages) == "c"
        with pytest.raises(StopAsyncIteration):
            await anext(messages)
        patch(ws, "close", close := mock.AsyncMock())
        async with ws:
            pass
        close.assert_awaited_once()

    asyncio.run(main())


def test_connect_uses_the_methods_that_a_test_put_there(patch: Any) -> None:
    async def main() -> None:
        patch(ASYNCIO.client.connect, "__aenter__", mock.AsyncMock(return_value="double"))
        async with trunkline.connect("ws://localhost/") as ws:
            assert ws == "double"

    asyncio.run(main())


def test_trio_uses_the_methods_that_a_tracer_put_there(patch: Any) -> None:
    calls: dict[str, list[str]] = {"client": [], "server": []}
    for side, kind in (("client", TRIO.client.ClientConnection), ("server", TRIO.server.ServerConnection)):
        for name in ("recv", "send", "aclose"):
            patch(kind, name, traced(calls[side], getattr(kind, name)))

    async def handler(ws: Any) -> None:
        async for message in ws:
            await ws.send(message)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(functools.partial(TRIO.server.serve, host="127.0.0.1"), handler, 0)
            async with TRIO.client.connect(f"ws://127.0.0.1:{server.listeners[0].socket.getsockname()[1]}") as ws:
                await ws.send("a")
                assert await anext(ws) == "a"
                await ws.send_json([1])
                assert await ws.recv_json() == [1]
            await server.aclose()

    trio.run(main)
    check(calls, "aclose")


def test_threads_use_the_methods_that_a_tracer_put_there(patch: Any) -> None:
    calls: dict[str, list[str]] = {"client": [], "server": []}

    def noting(calls: list[str], method: Any) -> Any:
        @functools.wraps(method)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(method.__name__)
            return method(self, *args, **kwargs)

        return wrapper

    for side, kind in (("client", SYNC.client.ClientConnection), ("server", SYNC.server.ServerConnection)):
        for name in ("recv", "send", "close"):
            patch(kind, name, noting(calls[side], getattr(kind, name)))

    def handler(ws: Any) -> None:
        for message in ws:
            ws.send(message)

    with SYNC.server.serve(handler, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with SYNC.client.connect(f"ws://127.0.0.1:{server.socket.getsockname()[1]}") as ws:
            ws.send("a")
            assert next(iter(ws)) == "a"
            ws.send_json([1])
            assert ws.recv_json() == [1]
    thread.join()
    check(calls, "close")

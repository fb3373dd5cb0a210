"""`trunkline.sync` in the conformance suite: each call in a thread of its own, or all in fibers on one thread."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from trunkline.sync.client import connect, unix_connect
from trunkline.sync.server import basic_auth, broadcast, serve, unix_serve
from trunkline.sync.stream import here
from trunkline.sync.watcher import watcher
from trunkline.testing.driver import Call, Driver, Steps
from trunkline.testing.peer import PATIENCE

__all__ = ["FiberDriver", "SyncDriver"]


class SyncDriver(Driver):
    """trunkline with threads."""

    name = "sync"
    features = frozenset(Driver.FEATURES) - {"cancellation", "write limit", "async iterables"}

    def __init__(self) -> None:
        watcher()  # its descriptors stay open

    # The world

    def __enter__(self) -> Self:
        self.threads: list[threading.Thread] = []
        return self

    def __exit__(self, *exc_info: object) -> None:
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"left in the world: {thread}"

    def start(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        call = Call(lambda: None)

        def run() -> None:
            try:
                call.future.set_result(function(*args, **kwargs))
            except BaseException as error:
                call.future.set_exception(error)

        self._start(run)
        return call

    def _start(self, call: Callable[[], None]) -> None:
        self._run(call, "call")

    def _run(self, target: Callable[[], Any], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()

    # The driver

    def open_client(self, uri: str, **options: Any) -> Any:
        return (unix_connect if "path" in options else connect)(uri=uri, legacy=True, **options)

    def open_server(self, handler: Callable[..., Any], **options: Any) -> Any:
        server = unix_serve(handler, **options) if "path" in options else serve(handler, "127.0.0.1", 0, **options)
        self._run(server.serve_forever, "serve_forever")
        return server

    def close_server(self, server: Any, **options: Any) -> None:
        server.shutdown(**options)
        ours = threading.current_thread()
        while any(t.name == "trunkline handler" and t is not ours for t in threading.enumerate()):
            here.waits.Event().wait(0.001)  # handlers may have something left to do

    def broadcast(self, connections: Iterable[Any], message: Any, **options: Any) -> None:
        broadcast(connections, message, **options)

    def basic_auth(self, realm: str, **options: Any) -> Callable[..., Any]:
        return basic_auth(realm, **options)

    def wait(self, future: concurrent.futures.Future[Any]) -> Any:
        return result_of(future)

    def wait_for_pong(self, ping: Any) -> None:
        assert ping.wait(PATIENCE)

    def collect(self, iterable: Any, put: Callable[[Any], object]) -> None:
        for item in iterable:
            put(item)

    def handler(self, hand_over: Callable[[Any], concurrent.futures.Future[Any]]) -> Callable[..., Any]:
        def handler(connection: Any) -> None:
            result_of(hand_over(connection))

        return handler

    def one_by_one(self, steps: Steps) -> Iterator[Any]:
        return map(result_of, steps)

    def address(self, server: Any) -> Any:
        return server.socket.getsockname()


class FiberDriver(SyncDriver):
    """The same with `serve(threads=1)`: handlers and calls take turns on one thread each."""

    name = "fibers"

    def __init__(self) -> None:
        super().__init__()
        from trunkline.sync.fibers import FiberThreads  # greenlet may not be installed

        self._start = FiberThreads(1).start  # type: ignore[method-assign,assignment]

    def open_server(self, handler: Callable[..., Any], **options: Any) -> Any:
        return super().open_server(handler, threads=1, **options)


def result_of(future: concurrent.futures.Future[Any]) -> Any:
    """Wait for a future; in a fiber, others run meanwhile."""
    done = here.waits.Event()
    future.add_done_callback(lambda _: done.set())
    done.wait()
    return future.result()

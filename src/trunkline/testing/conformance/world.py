"""The objects of a scenario: connections of the driver under test, and peers that the scenario plays itself."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import logging
import os
import queue
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from trunkline.core.session import Side, State
from trunkline.testing.driver import Call, Driver
from trunkline.testing.peer import PATIENCE, Peer, PeerListener
from trunkline.testing.wire import RawFrame

__all__ = ["Connection", "Future", "Server", "World", "eventually", "expect"]

Future = concurrent.futures.Future

SMALL_BUFFER = 4096  # bytes that the kernel keeps for a peer that must feel small


def eventually(condition: Callable[[], bool], what: str = "") -> None:
    """Wait for what another thread will make true.

    Raises:
        AssertionError: if it doesn't within `PATIENCE`.
    """
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"did not happen: {what or condition}"
        time.sleep(0.001)


class expect:  # noqa: N801  # used like a function
    """`with expect(SomeError) as caught:`, like `pytest.raises`; the exception is in `caught.value`."""

    value: Any

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> bool:
        assert error is not None, f"{self.kind.__name__} was not raised"
        if not isinstance(error, self.kind):
            return False
        self.value = error
        return True


class Connection:
    """A connection of the driver; each method waits for its end, `start` doesn't. Other names are those of `raw`."""

    def __init__(self, world: World, raw: Any) -> None:
        self.world = world
        self.driver = world.driver
        self.raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def start(self, method: str, *args: Any, **kwargs: Any) -> Call:
        """Call a method and go on; `start("collect", queue)` iterates."""
        match method:
            case "close":
                return self.driver.start(self.driver.close, self.raw, *args, **kwargs)
            case "iterate":
                return self.driver.start(self.driver.collect, self.raw, *args)
            case "recv_streaming":
                return self.driver.start(
                    lambda put, **options: self.driver.collect(self.raw.recv_streaming(**options), put), *args, **kwargs
                )
        return self.driver.start(getattr(self.raw, method), *args, **kwargs)

    def recv(self, decode: bool | None = None) -> Any:
        return self.start("recv", decode=decode).result()

    def send(self, message: Any, **options: Any) -> None:
        self.start("send", message, **options).result()

    def send_steps(self, steps: Iterable[Future[Any]]) -> Call:
        """Send a message in fragments, each as soon as it is there."""
        return self.start("send", self.driver.one_by_one(list(steps)))

    def recv_fragments(self, **options: Any) -> list[Any]:
        """Receive a message by `recv_streaming`."""
        fragments: list[Any] = []
        self.start("recv_streaming", fragments.append, **options).result()
        return fragments

    def recv_all(self) -> list[Any]:
        """Iterate to the end."""
        messages: list[Any] = []
        self.start("iterate", messages.append).result()
        return messages

    def close(self, *args: Any, **kwargs: Any) -> None:
        self.start("close", *args, **kwargs).result()

    def wait_closed(self) -> None:
        self.start("wait_closed").result()

    def ping(self, *args: Any, **kwargs: Any) -> Any:
        """Send a ping; its result is for `wait_for_pong`."""
        return self.start("ping", *args, **kwargs).result()

    def wait_for_pong(self, ping: Any) -> None:
        self.driver.call(self.driver.wait_for_pong, ping)

    def pong(self, *args: Any) -> None:
        self.start("pong", *args).result()


class Handled(Connection):
    """A server's connection, and how its handler ends: by `finish`."""

    def __init__(self, world: World, raw: Any, end: Future[Any]) -> None:
        super().__init__(world, raw)
        self.end = end

    def finish(self, error: BaseException | None = None) -> None:
        """Let the handler return, or raise an error."""
        if self.end.done():
            return
        if error is None:
            self.end.set_result(None)
        else:
            self.end.set_exception(error)


class Server:
    """A server of the driver. Its handlers hand their connections over, and wait."""

    def __init__(self, world: World, **options: Any) -> None:
        self.world = world
        self.driver = world.driver
        self.accepted: queue.SimpleQueue[Handled] = queue.SimpleQueue()
        self.handled: list[Handled] = []
        self.released = False
        handler = world.driver.handler(self._hand_over)
        self.raw = self.driver.call(self.driver.open_server, handler, **options)
        self.address = self.driver.address(self.raw)

    def _hand_over(self, raw: Any) -> Future[Any]:
        connection = Handled(self.world, raw, Future())
        self.world.watch(raw)
        self.handled.append(connection)
        if self.released:
            connection.finish()
        self.accepted.put(connection)
        return connection.end

    @property
    def uri(self) -> str:
        return f"ws://127.0.0.1:{self.address[1]}/"

    @property
    def secure_uri(self) -> str:
        return f"wss://localhost:{self.address[1]}/"

    def accept(self) -> Handled:
        """The next connection that reached its handler."""
        return self.accepted.get(timeout=PATIENCE)

    def start_closing(self, **options: Any) -> Call:
        """Close the server."""
        return self.driver.start(self.driver.close_server, self.raw, **options)

    def release(self) -> None:
        """Let all handlers return, those to come, too."""
        self.released = True
        for connection in self.handled:
            connection.finish()


class World:
    """A driver at work for one scenario.

    Attributes:
        driver: the adapter.
        role: `Side` of the driver's end of a `link`, or None.
        log: messages of warnings and errors that connections logged.
    """

    def __init__(self, driver: Driver, role: Side | None) -> None:
        self.driver = driver
        self.role = role
        self.log: list[str] = []
        self.logger = logging.Logger("conformance")  # one for which no other test has handlers
        self.logger.addHandler(Keeper(self.log))
        self.stack = contextlib.ExitStack()
        self._watched: list[weakref.ref[Any]] = []

    # Life

    def __enter__(self) -> Self:
        self._descriptors = descriptors()
        self.driver.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: Any) -> None:
        try:
            with contextlib.ExitStack() as ending:
                ending.callback(self.driver.__exit__, kind, *exc_info)
                self.stack.close()
        finally:
            if kind is None:
                self._check_that_nothing_is_left()

    def _check_that_nothing_is_left(self) -> None:
        eventually(lambda: descriptors() <= self._descriptors, "all descriptors are closed again")
        eventually(lambda: not self._is_any_left(), "connections are not referred to any more")

    def _is_any_left(self) -> bool:
        if not any(reference() is not None for reference in self._watched):
            return False
        gc.collect()
        return any(reference() is not None for reference in self._watched)

    def watch(self, connection: Any) -> None:
        """See that a connection is forgotten in the end."""
        self._watched.append(weakref.ref(connection))

    # Peers

    @contextlib.contextmanager
    def link(self, *headers: str, **options: Any) -> Iterator[tuple[Connection, Peer]]:
        """An open connection of the driver, in the scenario's role, and the other end in the scenario's hands.

        Args:
            headers: more header lines of what the peer sends in the opening handshake.
            options: as of `connect` and `serve`.
        """
        with self.linked(*headers, **options) as (connection, peer, _):
            yield connection, peer

    @contextlib.contextmanager
    def linked(self, *headers: str, **options: Any) -> Iterator[tuple[Connection, Peer, bytes]]:
        """`link`, with the head of the driver's request or response."""
        if self.role is Side.SERVER:
            with self.serve(**options) as server, self.peer_of(server) as peer:
                head = peer.open(*headers)
                yield server.accept(), peer, head
            return
        with self.listen() as listener:
            connecting = self.start_connecting(listener.uri, **options)
            with listener.accept() as peer:
                head = peer.accept(*headers)
                connection = self.connected(connecting)
                try:
                    yield connection, peer, head
                finally:
                    peer.close()
                    connection.close()

    def listen(self) -> PeerListener:
        """A listening socket for the driver's clients."""
        return PeerListener(receive_buffer=SMALL_BUFFER)

    @contextlib.contextmanager
    def peer_of(self, server: Server, **options: Any) -> Iterator[Peer]:
        """A connection to a server of the driver, before the opening handshake."""
        with Peer.connect(server.address[:2], receive_buffer=SMALL_BUFFER, **options) as peer:
            yield peer

    # The driver's own ends

    @contextlib.contextmanager
    def serve(self, **options: Any) -> Iterator[Server]:
        """A server of the driver, without compression unless asked for."""
        server = Server(self, **({"compression": None, "logger": self.logger} | options))
        try:
            yield server
        finally:
            server.release()
            self.driver.call(self.driver.close_server, server.raw)

    def start_connecting(self, uri: str, **options: Any) -> Call:
        options = {"compression": None, "proxy": None, "logger": self.logger} | options
        return self.driver.start(self.driver.open_client, uri, **options)

    def connected(self, connecting: Call) -> Connection:
        raw = connecting.result()
        connecting.future = Future()  # which referred to the connection
        self.watch(raw)
        return Connection(self, raw)

    @contextlib.contextmanager
    def connect(self, uri: str, **options: Any) -> Iterator[Connection]:
        """A client of the driver, without compression or proxy unless asked for."""
        connection = self.connected(self.start_connecting(uri, **options))
        try:
            yield connection
        finally:
            connection.close()

    @contextlib.contextmanager
    def pair(self, **options: Any) -> Iterator[tuple[Connection, Handled]]:
        """Both ends of a connection, both of the driver, with the same options."""
        with self.serve(**options) as server, self.connect(server.uri, **options) as client:
            yield client, server.accept()

    def broadcast(self, connections: Iterable[Connection], message: Any, **options: Any) -> None:
        self.driver.call(self.driver.broadcast, [ws.raw for ws in connections], message, **options)

    def temporary_path(self) -> str:
        """A file name that is free, and short enough for a Unix socket."""
        directory = self.stack.enter_context(tempfile.TemporaryDirectory())
        return os.path.join(directory, "socket")


class Keeper(logging.Handler):
    """Keeps the messages of records."""

    def __init__(self, log: list[str], level: int = logging.WARNING) -> None:
        super().__init__(level)
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        self.log.append(record.getMessage())


def descriptors() -> int:
    """Number of open file descriptors of this process; 0 where the system doesn't tell."""
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


def is_open(connection: Connection) -> bool:
    return bool(connection.state is State.OPEN)


def unmasked(frame: RawFrame) -> RawFrame:
    """A frame without its mask, to be compared."""
    return frame._replace(mask=None)

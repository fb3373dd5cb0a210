"""Which transports carry a connection: trunkline's reactor where it runs, else those of the event loop.

The reactor serves TCP and Unix sockets on Linux, plain and with TLS, on any loop that has `add_reader`. Other systems
and the uncompiled build use the loop's transports. Everything above a transport is the same for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, Literal, Protocol

from trunkline.asyncio.shared import shared_on
from trunkline.compiled import COMPILED_MODULES, missing_modules, why_not_compiled
from trunkline.endpoint.server import BACKLOG

if TYPE_CHECKING:
    from trunkline.asyncio.link import Link

__all__ = [
    "Engine", "Listener", "adopt", "choose_engine", "create_connection", "create_server", "engine_info",
    "stop_accepting",
]  # fmt: skip

Engine = Literal["auto", "reactor", "transports"]

try:
    from trunkline.reactor import sockets, tls
except ImportError:
    sockets = tls = None  # type: ignore[assignment]

#: Keyword arguments of `loop.create_connection` that the reactor hasn't.
TRANSPORTS_ONLY = frozenset({"all_errors", "happy_eyeballs_delay", "interleave"})

TLS_ARGUMENTS = frozenset({"server_hostname", "ssl_handshake_timeout", "ssl_shutdown_timeout"})


class Listener(Protocol):
    """What `create_server` returns: an `asyncio.Server`, or the reactor's counterpart."""

    @property
    def sockets(self) -> Any: ...
    def close(self) -> None: ...
    def is_serving(self) -> bool: ...
    async def start_serving(self) -> None: ...


def choose_engine(engine: Engine, loop: asyncio.AbstractEventLoop) -> Literal["reactor", "transports"]:
    """The engine for a connection.

    Args:
        engine: "auto" for the best there is, or the one to use.

    Raises:
        ValueError: if `engine` is unknown, or can't be used here; the text says why.
    """
    if engine not in ("auto", "reactor", "transports"):
        raise ValueError(f"engine is {engine!r}: it must be 'auto', 'reactor' or 'transports'")
    if engine == "transports":
        return "transports"
    obstacle = _obstacle_to_reactor(loop)
    if obstacle is None:
        return "reactor"
    if engine == "reactor":
        raise ValueError(f"engine='reactor' can't be used: {obstacle}")
    return "transports"


def _obstacle_to_reactor(loop: asyncio.AbstractEventLoop) -> str | None:
    if sockets is None:
        return "it isn't built; it needs Linux and compiled extensions"
    if type(loop).add_reader is asyncio.AbstractEventLoop.add_reader:
        return f"{type(loop).__name__} has no add_reader"
    return None


async def create_server(factory: Any, *, engine: Engine = "auto", unix: bool = False, **kwargs: Any) -> Listener:
    """`loop.create_server` or `loop.create_unix_server`, on the engine chosen."""
    loop = asyncio.get_running_loop()
    create = loop.create_unix_server if unix else loop.create_server
    kwargs = _arguments_given(kwargs)
    inherited = "backlog" not in kwargs and _listens(kwargs.get("sock"))
    if choose_engine(engine, loop) == "transports":
        # A loop always calls `listen`; with the length that the queue has already, that changes nothing.
        kwargs.setdefault("backlog", _queue_of(kwargs["sock"]) if inherited else BACKLOG)
        server: Listener = await create(factory, **kwargs)
        return server
    kwargs.setdefault("backlog", None if inherited else BACKLOG)
    listen = tls.listen if "ssl" in kwargs else sockets.listen
    return await listen(create, shared_on(loop), factory, **kwargs)


def _listens(sock: socket.socket | None) -> bool:
    """Whether a socket listens already: then the program that made it has chosen the length of its queue."""
    return sock is not None and bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _queue_of(sock: socket.socket) -> int:
    """How many connections may wait for a socket that listens; `BACKLOG` where the system doesn't tell."""
    if sys.platform == "linux" and sock.family in (socket.AF_INET, socket.AF_INET6):
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
        [length] = struct.unpack_from("I", info, 28)  # tcpi_sacked of linux/tcp.h, which `ss -l` shows as Send-Q
        return max(1, int(length))
    return BACKLOG


def stop_accepting(server: Listener) -> None:
    """Accept no more connections. `close` may follow in the next turn of the event loop.

    A loop of asyncio gives a connection its transport in a task, which starts in the turn after it was accepted. If its
    server is closed by then, asyncio forgets the connection without closing the socket, and only the garbage collector
    does. A task made after this call starts later than all of those.
    """
    if isinstance(server, asyncio.Server):
        loop = server.get_loop()
        with contextlib.suppress(NotImplementedError):  # loops on completion ports
            for sock in server.sockets:
                loop.remove_reader(sock.fileno())


async def create_connection(factory: Any, *, engine: Engine = "auto", unix: bool = False, **kwargs: Any) -> Any:
    """`loop.create_connection` or `loop.create_unix_connection`, on the engine chosen; returns the protocol.

    Raises:
        ValueError: if `engine` is "reactor", and it can't be used here or hasn't one of the arguments. Or if `sock` is
            given together with a place to connect to, or is no stream socket.
    """
    loop = asyncio.get_running_loop()
    kwargs = _arguments_given(kwargs)
    _check_socket(kwargs)
    unknown = sorted(kwargs.keys() & TRANSPORTS_ONLY)
    chosen = choose_engine(engine, loop)
    if unknown and engine == "reactor":
        raise ValueError(f"engine='reactor' can't be used: it has no {unknown[0]}")
    if unknown or chosen == "transports":
        create = loop.create_unix_connection if unix else loop.create_connection
        _, protocol = await create(factory, **kwargs)
        return protocol
    open_connection = tls.connect if "ssl" in kwargs else sockets.connect
    return await open_connection(loop, shared_on(loop), factory, unix, **kwargs)


def adopt(connection: Link, transport: asyncio.Transport, engine: Engine = "auto") -> bool:
    """Let the reactor carry a connection that a transport of the event loop has carried so far.

    The reactor gets a descriptor of its own of the same socket, and the transport is closed without the peer noticing.

    Returns:
        Whether it does so: it runs here, and the transport has a socket, no TLS, and nothing left to send.

    Raises:
        ValueError: if `engine` is unknown, or is "reactor", which can't be used here.
    """
    if choose_engine(engine, connection.loop) == "transports" or transport.get_extra_info("sslcontext") is not None:
        return False
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0 or transport.is_closing() or transport.get_write_buffer_size() > 0:
        return False
    try:
        duplicate = socket.socket(fileno=os.dup(sock.fileno()))
    except OSError:  # the process has no descriptor left
        return False
    duplicate.setblocking(False)
    transport.pause_reading()
    transport.set_protocol(asyncio.Protocol())  # it hears of the end of the transport, in place of the connection
    transport.close()
    sockets.adopt(connection.loop, shared_on(connection.loop), connection, duplicate)
    return True


def _arguments_given(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Those that ask for something: `ssl=None` doesn't.

    Raises:
        ValueError: one is for TLS, and there is none.
    """
    given = {name: value for name, value in kwargs.items() if value is not None}
    if not given.get("ssl"):
        given.pop("ssl", None)
        meaningless = sorted(given.keys() & TLS_ARGUMENTS)
        if meaningless:
            raise ValueError(f"{meaningless[0]} is only meaningful with ssl")
    return given


def _check_socket(kwargs: dict[str, Any]) -> None:
    """The complaints of asyncio about its own transports, with names.

    Raises:
        ValueError: if there is a socket that can't be used.
    """
    sock = kwargs.get("sock")
    if sock is None:
        return
    for name in ("host", "port"):
        if name in kwargs:
            raise ValueError(f"{name} and sock can not be specified at the same time")
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")


def engine_info() -> dict[str, Any]:
    """What runs: versions, the event loop, and for every module that can be compiled whether it is.

    Returns:
        A dict with `version`, `python`, `platform`, `engine` ("reactor" or "transports"), `compiled` and `missing`.
        `compiled` is a dict of module names and bools. `missing` has the modules that the build could not compile, and
        why.
    """
    from trunkline.version import __version__

    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": sys.platform,
        "engine": "transports" if sockets is None else "reactor",
        "compiled": {name: why_not_compiled(name) is None for name in COMPILED_MODULES},
        "missing": missing_modules(),
    }

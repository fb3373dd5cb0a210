"""Exceptions of calls with mistakes: the same there and here, to the letter, since tests of programs compare."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio


class Library:
    """The modules of trunkline or of websockets."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, module: str) -> Any:
        return importlib.import_module(f"{self.name}.{module.replace('_', '.')}")


def tls() -> ssl.SSLContext:
    return ssl.create_default_context()


async def handler(ws: Any) -> None:
    raise NotImplementedError


CALLS: dict[str, Callable[[Library, socket.socket], Any]] = {
    "asyncio: ssl for ws": lambda lib, _: lib.asyncio_client.connect("ws://localhost/", ssl=tls()),
    "asyncio: no ssl for wss": lambda lib, _: lib.asyncio_client.connect("wss://localhost/", ssl=None),
    "asyncio: subprotocol": lambda lib, _: lib.asyncio_client.connect("ws://localhost/", subprotocols="chat"),
    "asyncio: set of subprotocols": lambda lib, _: lib.asyncio_client.connect("ws://localhost/", subprotocols={"chat"}),
    "asyncio: no token": lambda lib, _: lib.asyncio_client.connect("ws://localhost/", subprotocols=["chat", "a b"]),
    "asyncio: no compression": lambda lib, _: lib.asyncio_client.connect("ws://localhost/", compression=False),
    "asyncio: compression": lambda lib, _: lib.asyncio_client.connect("ws://localhost/", compression="gzip"),
    "asyncio: scheme": lambda lib, _: lib.asyncio_client.connect("http://localhost/"),
    "asyncio: no path": lambda lib, _: lib.asyncio_client.unix_connect(),
    "asyncio: path and sock": lambda lib, sock: lib.asyncio_client.unix_connect("/", sock=sock),
    "asyncio: scheme of proxy": lambda lib, _: lib.asyncio_client.connect("ws://localhost/", proxy="ftp://localhost"),
    "asyncio: TLS with a proxy without": lambda lib, _: lib.asyncio_client.connect(
        "ws://localhost/", proxy="http://localhost:1", proxy_ssl=tls()
    ),
    "asyncio: no TLS with a proxy that has it": lambda lib, _: lib.asyncio_client.connect(
        "ws://localhost/", proxy="https://localhost:1", proxy_ssl=None
    ),
    "asyncio server: subprotocol": lambda lib, _: lib.asyncio_server.serve(handler, port=0, subprotocols="chat"),
    "asyncio server: no compression": lambda lib, _: lib.asyncio_server.serve(handler, port=0, compression=False),
    "asyncio server: no path": lambda lib, _: lib.asyncio_server.unix_serve(handler),
    "asyncio server: path and sock": lambda lib, sock: lib.asyncio_server.unix_serve(handler, "/", sock=sock),
    "basic_auth: nothing": lambda lib, _: lib.asyncio_server.basic_auth(),
    "basic_auth: both": lambda lib, _: lib.asyncio_server.basic_auth("", ("a", "b"), check_credentials=max),
    "basic_auth: number": lambda lib, _: lib.asyncio_server.basic_auth(credentials=42),
    "basic_auth: numbers": lambda lib, _: lib.asyncio_server.basic_auth(credentials=[42]),
    "sync: ssl for ws": lambda lib, _: lib.sync_client.connect("ws://localhost/", ssl=tls()),
    "sync: subprotocol": lambda lib, sock: lib.sync_client.connect("ws://localhost/", sock=sock, subprotocols="chat"),
    "sync: compression": lambda lib, _: lib.sync_client.connect("ws://localhost/", compression="gzip"),
    "sync: no path": lambda lib, _: lib.sync_client.unix_connect(),
    "sync: path and sock": lambda lib, sock: lib.sync_client.unix_connect("/", sock=sock),
    "sync: TLS with a proxy without": lambda lib, _: lib.sync_client.connect(
        "ws://localhost/", proxy="http://localhost:1", proxy_ssl=tls()
    ),
    "sync server: compression": lambda lib, _: lib.sync_server.serve(handler, "localhost", 0, compression=False),
    "sync server: host and sock": lambda lib, sock: lib.sync_server.serve(handler, "localhost", sock=sock),
    "sync server: port and sock": lambda lib, sock: lib.sync_server.serve(handler, port=0, sock=sock),
    "sync server: no path": lambda lib, _: lib.sync_server.unix_serve(handler),
    "sync server: path and sock": lambda lib, sock: lib.sync_server.unix_serve(handler, "/", sock=sock),
    "trio: ssl for ws": lambda lib, _: opened(lib.trio_client.connect("ws://localhost/", ssl=tls())),
    "trio: compression": lambda lib, _: lib.trio_client.connect("ws://localhost/", compression=False),
    "trio: no path": lambda lib, _: lib.trio_client.unix_connect(),
    "trio: path and stream": lambda lib, _: lib.trio_client.unix_connect("/", stream=object()),
    "trio server: no port": lambda lib, _: lib.trio_server.serve(handler),
    "trio server: port and listeners": lambda lib, _: lib.trio_server.serve(handler, 0, listeners=[]),
    "trio server: host and listeners": lambda lib, _: lib.trio_server.serve(handler, host="localhost", listeners=[]),
    "trio server: backlog and listeners": lambda lib, _: lib.trio_server.serve(handler, backlog=1, listeners=[]),
    "trio server: compression": lambda lib, _: lib.trio_server.serve(handler, 0, compression=False),
}


async def opened(connecting: Any) -> None:
    async with connecting:
        pass


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        yield sock


def mistake(library: str, name: str, sock: socket.socket) -> tuple[str, str]:
    """Type and text of what a call raises."""

    async def call() -> None:
        result = CALLS[name](Library(library), sock)
        if inspect.isawaitable(result):
            await result

    with pytest.raises(Exception) as caught:  # noqa: PT011  # the point is which one
        trio.run(call) if name.startswith("trio") else asyncio.run(call())
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__, str(error)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", CALLS)
def test_same_as_websockets(name: str, sock: socket.socket) -> None:
    assert mistake("trunkline", name, sock) == mistake("websockets", name, sock)

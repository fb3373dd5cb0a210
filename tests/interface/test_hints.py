"""Annotations of public names resolve when a program runs, and signatures can be read: for documentation tools,
dependency injection and command lines made of functions."""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NewType

import pytest

import trunkline
from trunkline.asyncio.server import Server
from trunkline.core.writer import PreparedMessage
from trunkline.typing import Data, DataLike

#: Modules that programs import; the pages of the reference name the rest of the public ones.
MODULES = (
    "trunkline", "trunkline.client", "trunkline.compat", "trunkline.datastructures", "trunkline.exceptions",
    "trunkline.extensions", "trunkline.extensions.base", "trunkline.extensions.permessage_deflate", "trunkline.frames",
    "trunkline.http11", "trunkline.json", "trunkline.options", "trunkline.protocol", "trunkline.proxy",
    "trunkline.server", "trunkline.streams", "trunkline.typing", "trunkline.uri",
    "trunkline.asyncio.client", "trunkline.asyncio.connection", "trunkline.asyncio.router", "trunkline.asyncio.server",
    "trunkline.sync.client", "trunkline.sync.connection", "trunkline.sync.router", "trunkline.sync.server",
    "trunkline.trio.client", "trunkline.trio.connection", "trunkline.trio.router", "trunkline.trio.server",
    "trunkline.realtime", "trunkline.realtime.brokers", "trunkline.realtime.presence", "trunkline.realtime.tokens",
    "trunkline.testing", "trunkline.testing.brokers", "trunkline.testing.conformance", "trunkline.testing.driver",
    "trunkline.testing.memory", "trunkline.testing.peer", "trunkline.testing.tls", "trunkline.testing.wire",
)  # fmt: skip
REFERENCE = Path("docs/reference")


def public() -> Iterator[tuple[str, Any]]:
    """All public names."""
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")]):
            yield f"{module_name}.{name}", getattr(module, name)
    for page in sorted(REFERENCE.glob("*.md")):
        for path in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            yield path, found(path)


def found(path: str) -> Any:
    """The thing that a dotted path leads to."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        parent, _, name = path.rpartition(".")
        return getattr(found(parent), name)


def with_methods(path: str, thing: Any) -> Iterator[tuple[str, Any]]:
    """Something, and if it is a class, its public methods and those that Python calls."""
    yield path, thing
    if not inspect.isclass(thing):
        return
    for name in dir(thing):
        if name.startswith("_") and not name.startswith("__"):
            continue
        member = inspect.getattr_static(thing, name)
        if isinstance(member, property):
            member = member.fget
        yield f"{path}.{name}", getattr(member, "__func__", member)


def is_ours(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).startswith("trunkline")


def callables() -> dict[str, Any]:
    """Everything that can have annotations, once, by its path."""
    paths: dict[int, tuple[str, Any]] = {}
    for path, thing in public():
        for each, member in with_methods(path, thing):
            if callable(member) and is_ours(member) and not isinstance(member, NewType):
                paths.setdefault(id(member), (each, member))
    return dict(paths.values())


CALLABLES = callables()
each_callable = pytest.mark.parametrize("path", CALLABLES)


def test_nothing_is_left_out() -> None:
    assert len(CALLABLES) > 800
    names = ("ClientConnection.send", "serve", "sync.client.connect", "Headers")
    for path in (f"trunkline.{name}" for name in names):
        assert path in CALLABLES


@each_callable
def test_annotations_resolve(path: str) -> None:
    typing.get_type_hints(CALLABLES[path])


@each_callable
def test_signatures_can_be_read(path: str) -> None:
    thing = CALLABLES[path]
    if inspect.isclass(thing) and issubclass(thing, Exception) and not inspect.isfunction(thing.__init__):
        return  # nor have the exceptions of Python any
    inspect.signature(thing)


def test_hints_of_what_is_compiled() -> None:
    hints = typing.get_type_hints(trunkline.ClientConnection.send)
    assert hints["text"] == bool | None
    assert PreparedMessage in typing.get_args(hints["message"])
    assert set(typing.get_args(DataLike)) < set(typing.get_args(hints["message"]))
    assert typing.get_args(typing.get_type_hints(trunkline.Connection.recv)["return"])[2] == Data
    assert typing.get_type_hints(trunkline.serve)["return"] is Server
    assert typing.get_type_hints(trunkline.broadcast)["raise_exceptions"] is bool


SIGNATURES: dict[str, tuple[Callable[..., Any], str]] = {
    "send": (trunkline.Connection.send, "(self, message, *, text=None, compress=None)"),
    "recv": (trunkline.Connection.recv, "(self, decode=None)"),
    "PreparedMessage": (PreparedMessage, "(message, *, text=None, compress=None)"),
    "Connection": (trunkline.Connection, "(protocol, options=None, logger=None, **limits)"),
    "ServerConnection": (trunkline.ServerConnection, "(protocol, server, **limits)"),
    "ClientConnection": (trunkline.ClientConnection, "(protocol, options=None, logger=None, **limits)"),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_of_what_is_compiled(name: str) -> None:
    function, expected = SIGNATURES[name]
    signature = inspect.signature(function)
    parameters = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    assert str(inspect.Signature(parameters)) == expected

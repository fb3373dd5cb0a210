"""Every public name of websockets 17.4, its members and its parameters, against what stands in for it.

trunkline may add keyword arguments with defaults, and methods, as long as every call that websockets accepts means the
same here. `ABSENT` names all that is missing, with the reason.
"""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Iterator
from enum import Enum
from typing import Any, TypeVar

import pytest

from trunkline.compat import MODULES, forward
from trunkline.http11 import SERVER, USER_AGENT

AUDITED = [
    name
    for name in MODULES
    if not name.startswith(("websockets.sync", "websockets.trio"))
    and name.removeprefix("websockets.") not in ("asyncio", "cli", "connection", "speedups", "version")
]

MACHINERY = "how websockets moves bytes; here sessions do it, and drivers"
MADE_BY_SERVE = "only serve() makes one"
HELPER = "only websockets itself calls it"
OLD = "deprecated there: handshake_exc has it"
POSITIONAL = "only the event loop calls it, without naming the argument"

ABSENT = {
    "websockets.asyncio.client.HTTPProxyConnection": HELPER,
    "websockets.asyncio.client.SOCKS_PROXY_RDNS": HELPER,
    "websockets.asyncio.client.SOCKS_PROXY_TYPES": HELPER,
    "websockets.asyncio.client.connect.open_tcp_connection": HELPER,
    "websockets.asyncio.client.connect_http_proxy": HELPER,
    "websockets.asyncio.client.connect_socks_proxy": HELPER,
    **{
        f"websockets.asyncio.{kind}.{method}": MACHINERY
        for kind in ("connection.Connection", "client.ClientConnection", "server.ServerConnection")
        for method in (
            "acknowledge_pings", "keepalive", "process_event", "send_context", "send_data",
            "set_connection_exc", "terminate_pending_pings",
        )
    },
    "websockets.asyncio.server.Server.__init__": MADE_BY_SERVE,
    "websockets.asyncio.server.ServerConnection.__init__": MADE_BY_SERVE,
    "websockets.asyncio.server.ServerConnection.handshake": MADE_BY_SERVE,
    **{
        f"websockets.{kind}.{method}": MACHINERY
        for kind in ("protocol.Protocol", "client.ClientProtocol", "server.ServerProtocol")
        for method in ("discard", "parse", "send_eof")
    },
    **{
        f"websockets.client.ClientProtocol.process_{what}": HELPER for what in ("response", "extensions", "subprotocol")
    },
    **{
        f"websockets.server.ServerProtocol.process_{what}": HELPER
        for what in ("request", "origin", "extensions", "subprotocol")
    },
    **{
        f"websockets.asyncio.{kind}.connection_lost(exc)": POSITIONAL
        for kind in ("connection.Connection", "client.ClientConnection", "server.ServerConnection")
    },
    "websockets.asyncio.connection.DATA_OPCODES": HELPER,
    "websockets.extensions.permessage_deflate.CTRL_OPCODES": HELPER,
    "websockets.protocol.OK_CLOSE_CODES": HELPER,
    "websockets.frames.Frame.DEFAULT_IS_TEXT": HELPER,
    "websockets.frames.is_utf8_fragment": HELPER,
    "websockets.http11.PYTHON_VERSION": HELPER,
    "websockets.http11.Request.exception": OLD,
    "websockets.http11.Request.__init__(_exception)": OLD,
    "websockets.http11.Response.exception": OLD,
    "websockets.http11.Response.__init__(_exception)": OLD,
    "websockets.http11.d": HELPER,
    "websockets.proxy.prepare_connect_request": HELPER,
    "websockets.uri.DELIMS": HELPER,
}  # fmt: skip

ALIASES = ("websockets.client.ClientConnection", "websockets.server.ServerConnection")

PROTOCOLS = ("__aiter__", "__await__", "__aenter__", "__aexit__", "__iter__", "__getitem__", "__delitem__")


def names(module: types.ModuleType) -> Iterator[str]:
    """Documented names, and others that the module defines."""
    documented = getattr(module, "__all__", [])
    yield from documented
    for name, value in vars(module).items():
        if name.startswith("_") or name in documented or isinstance(value, types.ModuleType | TypeVar):
            continue
        if getattr(value, "__module__", None) == module.__name__ or (name.isupper() and not isinstance(value, Enum)):
            yield name


def members(cls: type) -> Iterator[str]:
    """What users call: public methods and attributes, the constructor, and what makes it an iterator or the like."""
    for name in dir(cls):
        owners = [owner for owner in cls.__mro__ if name in vars(owner)]
        inherited = not owners or not owners[0].__module__.startswith("websockets")
        if not inherited and (not name.startswith("_") or name in PROTOCOLS or name == "__init__"):
            yield name


def parameters(function: Any) -> dict[str, inspect.Parameter] | None:
    if isinstance(function, types.WrapperDescriptorType):
        return None  # a compiled __init__ keeps its parameters to itself; the interpreted build tells them
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None


def default(parameter: inspect.Parameter) -> Any:
    """A default value, comparable: functions and classes by name, our own product name as theirs."""
    value = parameter.default
    if value in (SERVER, USER_AGENT) and isinstance(value, str):
        return "product"
    if isinstance(value, str) and value.endswith("websockets/17.4"):
        return "product"
    return getattr(value, "__name__", value)


def missing_parameters(path: str, theirs: Any, ours: Any) -> Iterator[str]:
    """Parameters that a call may have there and not here."""
    expected, actual = parameters(theirs), parameters(ours)
    if expected is None or actual is None:
        return
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in actual.values())
    positional = [n for n, p in actual.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for index, (name, parameter) in enumerate(expected.items()):
        counterpart = actual.get(name)
        if parameter.kind is parameter.VAR_KEYWORD or parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if counterpart is None and parameter.kind is parameter.KEYWORD_ONLY and takes_any:
            continue
        if counterpart is None:
            yield f"{path}({name})"
        elif default(counterpart) != default(parameter):
            yield f"{path}({name}={default(counterpart)!r} instead of {default(parameter)!r})"
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD and positional[index : index + 1] != [name]:
            yield f"{path}({name} at another place)"


def missing_of_class(path: str, theirs: type, ours: type) -> Iterator[str]:
    for name in members(theirs):
        method = callable(getattr(theirs, name))
        if not hasattr(ours, name) or (method and not callable(getattr(ours, name))):
            yield f"{path}.{name}"
        elif name not in PROTOCOLS and method:
            yield from missing_parameters(f"{path}.{name}", getattr(theirs, name), getattr(ours, name))


def missing_of_module(name: str) -> Iterator[str]:
    module = importlib.import_module(name)
    get = forward(name, importlib.import_module(MODULES[name]))
    for each in names(module):
        theirs, path = getattr(module, each), f"{name}.{each}"
        try:
            ours = get(each)
        except AttributeError:
            yield path
            continue
        if name == "websockets" or path in ALIASES:
            continue  # audited where it is defined
        if isinstance(theirs, type) and isinstance(ours, type):
            yield from missing_of_class(path, theirs, ours)
        elif inspect.isfunction(theirs):
            yield from missing_parameters(path, theirs, ours)


def excuse(path: str) -> str:
    """The entry of `ABSENT` for what is missing: its own, or that of the whole function."""
    return path if path in ABSENT else path.partition("(")[0]


@pytest.mark.parametrize("name", AUDITED)
def test_nothing_else_is_missing(name: str) -> None:
    assert {path for path in missing_of_module(name) if excuse(path) not in ABSENT} == set()


def test_what_is_said_to_be_absent_is() -> None:
    absent = {excuse(path) for name in AUDITED for path in missing_of_module(name)}
    # Uncompiled, its arguments can be read, and are those of websockets.
    assert ABSENT.keys() - absent <= {"websockets.asyncio.server.ServerConnection.__init__"}


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("websockets.http11", "MAX_NUM_HEADERS"),
        ("websockets.http11", "MAX_LINE_LENGTH"),
        ("websockets.http11", "MAX_BODY_SIZE"),
        ("websockets.asyncio.client", "MAX_REDIRECTS"),
        ("websockets.client", "BACKOFF_INITIAL_DELAY"),
        ("websockets.client", "BACKOFF_MIN_DELAY"),
        ("websockets.client", "BACKOFF_MAX_DELAY"),
        ("websockets.client", "BACKOFF_FACTOR"),
        ("websockets.frames", "CLOSE_CODE_EXPLANATIONS"),
        ("websockets.frames", "EXTERNAL_CLOSE_CODES"),
        ("websockets.frames", "OK_CLOSE_CODES"),
        ("websockets.frames", "DATA_OPCODES"),
        ("websockets.frames", "CTRL_OPCODES"),
        ("websockets.protocol", "SEND_EOF"),
        ("websockets.utils", "GUID"),
    ],
)
def test_constants(module: str, name: str) -> None:
    ours = forward(module, importlib.import_module(MODULES[module]))(name)
    assert ours == getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("websockets.frames", "Opcode"),
        ("websockets.frames", "CloseCode"),
        ("websockets.protocol", "State"),
        ("websockets.protocol", "Side"),
    ],
)
def test_enumerations(module: str, name: str) -> None:
    ours = getattr(importlib.import_module(MODULES[module]), name)
    theirs = getattr(importlib.import_module(module), name)
    assert [(member.name, member.value) for member in ours] == [(member.name, member.value) for member in theirs]


def test_the_tree_of_exceptions() -> None:
    """A program that catches a class there catches the same here."""
    theirs, ours = importlib.import_module("websockets.exceptions"), importlib.import_module("trunkline.exceptions")
    for name in theirs.__all__:
        bases = [base.__name__ for base in getattr(theirs, name).__mro__]
        assert [base.__name__ for base in getattr(ours, name).__mro__ if base.__name__ in bases] == bases

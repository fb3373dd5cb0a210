"""The settings of `serve` and `connect`, listed six times: the lists agree, and `help()` explains each of them."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any, get_type_hints

import pytest

import trunkline.asyncio.client
import trunkline.asyncio.server
import trunkline.sync.client
import trunkline.sync.server
import trunkline.trio.client
import trunkline.trio.server
from trunkline.options import Options

FUNCTIONS = [
    trunkline.asyncio.client.connect,
    trunkline.asyncio.server.serve,
    trunkline.sync.client.reconnect,
    trunkline.sync.client.connect,
    trunkline.sync.server.serve,
    trunkline.trio.client.connect,
    trunkline.trio.server.serve,
]
DEFAULTS = {field.name: field.default for field in dataclasses.fields(Options) if field.init}
del DEFAULTS["write_limit"]  # threads have none: each of them waits for its own bytes


def name_of(function: Any) -> str:
    return f"{function.__module__}.{function.__name__}"


@pytest.mark.parametrize("function", FUNCTIONS, ids=name_of)
def test_settings_have_the_defaults_of_the_options(function: Any) -> None:
    parameters = inspect.signature(function).parameters
    assert {name: parameters[name].default for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize("function", [f for f in FUNCTIONS if f is not trunkline.sync.client.connect], ids=name_of)
def test_help_explains_each_setting(function: Any) -> None:
    names = re.findall(r"^ {8}([\w, ]+):|`(\w+)` is another name", function.__doc__, re.MULTILINE)
    explained = set(re.findall(r"\w+", str(names)))
    assert set(inspect.signature(function).parameters) - explained == set()


def test_type_checkers_know_the_settings_of_connect_on_threads() -> None:
    """`connect` passes on its settings: type checkers know those that `reconnect` takes."""
    client = trunkline.sync.client
    told = get_type_hints(client.ReconnectSettings)
    del told["ssl_context"]
    for name in sorted(client.CONNECT_ARGUMENTS - {"path"}):  # of socket.create_connection
        del told[name]
    hints = get_type_hints(client.reconnect.__init__)
    assert told == {name: hints[name] for name in hints.keys() - {"uri", "kwargs", "return"}}
    assert get_type_hints(client.ConnectSettings).keys() - {"ssl_context"} == (
        inspect.signature(client.connect).parameters.keys() - {"uri", "legacy", "kwargs"}
    ) | (client.CONNECT_ARGUMENTS - {"path"})

"""Modules that the build wanted to compile and could not: `serve` and `connect` say so once, on the program's line."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import linecache
import socket
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from werkzeug.routing import Map

import trunkline.sync.client
import trunkline.sync.router
import trunkline.sync.server
import trunkline.trio.client
import trunkline.trio.router
import trunkline.trio.server
from trunkline import build_record, compiled
from trunkline.realtime import Realtime

#: A module that is never compiled, so a build that wanted it has failed.
INTERPRETED = "trunkline.json"


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what the build of the installation wanted, in a process that has said nothing yet."""

    def set_record(*wanted: str, failure: str = "") -> None:
        monkeypatch.setattr(build_record, "WANTED", wanted)
        monkeypatch.setattr(build_record, "FAILURE", failure)
        monkeypatch.setattr(compiled, "_warned", False)

    return set_record


def warnings_of(call: Callable[[], object]) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [warning for warning in caught if issubclass(warning.category, RuntimeWarning)]


def connect() -> None:
    trunkline.connect("ws://localhost/")


async def handler(ws: Any) -> None:
    pass


# Missing modules


def test_nothing_is_missing_that_the_build_did_not_want(record: Callable[..., None]) -> None:
    record()
    assert compiled.missing_modules() == {}
    assert warnings_of(connect) == []


@pytest.mark.compiled
def test_nothing_is_missing_that_is_compiled(record: Callable[..., None]) -> None:
    record(*compiled.COMPILED_MODULES)
    assert compiled.missing_modules() == {}
    assert warnings_of(connect) == []


def test_the_reason_is_why_the_build_failed(record: Callable[..., None]) -> None:
    record(INTERPRETED, failure="the build failed: no compiler")
    assert compiled.missing_modules() == {INTERPRETED: "the build failed: no compiler"}


def test_a_file_that_is_gone_is_named(record: Callable[..., None]) -> None:
    record(INTERPRETED)
    (reason,) = compiled.missing_modules().values()
    assert reason.startswith("there is no file json.")


def test_a_module_that_cannot_be_loaded_says_why(record: Callable[..., None]) -> None:
    record("trunkline.reactor.absent")
    assert compiled.missing_modules() == {"trunkline.reactor.absent": "No module named 'trunkline.reactor.absent'"}


def test_the_engine_info_tells_what_is_missing(record: Callable[..., None]) -> None:
    record(INTERPRETED, failure="no compiler")
    assert trunkline.engine_info()["missing"] == {INTERPRETED: "no compiler"}


# The warning


def test_the_warning_names_modules_reason_and_remedy(record: Callable[..., None]) -> None:
    record(INTERPRETED, "trunkline.options", failure="the build failed: no compiler")
    (warning,) = warnings_of(connect)
    assert "modules are missing (all 2): the build failed: no compiler." in str(warning.message)
    assert "pip install --force-reinstall --no-cache-dir trunkline" in str(warning.message)
    assert "TRUNKLINE_EXTENSIONS=off" in str(warning.message)


@pytest.mark.compiled
def test_where_some_are_missing_the_warning_names_these_only(record: Callable[..., None]) -> None:
    record("trunkline.core.reader", INTERPRETED)
    (warning,) = warnings_of(connect)
    assert f"modules are missing ({INTERPRETED}): there is no file json." in str(warning.message)


def test_it_is_said_once(record: Callable[..., None]) -> None:
    record(INTERPRETED)
    assert len(warnings_of(connect)) == 1
    assert warnings_of(connect) == []


# By whom

URI = "ws://localhost/"


def connect_in_thread(path: str) -> None:
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("localhost", 0))
        with contextlib.suppress(OSError):
            trunkline.sync.client.connect(f"ws://localhost:{nobody_listens.getsockname()[1]}/")


def unix_connect_in_thread(path: str) -> None:
    with contextlib.suppress(OSError):
        trunkline.sync.client.unix_connect(path)


def serve_rooms(path: str) -> None:
    async def main() -> None:
        async with Realtime() as rt, rt.serve("localhost", 0):
            pass

    asyncio.run(main())


def serve_on_trio(path: str) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(trunkline.trio.server.serve, handler, 0)
            nursery.cancel_scope.cancel()

    trio.run(main)  # the line of the program that ran trio.server.serve


def route_on_trio(path: str) -> None:
    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await trunkline.trio.router.route(Map([]), 0)

    trio.run(main)


CALLS: list[tuple[str, Callable[[str], object]]] = [
    ("connect", lambda path: trunkline.connect(URI)),
    ("unix_connect", lambda path: trunkline.unix_connect(path)),
    ("serve", lambda path: trunkline.serve(handler, "localhost", 0)),
    ("unix_serve", lambda path: trunkline.unix_serve(handler, path)),
    ("route", lambda path: trunkline.route(Map([]), "localhost", 0)),
    ("unix_route", lambda path: trunkline.unix_route(Map([]), path)),
    ("rt.serve", serve_rooms),
    ("sync.client.reconnect", lambda path: trunkline.sync.client.reconnect(URI)),
    ("sync.client.unix_reconnect", lambda path: trunkline.sync.client.unix_reconnect(path)),
    ("sync.client.connect", connect_in_thread),
    ("sync.client.unix_connect", unix_connect_in_thread),
    ("sync.server.serve", lambda path: trunkline.sync.server.serve(handler, "localhost", 0).shutdown()),
    ("sync.server.unix_serve", lambda path: trunkline.sync.server.unix_serve(handler, path).shutdown()),
    ("sync.router.route", lambda path: trunkline.sync.router.route(Map([]), "localhost", 0).shutdown()),
    ("trio.client.connect", lambda path: trunkline.trio.client.connect(URI)),
    ("trio.client.unix_connect", lambda path: trunkline.trio.client.unix_connect(path)),
    ("trio.server.serve", serve_on_trio),
    ("trio.router.route", route_on_trio),
]


@pytest.mark.parametrize(("name", "call"), CALLS, ids=[name for name, _ in CALLS])
def test_every_call_warns_on_the_line_of_the_program(
    record: Callable[..., None], tmp_path: Path, name: str, call: Callable[[str], object]
) -> None:
    record(INTERPRETED)
    (warning,) = warnings_of(functools.partial(call, str(tmp_path / "socket")))
    assert warning.filename == __file__
    assert name in linecache.getline(__file__, warning.lineno)

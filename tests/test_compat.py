"""`import websockets` finds trunkline: all of its modules, all of its names, and nothing else."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import websockets  # noqa: F401  # so that install() comes too late here

import trunkline
from tests.support.process import environment
from trunkline.compat import ELSEWHERE, MODULES, VALUES, install

KNOWN_TO_BE_MISSING = {
    "websockets.utils": {"apply_mask", "get_socket_name"},
    "websockets.version": {"commit"},
}


def run(program: str, *arguments: str) -> str:
    """Output of a program that starts with `install()`."""
    program = "import trunkline.compat; trunkline.compat.install()\n" + textwrap.dedent(program)
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout


def test_every_module_has_a_stand_in() -> None:
    run("import importlib\n" + "\n".join(f"importlib.import_module({name!r})" for name in MODULES))


@pytest.mark.parametrize("name", [name for name in MODULES if name != "websockets.connection"])
def test_documented_names(name: str) -> None:
    """What `__all__` of websockets' modules lists."""
    documented = getattr(importlib.import_module(name), "__all__", [])
    ours = {*dir(importlib.import_module(MODULES[name])), *VALUES.get(name, {})}
    assert set(documented) - ours == KNOWN_TO_BE_MISSING.get(name, set())


def test_names_are_ours() -> None:
    assert run("""
        import websockets
        import websockets.asyncio.client
        from websockets import ConnectionClosed, connect
        from websockets.asyncio.client import connect as other
        from websockets.extensions.base import Extension
        from websockets.frames import *
        import trunkline

        assert connect is other is trunkline.connect is websockets.asyncio.client.connect
        assert ConnectionClosed is trunkline.ConnectionClosed is websockets.exceptions.ConnectionClosed
        assert Extension is trunkline.extensions.base.Extension
        assert Opcode is trunkline.Opcode
        assert "connect" in dir(websockets)
        assert websockets.headers.parse_upgrade("websocket") == ["websocket"]
        print(websockets.__version__, websockets.version.version, trunkline.__version__)
        """) == f"17.4 17.4 {trunkline.__version__}\n"  # fmt: skip


def test_our_own_modules_stay_as_they_are() -> None:
    assert run("""
        import trunkline.asyncio.client
        before = dict(vars(trunkline.asyncio.client))
        import websockets.asyncio.client
        assert dict(vars(trunkline.asyncio.client)) == before
        print(trunkline.asyncio.client.__spec__.name, "headers" in vars(trunkline))
        """) == "trunkline.asyncio.client False\n"  # fmt: skip


def test_what_is_set_is_set_in_trunkline() -> None:
    assert run("""
        from unittest.mock import patch
        import trunkline.endpoint.client
        import websockets.asyncio.client
        import websockets.http11

        with patch("websockets.http11.USER_AGENT", "other"):
            print(websockets.http11.USER_AGENT, trunkline.http11.USER_AGENT)
        print(websockets.http11.USER_AGENT == trunkline.http11.USER_AGENT != "other")

        websockets.asyncio.client.MAX_REDIRECTS = 2  # which is elsewhere in trunkline
        print(websockets.asyncio.client.MAX_REDIRECTS, trunkline.endpoint.client.MAX_REDIRECTS)

        with patch("websockets.connect", "other"):
            print(websockets.connect, trunkline.connect)
        print(websockets.connect is trunkline.connect is trunkline.asyncio.client.connect)
        """) == "other other\nTrue\n2 2\nother other\nTrue\n"  # fmt: skip


def test_what_is_set_in_the_stand_in_alone() -> None:
    assert run("""
        from unittest.mock import patch
        import websockets.frames

        with patch("websockets.__version__", "0"), patch("websockets.frames", "other"):
            print(websockets.__version__, websockets.frames)
        print(websockets.__version__, websockets.frames.__name__)
        print(trunkline.__version__ == websockets.__version__, trunkline.frames.__name__)
        """) == "0 other\n17.4 websockets.frames\nFalse trunkline.frames\n"  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("import websockets.legacy.server", "ModuleNotFoundError: trunkline, .* has no websockets.legacy"),
        ("from websockets import legacy", "ModuleNotFoundError: trunkline, .* has no websockets.legacy"),
        (
            "from websockets.frames import missing",
            "ModuleNotFoundError: trunkline, .* has no websockets.frames.missing",
        ),
        ("import websockets; websockets.missing", "AttributeError: trunkline, .* for websockets, .* 'missing'"),
    ],
)
def test_what_is_missing_says_so(statement: str, error: str) -> None:
    program = f"import trunkline.compat; trunkline.compat.install(); {statement}"
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert re.match(error, result.stderr.splitlines()[-1])


def test_missing_names_can_be_asked_for() -> None:
    assert run("""
        import websockets
        print(hasattr(websockets, "missing"), getattr(websockets, "missing", None))
        try:
            import websockets.legacy
        except ImportError:
            print("no legacy")
        """) == "False None\nno legacy\n"  # fmt: skip


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in ELSEWHERE.items() for name in names])
def test_old_places_of_names(module: str, name: str) -> None:
    assert run(f"from {module} import {name}; print(getattr({name}, '__module__', 'trunkline.'))").startswith(
        "trunkline."
    )


@pytest.mark.parametrize(
    ("statement", "warning"),
    [
        ("from websockets.client import WebSocketClientProtocol", "WebSocketClientProtocol is deprecated"),
        ("import websockets; websockets.WebSocketClientProtocol", "WebSocketClientProtocol is deprecated"),
        ("from websockets.sync.server import WebSocketServer", "WebSocketServer was renamed to Server"),
    ],
)
def test_warnings_of_old_names_tell_the_line_that_uses_them(tmp_path: Path, statement: str, warning: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"\n\n{statement}\n")
    command = [sys.executable, "-m", "trunkline.compat", str(program)]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert result.stderr.startswith(f"{program}:3: DeprecationWarning: {warning}")


def test_install_twice() -> None:
    assert run("""
        import sys
        before = list(sys.meta_path)
        trunkline.compat.install()
        import websockets
        trunkline.compat.install()
        print(sys.meta_path == before)
        """) == "True\n"  # fmt: skip


def test_install_too_late() -> None:
    with pytest.raises(RuntimeError, match="websockets is imported already"):
        install()


# --- command line ---


def python(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trunkline.compat", *arguments],
        env=environment(),
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


PROGRAM = """
import sys
import helper
import websockets

if __name__ == "__main__":
    print(sys.argv, websockets.connect.__module__, helper.__name__)
    sys.exit(3)
"""


@pytest.mark.parametrize("how", ["file", "file elsewhere", "module"])
def test_command_line(how: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "helper.py").write_text("")
    directory = tmp_path / "elsewhere" if how == "file elsewhere" else tmp_path
    path = str(tmp_path / "program.py") if how == "file elsewhere" else "program.py"
    arguments = ["-m", "program"] if how == "module" else [path]
    result = python(*arguments, "-x", "y", directory=directory)
    first = str(tmp_path / "program.py") if how == "module" else path
    assert result.stdout == f"{[first, '-x', 'y']} trunkline.asyncio.client helper\n", result.stderr
    assert result.returncode == 3


@pytest.mark.parametrize("program", [["-m", "websockets"], ["client.py"]])
def test_command_of_websockets_is_that_of_trunkline(program: list[str], tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text("import sys, websockets.cli\nwebsockets.cli.main(sys.argv[1:])")
    result = python(*program, "--version", directory=tmp_path)
    assert result.stdout == f"trunkline, version {trunkline.__version__}\n", result.stderr
    assert result.returncode == 0


@pytest.mark.parametrize("arguments", [[], ["-m"], ["--help"]])
def test_usage(arguments: list[str], tmp_path: Path) -> None:
    result = python(*arguments, directory=tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("usage: python -m trunkline.compat")

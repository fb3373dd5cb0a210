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

PRINTS_LIBRARY = "import websockets; print(websockets.connect.__module__)"

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


# --- processes that a program starts ---


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_children_of_multiprocessing(method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        def library():
            import websockets
            return websockets.connect.__module__

        if __name__ == "__main__":
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context({method!r})) as executor:
                print(executor.submit(library).result())
        """)
    )
    command = [sys.executable, "-m", "trunkline.compat", str(program)]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert result.stdout == "trunkline.asyncio.client\n"


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["-c", PRINTS_LIBRARY], "trunkline.asyncio.client\n"),
        (
            ["-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {PRINTS_LIBRARY!r}])"],
            "trunkline.asyncio.client\n",
        ),
        (["-m", "websockets", "--version"], f"trunkline, version {trunkline.__version__}\n"),
        (["-c", "import sys; print([path for path in sys.path if 'startup' in path])"], "[]\n"),
        (["-c", "import sys; print('trunkline' in sys.modules)"], "False\n"),
    ],
)
def test_python_programs_that_it_starts(arguments: list[str], output: str) -> None:
    assert run(f"""
        import subprocess, sys
        result = subprocess.run([sys.executable, *{arguments}], capture_output=True, text=True, check=True)
        assert not result.stderr, result.stderr
        print(result.stdout, end="")
        """) == output  # fmt: skip


def test_a_child_without_trunkline_says_so() -> None:
    output = run("""
        import os, subprocess, sys
        os.environ["PYTHONPATH"] = os.environ["PYTHONPATH"].split(os.pathsep)[0]
        program = "import contextlib, sitecustomize\\nwith contextlib.suppress(ImportError): import websockets"
        print(subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True).stderr)
        """)
    assert "RuntimeWarning: trunkline stands in for websockets in the parent process, but not here: No module" in output


def test_the_file_that_a_child_would_have_run_is_run(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.found = __name__, __file__")
    program = f"import sys, sitecustomize; print(sys.found, sitecustomize.__file__); {PRINTS_LIBRARY}"
    output = run(
        f"""
        import os, subprocess, sys
        os.environ["PYTHONPATH"] += os.pathsep + {str(tmp_path)!r}
        subprocess.run([sys.executable, "-c", {program!r}], check=True)
        """
    )
    path = str(tmp_path / "sitecustomize.py")
    assert output == f"('sitecustomize', {path!r}) {path}\ntrunkline.asyncio.client\n"


def test_where_children_are_out_of_reach_install_says_so() -> None:
    path = str(Path(trunkline.__file__).parent.parent)
    program = f"import sys; sys.path.insert(0, {path!r}); import trunkline.compat; trunkline.compat.install()"
    result = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert "RuntimeWarning: Python ignores PYTHONPATH here" in result.stderr


def test_installing_twice_changes_the_environment_once() -> None:
    assert run("""
        import os
        before = os.environ["PYTHONPATH"]
        trunkline.compat.install()
        print(os.environ["PYTHONPATH"] == before, before.split(os.pathsep)[0] == trunkline.compat.STARTUP)
        """) == "True True\n"  # fmt: skip


@pytest.mark.parametrize("arguments", [["ws://127.0.0.1:1"], ["--insecure", "wss://127.0.0.1:1"]])
def test_the_client_of_the_command_line(arguments: list[str]) -> None:
    """`python -m websockets`, as a program or its user would start it."""
    program = f"""
        import runpy, sys
        sys.argv = ["websockets", *{arguments}]
        runpy.run_module("websockets", run_name="__main__", alter_sys=True)
        """
    program = "import trunkline.compat; trunkline.compat.install()\n" + textwrap.dedent(program)
    for command in (["-c", program], ["-m", "trunkline.compat", "-m", "websockets", *arguments]):
        result = subprocess.run(
            [sys.executable, *command], env=environment(), capture_output=True, text=True, check=False
        )
        assert result.returncode == 1
        assert f"cannot connect to {arguments[-1]}" in result.stderr


# --- habits ---


@pytest.mark.parametrize(("imported", "expected"), [("websockets", "True False"), ("trunkline", "False True")])
def test_habits_of_websockets_come_with_it(imported: str, expected: str) -> None:
    assert run(f"""
        import {imported}
        from trunkline.endpoint import log
        from trunkline.extensions.permessage_deflate import (
            ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory, enable_server_permessage_deflate
        )
        factories = [
            ClientPerMessageDeflateFactory(), ServerPerMessageDeflateFactory(), *enable_server_permessage_deflate(None)
        ]
        [compress_all] = {{factory.compress_all for factory in factories}}
        print(compress_all, log.DETAILED)
        """) == f"{expected}\n"  # fmt: skip


def test_programs_find_what_they_know_in_logs_and_on_the_wire() -> None:
    """The texts of websockets, and no message that isn't compressed."""
    assert run("""
        import asyncio, logging
        import websockets

        log = []
        handler = logging.Handler()
        handler.emit = lambda record: log.append(record.getMessage())
        logging.getLogger("websockets.server").addHandler(handler)
        logging.getLogger("websockets.server").setLevel(logging.INFO)

        async def main():
            async def handler(ws):
                await ws.send("short")
            async with websockets.serve(handler, "127.0.0.1", 0) as server:
                async with websockets.connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", proxy=None) as ws:
                    print(await ws.recv(), ws.extensions[0].deflater.every)

        asyncio.run(main())
        print([text for text in log if "connection" in text])
        """).splitlines()[-2:] == ["short True", "['connection open', 'connection closed']"]  # fmt: skip

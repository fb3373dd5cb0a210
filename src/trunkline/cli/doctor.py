"""``trunkline doctor``: what this installation is made of, for reports of faults and for the curious."""

from __future__ import annotations

import asyncio
import platform
import ssl
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import click
from rich.console import Console
from rich.table import Table

from trunkline.asyncio.engine import engine_info
from trunkline.compiled import REMEDY
from trunkline.version import __version__

__all__ = ["doctor"]

# Distribution, what trunkline does with it, how to install it.
OPTIONAL = (
    ("click", "the command line", "trunkline[cli]"),
    ("prompt_toolkit", "the command line", "trunkline[cli]"),
    ("rich", "the command line", "trunkline[cli]"),
    ("isal", "faster compression", "trunkline[deflate]"),
    ("numpy", "faster masking where nothing is compiled", "trunkline[masking]"),
    ("python-socks", "SOCKS proxies", "trunkline[proxy]"),
    ("werkzeug", "routing", "trunkline[router]"),
    ("trio", "servers and clients on trio", "trunkline[trio]"),
    ("greenlet", "handlers that share threads", "trunkline[fibers]"),
    ("pyjwt", "tokens of rooms", "trunkline[realtime]"),
    ("cryptography", "tokens of rooms with a public key", "trunkline[realtime]"),
    ("uvicorn", "applications of FastAPI and other frameworks", "trunkline[uvicorn]"),
    ("uvloop", "another event loop", "uvloop"),
)

PIPE_WIDTH = 200  # columns: a program that reads a pipe wants whole lines

Row = tuple[str, str, str]


@click.command()
def doctor() -> None:
    """Show versions, what is compiled, and which optional libraries are installed."""
    # Without markup, or it would take the brackets of `trunkline[deflate]`, and of paths, for its own.
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, emoji=False)
    for title, rows in (
        ("Installation", installation()),
        ("Modules that can be compiled", build()),
        ("Optional libraries", optional_libraries()),
    ):
        table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False)
        for _ in range(3):
            table.add_column(overflow="fold")  # a path cut short is of no use
        for row in rows:
            table.add_row(*row)
        console.print(table, "")


def installation() -> Iterator[Row]:
    """Versions of what everything stands on."""
    yield "trunkline", __version__, ""
    yield platform.python_implementation(), platform.python_version(), sys.executable
    yield "platform", platform.platform(), ""
    yield "event loop", event_loop(), ""
    yield "TLS", ssl.OPENSSL_VERSION, ""


def event_loop() -> str:
    """Class of the loop that ``asyncio.run`` uses here."""
    loop = asyncio.new_event_loop()
    loop.close()
    return f"{type(loop).__module__}.{type(loop).__qualname__}"


def build() -> Iterator[Row]:
    """Which modules are compiled, what carries connections because of that, and what to do if the build failed."""
    info = engine_info()
    for name, compiled in info["compiled"].items():
        yield name, "compiled" if compiled else "not compiled", info["missing"].get(name, "")
    yield "engine", info["engine"], "for TCP and Unix sockets, with TLS or without"
    if info["missing"]:
        yield "remedy", "", REMEDY


def optional_libraries() -> Iterator[Row]:
    """Which libraries are installed that trunkline can use, and how to install the others."""
    for name, purpose, requirement in OPTIONAL:
        try:
            yield name, version(name), f"for {purpose}"
        except PackageNotFoundError:
            yield name, "not installed", f"for {purpose}: pip install '{requirement}'"

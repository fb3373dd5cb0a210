"""Compiles the load generators and the floor server, and makes a certificate, into `benchmarks/build`."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
SOURCES = HERE / "load"
BUILD = HERE / "build"
FLOOR = BUILD / "floor"
ECHO = BUILD / "echo"
"""The load generator; with one connection it is the floor of the clients, too."""
CERTIFICATE = BUILD / "certificate.pem"
"""A private key and its certificate for localhost, in one file."""

PROGRAMS = {
    "floor": ["floor.c"],
    "echo": ["echo.c", "wire.c"],
    "fanout": ["fanout.c", "wire.c"],
    "connect": ["connect.c", "wire.c"],
    "idle": ["idle.c", "wire.c"],
}
COMPILE = ["cc", "-std=gnu11", "-O3", "-Wall", "-Wextra"]
LINK = ["-lssl", "-lcrypto", "-lz"]
MAKE_CERTIFICATE = [
    *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
    *("-days", "3650", "-subj", "/CN=localhost"),
]


class BuildError(Exception):
    """A program that the benchmarks need could not be made."""


def build() -> None:
    """Make what is missing or older than its source.

    Raises:
        BuildError: a tool is missing or failed; the message holds what it said.
    """
    BUILD.mkdir(exist_ok=True)
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    for program, names in PROGRAMS.items():
        path = BUILD / program
        if not path.exists() or path.stat().st_mtime < newest:
            _compile(path, [str(SOURCES / name) for name in names])
    if not CERTIFICATE.exists():
        _make_certificate()


def _compile(program: Path, sources: list[str]) -> None:
    with _replaced(program) as unfinished:
        _run([*COMPILE, "-o", str(unfinished), *sources, *LINK])


def _make_certificate() -> None:
    with _replaced(CERTIFICATE) as unfinished:
        # The key comes first in the file, the certificate after it.
        printed = _run([*MAKE_CERTIFICATE, "-keyout", str(unfinished)])
        unfinished.write_text(unfinished.read_text() + printed)


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` once it is complete: two builds at a time do no harm."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _run(command: list[str]) -> str:
    hint = "the benchmarks need a C compiler, the openssl command, and the packages libssl-dev and zlib1g-dev"
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise BuildError(f"{command[0]} is not installed; {hint}") from error
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed; {hint}.\n{done.stderr}")
    return done.stdout

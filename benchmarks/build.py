"""Compiles the load generators and the floor server, and makes a certificate, into `benchmarks/build`."""

import subprocess
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE / "load"
BUILD = HERE / "build"
FLOOR = BUILD / "floor"
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
LINK = ["-lssl", "-lcrypto"]
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
    for program, names in PROGRAMS.items():
        _compile(BUILD / program, [SOURCES / name for name in names])
    if not CERTIFICATE.exists():
        _run([*MAKE_CERTIFICATE, "-keyout", str(CERTIFICATE), "-out", str(BUILD / "public.pem")])
        CERTIFICATE.write_text(CERTIFICATE.read_text() + (BUILD / "public.pem").read_text())


def _compile(program: Path, sources: list[Path]) -> None:
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    if not program.exists() or program.stat().st_mtime < newest:
        _run([*COMPILE, "-o", str(program), *map(str, sources), *LINK])


def _run(command: list[str]) -> None:
    hint = "the benchmarks need a C compiler, the OpenSSL headers (libssl-dev) and the openssl command"
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise BuildError(f"{command[0]} is not installed; {hint}") from error
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed; {hint}.\n{done.stderr}")

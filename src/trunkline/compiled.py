"""Which modules are compiled, and which the build wanted to compile but could not."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import warnings

from trunkline import build_record

__all__ = ["COMPILED_MODULES", "REMEDY", "missing_modules", "warn_of_missing_modules", "why_not_compiled"]

COMPILED_MODULES = (
    "trunkline.core.deflate",
    "trunkline.core.reader",
    "trunkline.core.writer",
    "trunkline.core.inbox",
    "trunkline.core.session",
    "trunkline.handshake.fastpath",
    "trunkline.endpoint.connection",
    "trunkline.endpoint.broadcast",
    "trunkline.endpoint.carrier",
    "trunkline.endpoint.life",
    "trunkline.endpoint.line",
    "trunkline.asyncio.awaitables",
    "trunkline.asyncio.shared",
    "trunkline.asyncio.carrier",
    "trunkline.asyncio.receiving",
    "trunkline.asyncio.link",
    "trunkline.asyncio.server_link",
    "trunkline.asyncio.opening",
    "trunkline.asgi.link",
    "trunkline.realtime.wire.codecs.wireformat",
    "trunkline.reactor.system",
    "trunkline.reactor.epoll",
    "trunkline.reactor.transport",
    "trunkline.reactor.sockets",
    "trunkline.reactor.tls",
)

# pip keeps the wheel that it built without extension modules, and would install it again.
REMEDY = (
    "Install a C compiler and the headers of Python (on Debian: apt install gcc python3-dev), then trunkline again: "
    "pip install --force-reinstall --no-cache-dir trunkline. "
    "With TRUNKLINE_EXTENSIONS=require in the environment the build fails with the whole error. "
    "If you want no extension modules, build with TRUNKLINE_EXTENSIONS=off, and this is not said."
)

# Code between a program's own line and ours, where one of our coroutines is run as a task.
_BETWEEN = ("trunkline", "asyncio", "trio", "outcome", "contextlib", "click")

_warned = False


def why_not_compiled(name: str) -> str | None:
    """None if the module is compiled, else why the interpreter did not get it so."""
    try:
        spec = importlib.import_module(name).__spec__
    except ImportError as error:
        return str(error)
    if spec is not None and isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
        return None
    return f"there is no file {name.rpartition('.')[2]}{importlib.machinery.EXTENSION_SUFFIXES[0]}"


def missing_modules() -> dict[str, str]:
    """The modules that the build wanted to compile and that are not compiled, each with the reason."""
    reasons = ((name, why_not_compiled(name)) for name in build_record.WANTED)
    return {name: build_record.FAILURE or reason for name, reason in reasons if reason is not None}


def warn_of_missing_modules() -> None:
    """Warn, once in a process, if modules are missing. The warning names the line that called trunkline.

    Warns:
        RuntimeWarning: modules are missing; the text says which, why, and what to do.
    """
    global _warned
    if _warned:
        return
    _warned = True
    missing = missing_modules()
    if missing:
        warnings.warn(_text(missing), RuntimeWarning, _level_of_caller())


def _text(missing: dict[str, str]) -> str:
    names = ", ".join(missing) if len(missing) < len(build_record.WANTED) else f"all {len(missing)}"
    reason = next(iter(missing.values()))
    return f"trunkline is slower than it could be: extension modules are missing ({names}): {reason}. {REMEDY}"


def _level_of_caller() -> int:
    """The `stacklevel` for a warning by the calling function that names the nearest line of the user's program."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _package(frame.f_globals) in _BETWEEN:
        frame, level = frame.f_back, level + 1
    return level


def _package(module: dict[str, object]) -> str:
    return str(module.get("__name__")).partition(".")[0]

"""Programs and packages written for `websockets` run on trunkline, unmodified.

From the command line::

    python -m trunkline.compat program.py arguments...
    python -m trunkline.compat -m module arguments...

or as the first thing that a program does::

    import trunkline.compat

    trunkline.compat.install()

From then on `import websockets`, anywhere in the process, finds trunkline, whether websockets is installed or not. Only
that name is concerned. A name that is set in its modules, as by `unittest.mock.patch`, is set in trunkline's.

The same holds in the Python processes that the program starts after that, such as the workers of a web server. They get
a directory of trunkline in the variable `PYTHONPATH`. A process without that variable has to call `install` itself, and
so has one that ignores it, as with `python -I`.

Programs and their peers may depend on habits of websockets, so two more are the same. Every message is compressed where
compression was agreed on. The records about connections at INFO have the texts of websockets alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import runpy
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

__all__ = ["install", "main"]

VERSION_OF_WEBSOCKETS = "17.4"

#: Which module stands in for which.
MODULES = {
    "websockets": "trunkline",
    "websockets.__main__": "trunkline.__main__",
    "websockets.asyncio": "trunkline.asyncio",
    "websockets.asyncio.client": "trunkline.asyncio.client",
    "websockets.asyncio.connection": "trunkline.asyncio.connection",
    "websockets.asyncio.router": "trunkline.asyncio.router",
    "websockets.asyncio.server": "trunkline.asyncio.server",
    "websockets.cli": "trunkline.cli",
    "websockets.client": "trunkline.sansio.client",
    "websockets.connection": "trunkline.sansio.protocol",
    "websockets.datastructures": "trunkline.datastructures",
    "websockets.exceptions": "trunkline.exceptions",
    "websockets.extensions": "trunkline.extensions",
    "websockets.extensions.base": "trunkline.extensions.base",
    "websockets.extensions.permessage_deflate": "trunkline.extensions.permessage_deflate",
    "websockets.frames": "trunkline.frames",
    "websockets.headers": "trunkline.handshake.headers",
    "websockets.http11": "trunkline.http11",
    "websockets.protocol": "trunkline.sansio.protocol",
    "websockets.proxy": "trunkline.proxy",
    "websockets.server": "trunkline.sansio.server",
    "websockets.sync": "trunkline.sync",
    "websockets.sync.client": "trunkline.sync.client",
    "websockets.sync.connection": "trunkline.sync.connection",
    "websockets.sync.router": "trunkline.sync.router",
    "websockets.sync.server": "trunkline.sync.server",
    "websockets.speedups": "trunkline.frames",
    "websockets.streams": "trunkline.streams",
    "websockets.trio": "trunkline.trio",
    "websockets.trio.client": "trunkline.trio.client",
    "websockets.trio.connection": "trunkline.trio.connection",
    "websockets.trio.router": "trunkline.trio.router",
    "websockets.trio.server": "trunkline.trio.server",
    "websockets.typing": "trunkline.typing",
    "websockets.uri": "trunkline.uri",
    "websockets.utils": "trunkline.handshake.upgrade",
    "websockets.version": "trunkline.version",
}

#: Names that the module in `MODULES` hasn't, or has with another value. Programs choose by version how to call us.
VALUES: dict[str, dict[str, object]] = {
    "websockets": {"__version__": VERSION_OF_WEBSOCKETS},
    "websockets.version": {"version": VERSION_OF_WEBSOCKETS, "tag": VERSION_OF_WEBSOCKETS, "released": True},
}

RECONNECTING = (
    "BACKOFF_FACTOR", "BACKOFF_INITIAL_DELAY", "BACKOFF_MAX_DELAY", "BACKOFF_MIN_DELAY", "backoff", "process_exception",
)  # fmt: skip

#: Habits of websockets: the module that has them here, the name in it, and the value for websockets.
HABITS = (
    ("trunkline.endpoint.log", "DETAILED", False),
    ("trunkline.extensions.permessage_deflate", "COMPRESS_ALL", True),
)

#: The directory that child processes get on PYTHONPATH: Python imports its `sitecustomize` at the start.
STARTUP = str(Path(__file__).with_name("startup"))

#: What `install` says where it can't reach the children of multiprocessing, which get the options of this process.
IGNORED = (
    "Python ignores PYTHONPATH here, because of its option -I or -E: processes that the program starts run on "
    "websockets itself, unless they call trunkline.compat.install(), too"
)

#: Names that older programs import from another place: the module that has them, and their name there if it is another.
ELSEWHERE = {
    "websockets.asyncio.client": {"MAX_REDIRECTS": "trunkline.endpoint.client"},
    "websockets.client": {
        **dict.fromkeys(RECONNECTING, "trunkline.endpoint.reconnecting"),
        "WebSocketClientProtocol": "trunkline",
        "connect": "trunkline.asyncio.client",
        "unix_connect": "trunkline.asyncio.client",
    },
    "websockets.exceptions": {"InvalidStatusCode": "trunkline", "WebSocketProtocolError": "trunkline"},
    "websockets.server": {
        "WebSocketServer": "trunkline",
        "WebSocketServerProtocol": "trunkline",
        "broadcast": "trunkline.asyncio.server",
        "serve": "trunkline.asyncio.server",
        "unix_serve": "trunkline.asyncio.server",
    },
    "websockets.sync.client": {"MAX_REDIRECTS": "trunkline.endpoint.client"},
    "websockets.trio.client": {"MAX_REDIRECTS": "trunkline.endpoint.client"},
    "websockets.utils": {"apply_mask": "trunkline.frames", "get_socket_name": "trunkline.endpoint.server"},
}


class Alias(types.ModuleType):
    """A module that has next to nothing of its own: what is set in it is set where trunkline has it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if is_own(self.__name__, name):
            super().__setattr__(name, value)
        else:
            setattr(*place_of(self.__name__, name), value)

    def __delattr__(self, name: str) -> None:
        if is_own(self.__name__, name):
            super().__delattr__(name)
        else:
            delattr(*place_of(self.__name__, name))


def is_own(alias: str, name: str) -> bool:
    """Whether the module `alias` itself has a name: what modules have, its modules, and other values than ours."""
    return name.startswith("__") or f"{alias}.{name}" in MODULES or name in VALUES.get(alias, {})


def place_of(alias: str, name: str) -> tuple[types.ModuleType, str]:
    """The module of trunkline that has a name of the module `alias`, and the name there."""
    module, _, other_name = ELSEWHERE.get(alias, {}).get(name, MODULES[alias]).partition(":")
    return importlib.import_module(module), other_name or name


class StandIn(MetaPathFinder, Loader):
    """Finds `websockets` and its modules, and loads an empty module that asks trunkline for each name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != "websockets":
            return None
        if fullname not in MODULES:
            # Without `name=`, which would let `from ... import` replace this text by one that says less.
            raise ModuleNotFoundError(f"trunkline, which stands in for websockets, has no {fullname}")
        # As a package, so that `from websockets.frames import missing` comes by here, too. `python -m` runs no package.
        is_package = not fullname.endswith(".__main__")
        return ModuleSpec(fullname, self, origin=f"{MODULES[fullname]}, by trunkline.compat", is_package=is_package)

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return Alias(spec.name)

    def get_code(self, fullname: str) -> types.CodeType | None:
        """The code that `python -m websockets` runs."""
        spec = importlib.util.find_spec(MODULES[fullname])
        assert spec is not None, "trunkline has it"
        assert isinstance(spec.loader, InspectLoader), "it is a file"
        return spec.loader.get_code(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        if module.__name__ == "websockets":
            for name, habit, value in HABITS:
                setattr(importlib.import_module(name), habit, value)
        target = importlib.import_module(MODULES[module.__name__])
        vars(module).update(
            VALUES.get(module.__name__, {}),
            __doc__=target.__doc__,
            __dir__=lambda: sorted(dir(target)),
            __getattr__=forward(module.__name__, target),
        )


def forward(alias: str, target: types.ModuleType) -> Callable[[str], Any]:
    """`__getattr__` of the module `alias`, for which `target` stands in."""

    def get(name: str) -> Any:
        if f"{alias}.{name}" in MODULES:
            return importlib.import_module(f"{alias}.{name}")
        module, other_name = place_of(alias, name)
        old_names = vars(module).get("__getattr__")
        try:
            if old_names is not None and other_name not in vars(module):
                return old_names(other_name, stacklevel=3)  # the warning names the line that asks, not this one
            return getattr(module, other_name)
        except AttributeError:
            raise AttributeError(
                f"{target.__name__}, which stands in for {alias}, has no attribute {name!r}", name=name, obj=target
            ) from None

    return get


STAND_IN = StandIn()


def install() -> None:
    """Let `import websockets` find trunkline from now on, in this process and in those that it starts.

    Calling it again does nothing.

    Raises:
        RuntimeError: if websockets itself was imported before.
    """
    loaded = sys.modules.get("websockets")
    if loaded is not None and getattr(loaded.__spec__, "loader", None) is not STAND_IN:
        raise RuntimeError("websockets is imported already: call trunkline.compat.install() before that")
    if STAND_IN in sys.meta_path:
        return
    sys.meta_path.insert(0, STAND_IN)
    if sys.flags.ignore_environment:
        warnings.warn(IGNORED, RuntimeWarning, stacklevel=2)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if STARTUP not in paths:  # else a parent has put it there
        os.environ["PYTHONPATH"] = os.pathsep.join([STARTUP, *paths])


def main(arguments: list[str]) -> None:
    """Run a program, as `python` would, after `install`.

    Args:
        arguments: a file name, or "-m" and the name of a module, and then the program's own arguments.
    """
    install()
    match arguments:
        case ["-m", module, *_]:
            sys.argv = arguments[1:]
            runpy.run_module(MODULES.get(module, module), run_name="__main__", alter_sys=True)
        case [program, *_] if not program.startswith("-"):
            sys.argv = arguments
            sys.path[0] = str(Path(program).resolve().parent)
            runpy.run_path(program, run_name="__main__")
        case _:
            sys.exit("usage: python -m trunkline.compat (program.py | -m module) [arguments...]")


if __name__ == "__main__":
    # The module that programs import, of which this is a second copy
    from trunkline import compat

    compat.main(sys.argv[1:])

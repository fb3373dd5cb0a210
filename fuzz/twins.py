"""The same sources twice in one process: trunkline as it is installed, and an interpreted copy of it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType

import trunkline

PACKAGE = "trunkline"


class SourceFinder:
    """Finds the modules of trunkline in their .py files, also where an extension module stands beside them."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.partition(".")[0] != PACKAGE:
            return None
        directories = path or [str(Path(trunkline.__file__).parent.parent)]
        for directory in directories:
            spec = FileFinder(directory, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(name)
            if spec is not None:
                return spec
        # Without this, the extension module would be found after all: the reactor has no .py file.
        raise ModuleNotFoundError(f"{name} has no Python source", name=name)


@contextmanager
def _without_trunkline() -> Iterator[None]:
    """Let imports start anew, and put back what was there."""
    installed = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == PACKAGE}
    for name in installed:
        del sys.modules[name]
    sys.meta_path.insert(0, SourceFinder)  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.meta_path.remove(SourceFinder)  # type: ignore[arg-type]
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]
        sys.modules.update(installed)


def load(name: str) -> tuple[ModuleType, ModuleType]:
    """A module of trunkline as it is installed, and its interpreted copy; each has imported only its like.

    Without extension modules the two are equal, and comparing them shows nothing.
    """
    installed = importlib.import_module(name)
    with _without_trunkline():
        interpreted = importlib.import_module(name)
    return installed, interpreted

"""Python runs this file at the start of a process that a program on `trunkline.compat` has started.

`trunkline.compat.install` puts this directory on PYTHONPATH. So `import websockets` finds trunkline in such a process,
too: in a worker of a web server, in a child of multiprocessing, in another program. Before that, nothing is imported.
"""

import os
import sys
import warnings
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec

HERE = os.path.dirname(os.path.abspath(__file__))


class Awaiting:
    """Installs the stand-in for websockets when the program asks for that."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        if name.partition(".")[0] != "websockets":
            return None
        sys.meta_path.remove(Awaiting)
        try:
            from trunkline import compat
        except ImportError as error:
            reason = f"trunkline stands in for websockets in the parent process, but not here: {error}"
            warnings.warn(reason, RuntimeWarning, stacklevel=2)
            return None
        compat.install()
        return compat.STAND_IN.find_spec(name)


def run_hidden_file() -> None:
    """Run the file of this name that Python would have found without this directory."""
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != HERE]
    spec = PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        sys.modules["sitecustomize"] = module = module_from_spec(spec)
        spec.loader.exec_module(module)


sys.meta_path.insert(0, Awaiting)
run_hidden_file()

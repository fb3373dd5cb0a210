"""The ``trunkline`` command: a chat room, an interactive client, and a report on this installation."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

LIBRARIES = ("click", "prompt_toolkit", "rich")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the ``trunkline`` command. Exits with status 1, and says what to install, where its libraries are missing.

    Args:
        argv: its arguments; None for those of the process.
    """
    try:
        from trunkline.cli.commands import trunkline
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in LIBRARIES:
            raise
        sys.exit(f"trunkline: the command line needs {error.name}; install it with: pip install 'trunkline[cli]'")
    trunkline(argv, prog_name="trunkline")

"""Regular expressions mean the same with every release of Python that we support."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import trunkline

POSSESSIVE = re._constants.POSSESSIVE_REPEAT


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    """All patterns that modules hold, or a method of them, with the name of each."""
    for module in pkgutil.walk_packages(trunkline.__path__, "trunkline."):
        if module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            pattern = value if isinstance(value, re.Pattern) else getattr(value, "__self__", None)
            if isinstance(pattern, re.Pattern):
                yield f"{module.name}.{name}", pattern


def possessive_groups(part: Any) -> Iterator[Any]:
    """The possessive groups of more than one character."""
    if isinstance(part, tuple) and part[0] is POSSESSIVE and not re._compiler._simple(part[1][2]):
        yield part[1][2]
    if isinstance(part, tuple | list | re._parser.SubPattern):
        for inner in part:
            yield from possessive_groups(inner)


def test_only_characters_are_repeated_possessively() -> None:
    # Before 3.11.5, such as in Debian 12, the position stays where such a group stopped to match: gh-106052 of CPython.
    assert list(possessive_groups(re._parser.parse("a(?:bc)?+")))
    names = {name for name, pattern in patterns() if list(possessive_groups(re._parser.parse(pattern.pattern)))}
    assert names == set()

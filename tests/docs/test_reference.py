"""The reference is complete: public names, environment variables, and options of the command."""

import re
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType

import click
import pytest

import trunkline
from trunkline.cli.commands import trunkline as command

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = "\n".join(path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md"))


def objects() -> set[str]:
    """Last parts of the names after `:::`, and what the modules among them export."""
    entries = re.findall(r"^::: (trunkline[.\w]+)$", PAGES, re.MULTILINE)
    named = [resolve_name(entry) for entry in entries]  # imports modules that trunkline itself doesn't
    modules = [entry for entry in named if isinstance(entry, ModuleType)]
    return {entry.rpartition(".")[2] for entry in entries}.union(*(module.__all__ for module in modules))


@pytest.mark.parametrize("name", sorted(trunkline.__all__))
def test_every_public_name_has_an_entry(name: str) -> None:
    assert isinstance(getattr(trunkline, name), ModuleType) or name in objects() | {"__version__"}


def test_environment_variables() -> None:
    variable = re.compile(r"\bWEBSOCKETS_[A-Z_]+\b")
    sources = (ROOT / "src").rglob("*.py")
    read = {name for path in sources for name in variable.findall(path.read_text(encoding="utf-8"))}
    assert read == set(variable.findall((REFERENCE / "environment.md").read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", sorted(command.commands))
def test_options_of_the_command(name: str) -> None:
    page = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    [section] = re.findall(rf"^## trunkline {name}\b(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    options = [option for option in command.commands[name].params if isinstance(option, click.Option)]
    in_code = {option.opts[0] for option in options} - {"--version"}
    assert in_code == set(re.findall(r"^\| `(--[\w-]+)", section, re.MULTILINE))

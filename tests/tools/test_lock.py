"""requirements.lock says a version and its hashes for everything that pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]


def group(name: str) -> list[Requirement]:
    """The requirements of a dependency group, with the groups that it includes."""
    requirements: list[Requirement] = []
    for entry in PYPROJECT["dependency-groups"][name]:
        requirements += group(entry["include-group"]) if isinstance(entry, dict) else [Requirement(entry)]
    return requirements


def pins() -> dict[str, list[tuple[str, int]]]:
    """The versions of each package with the number of their hashes; more than one where markers tell them apart."""
    versions: dict[str, list[tuple[str, int]]] = {}
    for entry in re.split(r"^(?=[a-z0-9])", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)[1:]:
        name, version = re.match(r"([^=]+)==(\S+)", entry).groups()
        versions.setdefault(name, []).append((version, entry.count("--hash=sha256:")))
    return versions


def test_each_pin_has_hashes() -> None:
    assert [name for name, versions in pins().items() for _, hashes in versions if not hashes] == []


def test_each_requirement_has_pins_that_it_allows() -> None:
    locked = pins()
    for requirement in group("dev"):
        versions = locked.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement} isn't in requirements.lock: run `make lock`"
        assert all(requirement.specifier.contains(version) for version, _ in versions), f"{requirement}: {versions}"


def test_groups_repeat_what_the_package_and_its_extras_need() -> None:
    running = [*PROJECT["dependencies"], *EXTRAS["cli"], *PYPROJECT["build-system"]["requires"]]
    assert set(map(Requirement, running)) <= set(group("run"))
    extras = {Requirement(line) for extra, lines in EXTRAS.items() if extra != "cli" for line in lines}
    assert extras <= set(group("test"))

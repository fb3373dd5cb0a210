"""Loggers that the documentation and docstrings name are there, and all that are there are named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"[`\"]((?:trunkline|websockets)(?:\.\w+)+)[`\"]")

SOURCES = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
# The one whose name is made of the side of a connection, and ours: that of uvicorn is documented there
LOGGERS = {"websockets.client", "websockets.server"} | {
    name for source in SOURCES for name in re.findall(r'getLogger\("(trunkline[\w.]+)"\)', source)
}


def named_in(path: Path) -> set[str]:
    """Names of loggers in the paragraphs of a page, or the lines of a module, that speak of loggers."""
    text = path.read_text(encoding="utf-8")
    parts = text.split("\n\n") if path.suffix == ".md" else text.splitlines()
    return {name for part in parts if re.search("logger", part, re.IGNORECASE) for name in NAME.findall(part)}


PAGES = sorted([*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_loggers_of_a_page_exist(path: Path) -> None:
    assert named_in(path) <= LOGGERS


def test_loggers_of_docstrings_exist() -> None:
    modules = {name for path in (ROOT / "src").rglob("*.py") for name in named_in(path)}
    assert {"websockets.client", "websockets.server"} <= modules <= LOGGERS


def test_all_loggers_are_documented() -> None:
    assert named_in(ROOT / "docs" / "how-to" / "deploy.md") == LOGGERS

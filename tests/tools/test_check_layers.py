"""tools/check_layers.py, on small trees in which one import is wrong."""

from pathlib import Path

import pytest

from tools import check_layers


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that keeps the rules and needs all of them."""
    monkeypatch.setattr(check_layers, "LAYERS", {"public names": ("",), "core": ("core",), "asyncio": ("asyncio",)})
    rules = {"public names": ("anything",), "core": (), "asyncio": ("core",)}
    monkeypatch.setattr(check_layers, "MAY_IMPORT", rules)
    monkeypatch.setattr(check_layers, "THIRD_PARTY", {"cython": ("core",)})
    write(tmp_path, "__init__.py", "from trunkline.asyncio.server import serve\n")
    write(tmp_path, "core/__init__.py", "")
    write(tmp_path, "core/reader.py", "import cython\nimport struct\n")
    write(tmp_path, "asyncio/server.py", "import asyncio\nfrom trunkline.core import reader\n")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_a_tree_that_keeps_the_rules(tree: Path) -> None:
    assert check_layers.check(tree) == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("core/bad.py", "from trunkline.asyncio import server\n", "core must not import trunkline.asyncio.server"),
        ("core/bad.py", "from ..asyncio.server import serve\n", "core must not import trunkline.asyncio.server"),
        ("core/bad.py", "from .. import asyncio\n", "core must not import trunkline.asyncio (asyncio)"),
        ("core/bad.py", "def f():\n    import trunkline.asyncio\n", "bad.py:2: core must not import trunkline.asyncio"),
        ("core/bad.py", "import time\n", "core does no I/O and must not import time"),
        ("core/bad.py", "import asyncio.events\n", "core does no I/O and must not import asyncio"),
        ("core/bad.pyx", "from trunkline.asyncio.server cimport f\n", "core must not import trunkline.asyncio.server"),
        ("core/bad.pxd", "cimport trunkline.asyncio.server\n", "core must not import trunkline.asyncio.server"),
        ("core/bad.py", "from cython.cimports.trunkline.asyncio import f\n", "core must not import trunkline.asyncio"),
        ("asyncio/bad.py", "import cython\n", "only core may import cython"),
        ("asyncio/bad.pyx", "from libc.stdint cimport uint32_t\n", "only core may import cython"),
        ("asyncio/bad.py", "import uvloop\n", "uvloop is no dependency of trunkline"),
        ("asyncio/bad.py", "from trunkline import serve\n", "asyncio must not import trunkline (public names)"),
        ("elsewhere.py", "import struct\n", "elsewhere belongs to no layer"),
    ],
)
def test_an_import_against_the_rules(tree: Path, name: str, text: str, expected: str) -> None:
    write(tree, name, text)
    [complaint] = check_layers.check(tree)
    assert expected in complaint


def test_a_rule_about_a_layer_that_is_gone(tree: Path) -> None:
    tree.joinpath("asyncio", "server.py").unlink()
    assert "LAYERS: asyncio names asyncio, which is not in the tree" in check_layers.check(tree)


def test_a_rule_about_a_package_that_nothing_imports(tree: Path) -> None:
    write(tree, "core/reader.py", "import struct\n")
    assert check_layers.check(tree) == ["THIRD_PARTY: nothing in core imports cython"]


def test_an_exception_for_a_module_that_is_gone(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(check_layers.MAY_IMPORT, "core", ("asyncio.connection",))
    assert check_layers.check(tree) == ["MAY_IMPORT: asyncio.connection is neither a layer nor a module in the tree"]


def test_a_table_that_is_out_of_date(tree: Path) -> None:
    page = tree / "page.md"
    page.write_text(f"<!-- layers -->\n\n{check_layers.table()}\n<!-- /layers -->\n", encoding="utf-8")
    assert check_layers.check_page(page) == []
    page.write_text("<!-- layers -->\n\n| core | anything |\n\n<!-- /layers -->\n", encoding="utf-8")
    assert "out of date" in check_layers.check_page(page)[0]

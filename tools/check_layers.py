"""Check that every module of trunkline imports only what its layer may (docs/explanation/architecture.md, "The house").

    python tools/check_layers.py [PACKAGE_DIRECTORY]
    python tools/check_layers.py --table          write the table of that page anew

Prints each forbidden import with its place and the rule it breaks. Prints, too, each rule that nothing in the tree
needs, and whether the table is out of date. Exits with 1 if there are any.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = "trunkline"
PAGE = Path("docs/explanation/architecture.md")
TABLE = re.compile(r"(?<=<!-- layers -->\n\n).*?(?=\n<!-- /layers -->)", re.DOTALL)
ANYTHING = "anything"
_IO = frozenset({"asyncio", "select", "selectors", "socket", "ssl", "threading"})

# Which modules make up a layer, relative to the package; "" is the package's own __init__.
LAYERS: dict[str, tuple[str, ...]] = {
    "public names": ("",),
    "vocabulary": (
        "exceptions",
        "frames",
        "datastructures",
        "http11",
        "uri",
        "typing",
        "version",
        "extensions.base",
        "streams",
    ),
    "options": ("options",),
    "build": ("build_record", "compiled"),
    "core": ("core",),
    "extensions": ("extensions",),
    "handshake": ("handshake",),
    "json": ("json",),
    "systemd": ("systemd",),
    "proxy": ("proxy",),
    "sans-I/O": ("sansio",),
    "names": ("protocol", "client", "server"),
    "endpoint": ("endpoint",),
    "compat": ("compat", "startup"),
    "asyncio": ("asyncio",),
    "sync": ("sync",),
    "trio": ("trio",),
    "reactor": ("reactor",),
    "asgi": ("asgi", "uvicorn"),
    "rooms: vocabulary": (
        "realtime.codes",
        "realtime.publication",
        "realtime.limits",
        "realtime.options",
        "realtime.peer",
        "realtime.control",
    ),
    "rooms: wire": ("realtime.wire",),
    "rooms: program": ("realtime.program",),
    "rooms: stores": ("realtime.brokers", "realtime.presence"),
    "rooms: hub": ("realtime.hub",),
    "rooms: tokens": ("realtime.tokens",),
    "rooms: doors": ("realtime.doors",),
    "rooms: work": (
        "realtime.subscriptions",
        "realtime.commands",
        "realtime.parts",
        "realtime.publisher",
        "realtime.orders",
        "realtime.backpressure",
        "realtime.serving",
        "realtime.running",
        "realtime.deadlines",
        "realtime.tasks",
        "realtime.home",
    ),
    "rooms: interface": ("realtime",),
    "testing": ("testing",),
    "chat": ("chat",),
    "cli": ("cli", "__main__"),
}

# Layers that every driver may import. None may import another.
DRIVER = ("vocabulary", "options", "core", "handshake", "json", "proxy", "sans-I/O", "endpoint")

# All of rooms that knows neither a driver nor, but for the stores, an event loop.
ROOMS = ("rooms: vocabulary", "rooms: wire", "rooms: program", "rooms: stores", "rooms: hub", "rooms: tokens")

# Layers, or single modules of them, that a layer may import besides itself.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "public names": (ANYTHING,),
    "vocabulary": (),
    "options": ("vocabulary",),
    "build": (),
    "core": ("vocabulary",),
    "extensions": ("vocabulary", "core.deflate"),
    "handshake": ("vocabulary", "core"),
    "json": ("vocabulary",),
    "systemd": (),
    "proxy": ("vocabulary", "handshake"),
    "sans-I/O": ("vocabulary", "options", "core", "handshake"),
    "endpoint": (
        "vocabulary",
        "options",
        "build",
        "core",
        "extensions",
        "handshake",
        "proxy",
        "sans-I/O",
    ),
    "names": ("sans-I/O", "endpoint.reconnecting"),
    "compat": (),
    "asyncio": (*DRIVER, "build", "reactor"),
    "sync": DRIVER,
    "trio": DRIVER,
    "reactor": ("vocabulary", "core", "endpoint"),
    "asgi": (*DRIVER, "build", "extensions", "asyncio"),
    "rooms: vocabulary": ("vocabulary", "core"),
    "rooms: wire": ("vocabulary", "core", "json", "rooms: vocabulary"),
    "rooms: program": ("rooms: vocabulary", "rooms: wire"),
    "rooms: stores": ("vocabulary", "rooms: vocabulary"),
    "rooms: hub": ("core", "rooms: vocabulary", "rooms: wire", "rooms: program", "realtime.brokers.base"),
    "rooms: tokens": ("vocabulary",),
    "rooms: doors": ("vocabulary", "core", "handshake", "asyncio", "asgi", *ROOMS, "rooms: work"),
    "rooms: work": ("vocabulary", "core", *ROOMS),
    "rooms: interface": (*ROOMS, "rooms: work", "rooms: doors"),
    "testing": (ANYTHING,),
    "chat": (ANYTHING,),
    "cli": (ANYTHING,),
}

# Declarations that come with Cython.
CYTHON_INCLUDES = frozenset({"libc", "cpython", "posix"})

# The only modules that may import a third-party package (docs/explanation/dependencies.md).
THIRD_PARTY: dict[str, tuple[str, ...]] = {
    "cryptography": ("realtime.brokers.nats.keys",),
    "cython": ("core", "handshake", "endpoint", "asyncio", "reactor", "asgi", "realtime.wire.codecs.wireformat"),
    "fastapi": ("realtime.program.dependencies",),
    "greenlet": ("sync.fibers",),
    "httptools": ("handshake.head",),
    "isal": ("core.deflate",),
    "numpy": ("core.kernels",),
    "jwt": ("realtime.tokens",),
    "msgspec": ("json", "realtime", "chat"),
    "python_socks": ("proxy",),
    "starlette": ("realtime.doors.asgi",),
    "trio": ("trio", "testing.drivers.trio"),
    "uvicorn": ("uvicorn",),
    "werkzeug": ("endpoint.router",),
    "click": ("cli",),
    "rich": ("cli",),
    "prompt_toolkit": ("cli",),
}

# Standard modules that a layer without I/O must not touch: the driver passes in bytes and, to the core, the time.
FORBIDDEN: dict[str, frozenset[str]] = {
    "core": _IO | {"logging", "time"},
    "handshake": _IO,
    "proxy": _IO,
    "sans-I/O": _IO | {"time"},
    "endpoint": _IO | {"time"},
    "rooms: vocabulary": _IO | {"time"},
    "rooms: wire": _IO | {"time"},
    "rooms: program": _IO | {"time"},
    "rooms: hub": _IO | {"time"},
}


class Import(NamedTuple):
    """One import statement: in which module, where, and of what."""

    module: str
    place: str
    target: str


def module_name(path: Path, root: Path) -> str:
    """The dotted name of a source file relative to the package: `core.reader`, or "" for the package itself."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(module: str, prefixes: tuple[str, ...]) -> bool:
    """Whether `module` is one of `prefixes` or lies below one of them."""
    return any(module == prefix or (prefix and module.startswith(f"{prefix}.")) for prefix in prefixes)


def layer_of(module: str) -> str | None:
    """The layer that a module belongs to."""
    return next((layer for layer, prefixes in LAYERS.items() if within(module, prefixes)), None)


def imports_of(path: Path, root: Path) -> Iterator[Import]:
    """Every import of a source file, those inside functions and those for type checking too."""
    module = module_name(path, root)
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    text = path.read_text(encoding="utf-8")
    for line, name in _python_imports(text, package, root) if path.suffix == ".py" else _cython_imports(text):
        # In pure Python mode, cython.cimports.NAME is what `cimport NAME` is in a .pyx file.
        target = name.removeprefix("cython.cimports.")
        yield Import(module, f"{path}:{line}", "cython" if target.partition(".")[0] in CYTHON_INCLUDES else target)


def _python_imports(text: str, package: str, root: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, package)
            for alias in node.names:
                yield node.lineno, _member(source, alias.name, root)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """The module named by `from MODULE import`, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    parents = [PACKAGE, *package.split(".")] if package else [PACKAGE]
    parents = parents[: len(parents) - node.level + 1]
    return ".".join([*parents, node.module] if node.module else parents)


def _member(source: str, name: str, root: Path) -> str:
    """`from source import name` imports a module of that name where there is one, else the module `source`."""
    if source.partition(".")[0] != PACKAGE:
        return source
    path = root.joinpath(*source.split(".")[1:], name)
    is_module = path.is_dir() or any(path.with_suffix(suffix).exists() for suffix in (".py", ".pyx", ".pxd"))
    return f"{source}.{name}" if is_module else source


def _cython_imports(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r"\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", line)
        if match:
            yield number, match[1] or match[2]


def complaint(item: Import) -> str | None:
    """Why an import is forbidden, or None if it is allowed."""
    layer = layer_of(item.module)
    if layer is None:
        return f"{item.place}: {item.module} belongs to no layer; give it one in LAYERS"
    top, _, inner = item.target.partition(".")
    if top == PACKAGE:
        target = layer_of(inner)
        rules = MAY_IMPORT[layer]
        if target == layer or target in rules or ANYTHING in rules or within(inner, rules):
            return None
        return f"{item.place}: {layer} must not import {item.target} ({target or 'no layer'})"
    if top in THIRD_PARTY:
        if within(item.module, THIRD_PARTY[top]):
            return None
        return f"{item.place}: only {', '.join(THIRD_PARTY[top])} may import {top}, not {item.module}"
    if top in FORBIDDEN.get(layer, ()):
        return f"{item.place}: {layer} does no I/O and must not import {top}; the driver passes in what it needs"
    if top not in sys.stdlib_module_names:
        return f"{item.place}: {top} is no dependency of trunkline; if it shall be one, give it a line in THIRD_PARTY"
    return None


def stale_rules(modules: set[str], imports: list[Import]) -> Iterator[str]:
    """Rules about what is not in the tree: a rule that cannot be broken misleads its readers."""
    for layer, prefixes in LAYERS.items():
        for prefix in prefixes:
            if not any(within(module, (prefix,)) for module in modules):
                yield f"LAYERS: {layer} names {prefix or PACKAGE}, which is not in the tree"
    for rules in MAY_IMPORT.values():
        for rule in rules:
            if rule not in LAYERS and rule != ANYTHING and rule not in modules:
                yield f"MAY_IMPORT: {rule} is neither a layer nor a module in the tree"
    for package, users in THIRD_PARTY.items():
        for user in users:
            if not any(item.target.partition(".")[0] == package and within(item.module, (user,)) for item in imports):
                yield f"THIRD_PARTY: nothing in {user} imports {package}"


def check(root: Path) -> list[str]:
    """All complaints about the package in the directory `root`."""
    paths = sorted(path for suffix in ("py", "pyx", "pxd") for path in root.rglob(f"*.{suffix}"))
    imports = [item for path in paths for item in imports_of(path, root)]
    forbidden = [message for item in imports if (message := complaint(item))]
    return forbidden + list(stale_rules({module_name(path, root) for path in paths}, imports))


def table() -> str:
    """The rules as the page on the architecture shows them."""
    rows = ["| layer | may import |", "| --- | --- |"]
    for layer, rules in MAY_IMPORT.items():
        rows.append(f"| {layer} | {', '.join(rules) or 'nothing'} |")
    return "\n".join(rows) + "\n"


def check_page(page: Path) -> list[str]:
    """Whether the table on the page says what holds."""
    match = TABLE.search(page.read_text(encoding="utf-8"))
    if match is not None and match[0] == table():
        return []
    return [f"{page}: the table of layers is out of date; run python tools/check_layers.py --table"]


if __name__ == "__main__":
    if "--table" in sys.argv:
        PAGE.write_text(TABLE.sub(lambda _: table(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        sys.exit()
    complaints = check(Path(sys.argv[1])) if len(sys.argv) > 1 else check(Path("src") / PACKAGE) + check_page(PAGE)
    print(*(complaints or ["layers: every import is where it may be"]), sep="\n")
    sys.exit(bool(complaints))

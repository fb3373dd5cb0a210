"""Check that tests mirror the sources path for path, and that a table says where they do not.

    python tools/check_mirror.py

`src/trunkline/handshake/server.py` is tested by `tests/handshake/test_server.py`. A module with many tests has more
files, such as `test_server_limits.py`, or a folder `tests/handshake/server`. A module without functions and classes
needs no tests. Prints each module without tests, each test without a module, and each line of the tables below that is
not needed any more. Exits with 1 if there are any.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

SOURCES = Path("src/trunkline")
TESTS = Path("tests")

#: Modules that are tested through others: the tests, as a pattern below `tests`.
TESTED_BY = {
    "asgi/__init__": "asgi/test_websocket.py",
    "asgi/link": "asgi/test_connection*.py",
    "asyncio/carrier": "asyncio/test_connection*.py",
    "asyncio/coroutines": "asyncio/test_connection*.py",
    "asyncio/link": "asyncio/test_connection*.py",
    "asyncio/opening": "asyncio/test_server*.py",
    "asyncio/receiving": "asyncio/test_connection*.py",
    "asyncio/server_link": "asyncio/test_server*.py",
    "asyncio/shared": "asyncio/test_connection*.py",
    "endpoint/broadcast": "*/test_conformance.py",
    "endpoint/fragments": "*/test_conformance.py",
    "endpoint/life": "*/test_conformance.py",
    "endpoint/line": "asyncio/test_connection*.py",
    "endpoint/messages": "*/test_conformance.py",
    "endpoint/router": "*/test_router.py",
    "handshake/log": "*/test_conformance.py",
    "reactor/sockets": "reactor/test_epoll.py",
    "reactor/system": "reactor/test_epoll.py",
    "reactor/tls": "asyncio/test_tls.py",
    "reactor/transport": "reactor/test_epoll.py",
    "realtime/brokers/envelope": "realtime/brokers/redis/test_*.py",
    "realtime/brokers/following": "realtime/brokers/test_tail.py",
    "realtime/brokers/link": "realtime/brokers/*/test_link.py",
    "realtime/brokers/local": "realtime/brokers/test_*.py",
    "realtime/brokers/redis": "realtime/brokers/redis/test_*.py",
    "realtime/brokers/nats": "realtime/brokers/nats/test_*.py",
    "realtime/brokers/wire": "realtime/brokers/*/test_link.py",
    "realtime/brokers/sqlite_store": "realtime/brokers/test_sqlite.py",
    "realtime/commands/answer": "realtime/commands/test_dispatch*.py",
    "realtime/commands/ends": "realtime/commands/test_refresh*.py",
    "realtime/commands/initial": "realtime/commands/test_connect*.py",
    "realtime/commands/permissions": "realtime/commands/test_publish.py",
    "realtime/commands/plain": "realtime/test_node.py",
    "realtime/hub/room": "realtime/hub/test_hub.py",
    "realtime/hub/stats": "realtime/hub/test_hub.py",
    "realtime/hub/subscription": "realtime/subscriptions/test_*.py",
    "realtime/options": "realtime/test_node_mistakes.py",
    "realtime/parts": "realtime/test_node.py",
    "realtime/program/declaring": "realtime/program/test_hooks.py",
    "realtime/program/functions": "realtime/program/test_hooks.py",
    "realtime/publication": "realtime/brokers/test_*.py",
    "realtime/publisher": "realtime/commands/test_publish.py",
    "realtime/serving": "realtime/test_running.py",
    "realtime/wire/codecs/__init__": "realtime/wire/codecs/test_*.py",
    "realtime/wire/codecs/base": "realtime/wire/codecs/test_*.py",
    "realtime/wire/codecs/wireformat": "realtime/wire/codecs/test_protobuf.py",
    "realtime/wire/messages": "realtime/wire/codecs/test_*.py",
    "startup/sitecustomize": "test_compat.py",
    "sync/carrier": "sync/test_conformance.py",
    "sync/opening": "sync/test_server*.py",
    "sync/receiving": "sync/test_connection*.py",
    "testing/brokers": "testing/test_brokers.py",
    "testing/conformance": "*/test_conformance.py",
    "testing/driver": "*/test_conformance.py",
    "testing/drivers": "*/test_conformance.py",
    "testing/tls": "*/test_conformance.py",
    "testing/wire": "testing/test_peer.py",
    "trio/carrier": "trio/test_conformance.py",
    "trio/opening": "trio/test_server*.py",
    "trio/receiving": "trio/test_connection*.py",
}

#: Tests that look at many modules together.
ACROSS = (
    "*/test_conformance.py",  # a driver, in the suite of trunkline.testing
    "asyncio/test_semantics*.py",  # both engines, on each event loop
    "asyncio/test_deflate.py",
    "asyncio/test_tls.py",
    "sync/test_gevent.py",
    "realtime/test_fire.py",  # all of recovery, with cut connections and slow clients
    "test_conftest.py",
    "browser/**/*.py",
    "interface/**/*.py",  # methods, types and hints, as programs see them
    "interop/**/*.py",
    "robustness/**/*.py",
    "tutorial/**/*.py",
    "realtime/brokers/*/test_nodes.py",  # several processes
    "realtime/js/*.py",  # clients in other languages
    "realtime/go/*.py",
    "realtime/java/*.py",
    # of other folders than src
    "benchmarks/**/*.py",
    "compliance/**/*.py",
    "docs/**/*.py",
    "examples/**/*.py",
    "fuzz/**/*.py",
    "tools/**/*.py",
)


def has_code(path: Path) -> bool:
    """Whether a module has functions or classes of its own."""
    if path.suffix != ".py":
        return True
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in body)


def modules() -> Iterator[str]:
    """All modules of the package, as paths without a suffix."""
    for path in sorted([*SOURCES.rglob("*.py"), *SOURCES.rglob("*.pyx")]):
        yield path.relative_to(SOURCES).with_suffix("").as_posix()


def source(module: str) -> Path:
    path = SOURCES / module
    return path.with_suffix(".py") if path.with_suffix(".py").exists() else path.with_suffix(".pyx")


def mirrors(module: str) -> tuple[str, ...]:
    """Patterns, below `tests`, of the tests of a module."""
    if module.endswith("/__init__"):
        package = mirrors(module.removesuffix("/__init__"))[0]
        return f"{module.removesuffix('__init__')}test_init.py", package
    folder, _, name = module.rpartition("/")
    path = f"{folder}/" if folder else ""
    name = name.strip("_")
    return f"{path}test_{name}.py", f"{path}test_{name}_*.py", f"{path}{name}/test_*.py"


def entry_for(module: str) -> str | None:
    """The entry of TESTED_BY for a module: its own, or that of a package around it."""
    return next((entry for entry in TESTED_BY if f"{module}/".startswith(f"{entry}/")), None)


def tests_of(patterns: Iterable[str]) -> set[Path]:
    return {path for pattern in patterns for path in TESTS.glob(pattern)}


def check() -> list[str]:
    """All complaints."""
    untested = [module for module in modules() if has_code(source(module)) and not tests_of(mirrors(module))]
    entries = {module: entry_for(module) for module in untested}
    mirrored = tests_of(pattern for module in modules() for pattern in mirrors(module))
    return [
        *(
            f"{source(module)}: no {TESTS / mirrors(module)[0]}; add it, or a line in TESTED_BY"
            for module, entry in entries.items()
            if entry is None
        ),
        *(
            f"{test}: no module has that name; rename it, or add a line to ACROSS"
            for test in sorted(set(TESTS.rglob("test_*.py")) - mirrored - tests_of(ACROSS))
        ),
        *(
            f"TESTED_BY: {entry} has tests of its own, or is gone"
            for entry in TESTED_BY
            if entry not in entries.values()
        ),
        *(
            f"{pattern}: there are no such tests"
            for pattern in {*TESTED_BY.values(), *ACROSS}
            if not tests_of([pattern])
        ),
    ]


if __name__ == "__main__":
    complaints = check()
    print(*(complaints or ["mirror: every module has its tests where they belong"]), sep="\n")
    sys.exit(bool(complaints))

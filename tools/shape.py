"""Print the shape of the source: long files, classes and functions, circles of imports, lines that stand twice.

    python -m tools.shape [PACKAGE_DIRECTORY]

It judges nothing: it shows where a reader has most to hold in mind, and lets two states of the source be compared.
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools.check_layers import PACKAGE, imports_of, module_name

LONG_FUNCTION = 40  # lines
MOST = 6  # names in a list of the longest
SAME_LINES = 6  # that make a place count as one that stands twice
DRIVERS = ("asyncio", "sync", "trio")


class Span(NamedTuple):
    """A definition, and how many lines it has."""

    lines: int
    kind: str
    name: str


def definitions(path: Path, root: Path) -> Iterator[Span]:
    """The classes and functions of a source file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                kind = "class" if isinstance(node, ast.ClassDef) else "function"
                yield Span((node.end_lineno or 0) - node.lineno + 1, kind, f"{module_name(path, root)}:{node.name}")
    else:
        yield from _cython_definitions(text.splitlines(), module_name(path, root))


def _cython_definitions(lines: list[str], module: str) -> Iterator[Span]:
    """A definition ends before the next line that isn't indented further."""
    starts = re.compile(r"(\s*)(?:cp?def|def)\b(?: class)?(?!\s*(?:extern|enum|struct)).*?(\w+)\s*(?:\(|:)")
    for number, line in enumerate(lines):
        if not line.rstrip().endswith((":", ",", "(")) or not (match := starts.match(line)):
            continue
        deeper = len(match[1])
        inside = [n for n in range(number + 1, len(lines)) if lines[n].strip()]
        after = next((n for n in inside if len(lines[n]) - len(lines[n].lstrip()) <= deeper), len(lines))
        kind = "class" if "class" in line.split("(")[0] else "function"
        yield Span(after - number, kind, f"{module}:{match[2]}")


def circles(paths: list[Path], root: Path) -> list[list[str]]:
    """Modules that import each other, directly or through others, cimports included."""
    modules = {module_name(path, root) for path in paths}
    uses: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        for item in imports_of(path, root):
            target = item.target.removeprefix(f"{PACKAGE}.")
            if target in modules and target != item.module:
                uses[item.module].add(target)
    reach = {module: _reachable(module, uses) for module in modules}
    circle_sets = {frozenset({m, *(o for o in reach[m] if m in reach[o])}) for m in modules if m in reach[m]}
    return sorted(sorted(circle) for circle in circle_sets)


def _reachable(start: str, uses: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for target in uses[waiting.pop()] - seen:
            seen.add(target)
            waiting.append(target)
    return seen


def twice(paths: list[Path]) -> int:
    """How many runs of `SAME_LINES` lines of code stand in more than one place."""
    places: dict[tuple[str, ...], set[Path]] = defaultdict(set)
    for path in paths:
        stripped = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
        lines = [line for line in stripped if len(line) > 3 and not line.startswith(("#", "import ", "from ", '"'))]
        for start in range(len(lines) - SAME_LINES + 1):
            places[tuple(lines[start : start + SAME_LINES])].add(path)
    return sum(len(files) > 1 for files in places.values())


def report(root: Path) -> Iterator[str]:
    """The shape of the package in the directory `root`, line by line."""
    paths = sorted(path for suffix in ("py", "pyx", "pxd") for path in root.rglob(f"*.{suffix}"))
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in paths}
    spans = sorted((span for path in paths for span in definitions(path, root)), reverse=True)
    classes = [f"{span.name} {span.lines}" for span in spans if span.kind == "class"]
    functions = [f"{s.name} {s.lines}" for s in spans if s.kind == "function" and s.lines > LONG_FUNCTION]
    files = [f"{path.relative_to(root)} {lines[path]}" for path in sorted(paths, key=lambda path: -lines[path])]
    yield f"{sum(lines.values())} lines in {len(paths)} files"
    for driver in DRIVERS:
        yield f"{sum(n for path, n in lines.items() if root / driver in path.parents)} lines in {driver}/"
    yield "longest files:   " + ", ".join(files[:MOST])
    yield "longest classes: " + ", ".join(classes[:MOST])
    yield f"{len(functions)} functions over {LONG_FUNCTION} lines: " + ", ".join(functions)
    loops = circles(paths, root)
    yield f"{len(loops)} circles of imports" + "".join(f"\n    {' <-> '.join(circle)}" for circle in loops)
    yield f"{twice(paths)} runs of {SAME_LINES} lines stand in several files"


if __name__ == "__main__":
    print(*report(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("src") / PACKAGE), sep="\n")

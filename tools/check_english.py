"""Check comments, docstrings and pages for what makes English hard to read, as far as a machine can tell.

    python tools/check_english.py [PATH ...]

Each sentence has at most 25 words, and begins with the thing that acts, as in "The client …". No variable has a
participle for its name, such as `found`. Chinese has full-width punctuation.

Prints each sentence that breaks a rule, with its place. Exits with 1 if there are any.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MOST_WORDS = 25  # in one sentence
FOLDERS = ("src", "tests", "tools", "benchmarks", "compliance", "examples", "fuzz", "docs")
FILES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml", "setup.py", ".ci/run")

VAGUE_SUBJECT = re.compile(
    r"(?:^(?:Who|What|Whoever|Whatever|Somebody|Someone|Nobody|No one)|; (?:who|what|whatever))\s+(?!if\b)[a-z]"
)
VAGUE_WORD = re.compile(r"(?<!\")\b(?:whoever|(?:some|any|every|no)body|someone|everyone)\b(?!\")", re.IGNORECASE)
END_OF_SENTENCE = re.compile(r"(?<=[.!?])[\"')*_]*\s+(?=[\"'(*_`]*(?:[A-Z0-9]|trunkline|uvicorn|websockets|kosoku))")
ABBREVIATIONS = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf|No)\.\s")
CODE = re.compile(r"`+[^`]*`+|\[([^\]]*)\]\([^)]*\)|https?://\S+")
LABEL = re.compile(r"^[\w*`.,|()\[\]]+(?: [\w*`.,|()\[\]]+){0,2}:\s+")  # "name: meaning", as in a list of arguments
WORD = re.compile(r"[\w'’./-]*[a-zA-Z][\w'’./-]*")  # no figures, of which lists of test cases consist
MARKDOWN_ASIDE = re.compile(r"    |\s*(?:[|#>!]|---|===|\?\?\?|<)")
PARTICIPLES = frozenset({"found", "retained", "late"})
CHINESE = re.compile(r"[\u4e00-\u9fff]")
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,:;?!(]|[,:;?!)][\u4e00-\u9fff]")


class Block(NamedTuple):
    """Text that stands together, and the line where it begins."""

    line: int
    text: str


def paragraphs(lines: list[str], first_line: int) -> Iterator[Block]:
    """Split text at empty lines, at items of lists, and at lines that are indented as code is."""
    start, kept = first_line, list[str]()
    in_code = False
    base = min((len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()), default=0)
    for number, line in enumerate(lines, first_line):
        text = line.strip()
        indent = len(line) - len(line.lstrip()) - (base if number > first_line else 0)
        in_code = bool(text) and indent >= 4 and (in_code or not kept)
        starts_item = re.match(r"([-*•·] |\d+\. |[\w.*`, ]{1,40}: )", text) is not None
        if kept and (not text or starts_item):
            yield Block(start, " ".join(kept))
            kept = []
        if text and not in_code and not text.startswith("|"):  # a row of a table
            start = start if kept else number
            kept.append(re.sub(r"^([-*•·]|\d+\.) ", "", text))
    if kept:
        yield Block(start, " ".join(kept))


def definitions(node: ast.AST) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """A module, and the classes and functions in it; expressions, which are many, have none."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from definitions(child)


def of_python(source: str) -> Iterator[Block]:
    """The comments and docstrings of a module."""
    for node in definitions(ast.parse(source)):
        docstring = ast.get_docstring(node, clean=False)
        if docstring is not None:
            yield from paragraphs(docstring.splitlines(), node.body[0].lineno)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    yield from join_comments((t.start[0], t.line[: t.start[1]], t.string) for t in tokens if t.type == tokenize.COMMENT)


def of_cython(source: str) -> Iterator[Block]:
    """The same for Cython, which `ast` does not read."""
    for match in re.finditer(r'(extern from \*:\s+)?"""(.*?)"""', source, re.DOTALL):
        if match[1] is None:  # else it is C
            yield from paragraphs(match[2].splitlines(), source.count("\n", 0, match.start()) + 1)
    lines = enumerate(source.splitlines(), 1)
    comments = ((number, re.search(r"(?<![\"'\w])#(?: |:).*", line), line) for number, line in lines)
    yield from join_comments((number, line[: match.start()], match[0]) for number, match, line in comments if match)


def of_script(source: str) -> Iterator[Block]:
    """The comments of a shell script, a Makefile or a TOML file: lines of their own."""
    lines = enumerate(source.splitlines(), 1)
    yield from join_comments((number, "", line.strip()) for number, line in lines if re.match(r"\s*#(?: |$)", line))


def of_c(source: str) -> Iterator[Block]:
    """The comments of C, and of languages that have the same: JavaScript, CSS, Go, Java."""
    for match in re.finditer(r"/\*+(.*?)\*/", source, re.DOTALL):
        lines = [re.sub(r"^\s*\* ?|@.*", "", line) for line in match[1].splitlines()]  # @param is no sentence
        yield from paragraphs(lines, source.count("\n", 0, match.start()) + 1)
    lines_of_code = enumerate(source.splitlines(), 1)
    comments = ((number, re.search(r"(?<![:\"'`\w])// .*", line), line) for number, line in lines_of_code)
    yield from join_comments((n, line[: match.start()], f"#{match[0][2:]}") for n, match, line in comments if match)


def join_comments(comments: Iterator[tuple[int, str, str]]) -> Iterator[Block]:
    """Comments on lines that follow each other are one text, unless they stand behind code.

    Args:
        comments: for each its line, what stands before it on that line, and itself.
    """
    start, last_line, indent = 0, 0, ""
    kept: list[str] = []
    for line, before, text in comments:
        if kept and (line != last_line + 1 or before != indent or before.strip()):
            yield from paragraphs(kept, start)
            kept = []
        start = start if kept else line
        kept.append(re.sub(r"^#:? ?", "", text))
        last_line, indent = line, before
    yield from paragraphs(kept, start)


def of_markdown(source: str) -> Iterator[Block]:
    """The prose of a page: no code, no tables, no headings."""
    kept: list[str] = []
    in_fence = False
    for line in source.splitlines():
        if line.lstrip().startswith(("```", "~~~")):
            in_fence = not in_fence
            kept.append("")
        else:
            kept.append("" if in_fence or MARKDOWN_ASIDE.match(line) else line.lstrip())
    yield from paragraphs(kept, 1)


def complaints_about(text: str) -> Iterator[str]:
    """Complaints about the sentences of one paragraph."""
    plain = ABBREVIATIONS.sub("so ", CODE.sub(lambda match: match[1] or "Code", text))
    for sentence in END_OF_SENTENCE.split(LABEL.sub("", plain)):
        words = WORD.findall(sentence)
        if CHINESE.search(sentence):
            if HALF_WIDTH.search(sentence):
                yield f"Chinese has full-width punctuation: {sentence}"
        elif len(words) > MOST_WORDS:
            yield f"{len(words)} words, at most {MOST_WORDS}: {sentence}"
        elif VAGUE_SUBJECT.search(sentence) and not sentence.rstrip().endswith("?"):
            yield f"name the thing that acts: {sentence}"
        elif VAGUE_WORD.search(sentence):
            yield f"name the client, the caller, the task: {sentence}"


READERS = (
    {".py": of_python, ".pyx": of_cython, ".pxd": of_cython, ".md": of_markdown}
    | dict.fromkeys((".sh", ".toml", ""), of_script)
    | dict.fromkeys((".c", ".h", ".js", ".mjs", ".css", ".go", ".java"), of_c)
)
SKIPPED = frozenset({"node_modules", "__pycache__", "build", "lib", "reports"})


def complaints_about_names(source: str) -> Iterator[tuple[int, str]]:
    """Variables and parameters that say what happened to a thing, not what the thing is."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg) and node.arg in PARTICIPLES:
            yield node.lineno, f"name the thing, not what happened to it: {node.arg}"
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in PARTICIPLES:
            yield node.lineno, f"name the thing, not what happened to it: {node.id}"


def check(paths: list[Path]) -> list[str]:
    """All complaints about files, and the files in folders."""
    complaints: list[str] = []
    files = (file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*"))))
    for file in files:
        if file.suffix in READERS and file.is_file() and not SKIPPED.intersection(file.parts):
            text = file.read_text(encoding="utf-8")
            for block in READERS[file.suffix](text):
                complaints += [f"{file}:{block.line}: {complaint}" for complaint in complaints_about(block.text)]
            if file.suffix == ".py" and any(name in text for name in PARTICIPLES):
                complaints += [f"{file}:{line}: {complaint}" for line, complaint in complaints_about_names(text)]
    return complaints


if __name__ == "__main__":
    complaints = check([Path(name) for name in sys.argv[1:] or FOLDERS + FILES])
    print(*(complaints or ["english: nothing that a machine can find"]), sep="\n")
    sys.exit(bool(complaints))

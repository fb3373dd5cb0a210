"""Every Python block of the documentation is a complete program, and runs here in the order of its page.

* A block titled test_*.py runs under pytest.
* A program that serves, and does not connect, is a server: it runs until the next program of the page that serves.
* Every other block runs to its end and must exit with 0; if a block titled "output" follows, it must print that.
* A console command that begins with openssl makes files that the programs of the page read.

Nothing of a program is changed but its port.
"""

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.process import environment, free_port, wait_until_it_listens

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in [*ROOT.glob("README*.md"), *ROOT.glob("CONTRIBUTING.md"), *ROOT.glob("docs/**/*.md")]
    if "```python" in path.read_text(encoding="utf-8")
)
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
PORT = "8765"
SECONDS = 30


class Block(NamedTuple):
    """A fenced block: its language, title and text."""

    language: str
    title: str
    text: str

    @property
    def is_test(self) -> bool:
        return self.title.startswith("test_")

    @property
    def serves(self) -> bool:
        return bool(re.search(r"\b(?:serve|uvicorn\.run)\(", self.text))

    @property
    def is_server(self) -> bool:
        return self.serves and not re.search(r"\bconnect\(", self.text)


def blocks_of(page: Path) -> list[Block]:
    return [Block(*fence) for fence in FENCE.findall(page.read_text(encoding="utf-8"))]


class Runner:
    """Runs the blocks of one page in a directory of their own, on a port of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.servers = ExitStack()

    def run(self, block: Block, output: str | None) -> None:
        if block.serves:
            self.servers.close()
        if block.language == "console":
            self._make_files(block.text)
        elif block.is_test:
            self._finish(self._start(block, "-m", "pytest", "-q", "-p", "no:cacheprovider"), None)
        elif block.is_server:
            self.servers.enter_context(self._serving(block))
        elif block.language == "python":
            self._finish(self._start(block), output)

    def _make_files(self, console: str) -> None:
        for command in re.findall(r"^\$ (openssl .*)$", console, re.MULTILINE):
            subprocess.run(shlex.split(command), cwd=self.directory, capture_output=True, timeout=SECONDS, check=True)

    def _start(self, block: Block, *options: str) -> subprocess.Popen[str]:
        program = self.directory / (block.title or "program.py")
        program.write_text(block.text.replace(PORT, str(self.port)), encoding="utf-8")
        return subprocess.Popen(
            [sys.executable, *options, program.name],
            cwd=self.directory,
            env=environment(PYTHONUTF8="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _finish(self, process: subprocess.Popen[str], output: str | None) -> None:
        printed, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, printed + errors
        if output is not None:
            assert printed == output, errors

    @contextmanager
    def _serving(self, block: Block) -> Iterator[None]:
        process = self._start(block)
        try:
            wait_until_it_listens(process, self.port)
            yield
            assert process.poll() is None, "the server stopped by itself"
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=SECONDS)
        assert "connection handler failed" not in errors, errors


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_program_of_the_page_runs(page: Path, tmp_path: Path) -> None:
    blocks = blocks_of(page)
    runner = Runner(tmp_path)
    with runner.servers:
        for block, following in zip(blocks, [*blocks[1:], None], strict=True):
            runner.run(block, following.text if following and following.title == "output" else None)


def test_there_are_pages() -> None:
    assert ROOT / "README.md" in PAGES
    assert ROOT / "docs" / "tutorial" / "chat.md" in PAGES

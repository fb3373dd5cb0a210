"""A headless Chromium, and chat rooms for its pages. Without Chromium or Playwright these tests are skipped.

`TRUNKLINE_REQUIRE_ALL=1` turns skipped tests into failures (see tests/conftest.py).
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.chromium import chromium
from tests.support.process import environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OpenPage = Callable[..., "Page"]


class ChatProcess:
    """``trunkline chat`` in a process of its own, which can be stopped and started again on the same port.

    Args:
        options: of the command.
    """

    def __init__(self, *options: str) -> None:
        self.port = 0
        self.options = options
        self.start()

    def start(self) -> None:
        """Start, and wait until it listens."""
        command = (sys.executable, "-m", "trunkline", "chat", "--port", str(self.port), *self.options)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if address := re.search(r"ws://localhost:(\d+)/", line):
                self.port = int(address[1])
                return
        raise AssertionError("the chat room did not open")

    def __enter__(self) -> ChatProcess:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop, and wait until it has."""
        with self.process:
            self.process.terminate()


@pytest.fixture
def chat() -> Iterator[ChatProcess]:
    """A chat room on a port of its own."""
    with ChatProcess() as process:
        yield process


@pytest.fixture(scope="module")  # not longer: Playwright keeps an event loop running, and other tests want their own
def browser() -> Iterator[Browser]:
    """Chromium, once for all tests of a module."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser, chat: ChatProcess) -> Iterator[OpenPage]:
    """A function that opens the chat page as a person of this name, in a browser profile of their own.

    Faults of the page are faults of the test.
    """
    faults: list[str] = []
    with contextlib.ExitStack() as stack:

        def open_page(name: str, path: str = "/", port: int = chat.port, **options: Any) -> Page:
            context = browser.new_context(**options)
            stack.callback(context.close)
            page = context.new_page()
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.goto(f"http://localhost:{port}{path}")
            page.get_by_label("as", exact=True).fill(name)
            page.get_by_label("as", exact=True).press("Enter")
            page.wait_for_function("name => document.querySelector('.me bdi')?.textContent === name", arg=name)
            return page

        yield open_page
    assert not faults

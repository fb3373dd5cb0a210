"""The page of docs/how-to/browser.md does in a browser what the guide says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.docs.test_code_blocks import ROOT, blocks_of, free_port
from tests.support.process import environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def say(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_label("Message").press("Enter")


def test_the_page_of_the_guide_comes_back(browser: Browser, tmp_path: Path) -> None:
    port = free_port()
    for block in blocks_of(ROOT / "docs" / "how-to" / "browser.md"):
        if block.title:
            (tmp_path / block.title).write_text(block.text.replace("8765", str(port)), encoding="utf-8")

    def serve() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "server.py"], cwd=tmp_path, env=environment())

    context = browser.new_context()
    one, other = context.new_page(), context.new_page()
    with serve() as server:
        for page in (one, other):
            for _ in range(100):
                try:
                    page.goto(f"http://localhost:{port}/")
                    break
                except Exception:  # the server is not there yet
                    page.wait_for_timeout(100)
            page.get_by_text("Connected").wait_for()
        say(one, "before")
        for page in (one, other):
            page.get_by_role("listitem").get_by_text("before").wait_for()
        late_page = context.new_page()
        late_page.goto(f"http://localhost:{port}/")
        late_page.get_by_role("listitem").get_by_text("before").wait_for()
        server.terminate()
    one.get_by_text("Connecting").wait_for()
    with serve() as server:
        for page in (one, other):
            page.get_by_text("Connected").wait_for()
        say(other, "after")
        one.get_by_role("listitem").get_by_text("after").wait_for()
        server.terminate()
    context.close()

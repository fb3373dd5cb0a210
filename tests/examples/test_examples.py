"""Every example, started as its README says, with its page in two windows of a real browser."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.chromium import chromium
from tests.support.process import environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EXAMPLES = Path(__file__).parents[2] / "examples"

Open = Callable[[], "Page"]


@contextlib.contextmanager
def program(name: str, *arguments: str) -> Iterator[str]:
    """Run an example; gives the first line that it prints."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@contextlib.contextmanager
def opened(browser: Browser, name: str) -> Iterator[tuple[str, Open]]:
    """The address of an example, and a function that opens its page in a window of its own."""
    with program(name, "0") as address, contextlib.ExitStack() as stack:

        def open_page() -> Page:
            context = browser.new_context()
            stack.callback(context.close)
            page = context.new_page()
            page.on("pageerror", lambda error: pytest.fail(f"a script failed: {error}"))
            page.goto(address)
            page.wait_for_function("state.textContent === 'connected'")
            return page

        yield address, open_page


def test_ticker(browser: Browser) -> None:
    with opened(browser, "ticker.py") as (_, open_page):
        page = open_page()
        page.wait_for_function("prices.rows.length === 5")
        before = page.inner_text("#prices")
        page.wait_for_function("before => prices.innerText !== before", arg=before)


INK = "() => board.getContext('2d').getImageData(500, 500, 1, 1).data[3] > 0"


def test_board(browser: Browser) -> None:
    with opened(browser, "board.py") as (_, open_page):
        first, second = open_page(), open_page()
        box = first.locator("#board").bounding_box()
        assert box is not None
        x, y = box["x"], box["y"] + box["height"] / 2
        first.mouse.move(x + 20, y)
        first.mouse.down()
        first.mouse.move(x + box["width"] - 20, y, steps=10)
        first.mouse.up()
        second.wait_for_function(INK)
        late_page = open_page()
        late_page.wait_for_function(INK)


def test_board_refuses_what_is_no_stroke(browser: Browser) -> None:
    with opened(browser, "board.py") as (_, open_page):
        refused = """async () => {
            const { Client } = await import("/trunkline.js");
            const client = new Client("/connection/websocket");
            const channel = client.subscribe("board:demo");
            client.connect();
            return channel.publish({ color: "javascript:", points: [] }).catch((error) => error.code);
        }"""
        assert open_page().evaluate(refused) == 107  # bad request


def test_remote(browser: Browser) -> None:
    with opened(browser, "remote.py") as (address, open_page):
        page = open_page()
        page.get_by_role("button", name="Power").click()
        page.wait_for_function("state.textContent === 'the lamp is not connected'")
        with program("device.py", address.replace("http", "ws") + "/devices/lamp"):
            # The lamp may still be connecting: press until it does what it is told.
            while page.get_attribute("#lamp", "aria-label") == "off":
                page.get_by_role("button", name="Power").click()
                page.wait_for_timeout(50)
            page.get_by_role("button", name="Brighter").click()
            page.wait_for_function("lamp.getAttribute('aria-label') === 'on, brightness 60 %'")
            late_page = open_page()
            late_page.wait_for_function("lamp.getAttribute('aria-label') === 'on, brightness 60 %'")


def test_game(browser: Browser) -> None:
    with opened(browser, "game.py") as (_, open_page):
        page = open_page()
        open_page()
        world = """() => new Promise(async (resolve) => {
            const { Client } = await import("/trunkline.js");
            const client = new Client("/connection/websocket");
            client.subscribe("arena").addEventListener("publication", ({ data }) => resolve(data));
            client.connect();
        })"""
        assert len(page.evaluate(world)["players"]) == 3  # the two pages, and who asks
        page.locator("#arena").focus()
        page.keyboard.down("ArrowRight")
        page.wait_for_function(
            """async (world) => Object.values((await eval(world)()).players).some(({ x }) => x === 1000)""", arg=world
        )

"""The chat page in a real browser, together with clients of other makes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from websockets.sync.client import connect

from tests.browser.conftest import ChatProcess, OpenPage
from tests.support.process import environment

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

# The client of the tutorial, section 5.
TUTORIAL_CLIENT = """
import asyncio
import {library} as websockets

async def client():
    async with websockets.connect("ws://localhost:{port}") as websocket:
        await websocket.send("Hello, WebSocket Server")
        response = await websocket.recv()
        print(f"服务器响应: {{response}}")

asyncio.run(client())
"""

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_label("Message", exact=True).press("Enter")


def heard(page: Page, text: str) -> Locator:
    """The message with this text, once the room has confirmed it."""
    message = page.locator("#messages .message").filter(has=page.locator(".text").get_by_text(text, exact=True))
    message.wait_for()
    return message


def wait_for_state(page: Page, state: str) -> None:
    page.locator(f"#state[data-state={state}]").wait_for()


def test_two_pages_and_clients_of_other_makes_share_a_room(chat: ChatProcess, open_page: OpenPage) -> None:
    ada, bo = open_page("Ada"), open_page("Bo")
    with connect(f"ws://localhost:{chat.port}/", proxy=None) as raw:
        say(ada, "hello from a page")
        assert raw.recv(timeout=10) == "hello from a page"
        raw.send("hello from a program")
        assert raw.recv(timeout=10) == "hello from a program"
        for page in (ada, bo):
            assert heard(page, "hello from a page").locator(".name").inner_text() == "Ada"
            assert heard(page, "hello from a program").locator(".name").inner_text().startswith("guest-")
        for library in ("websockets", "trunkline"):
            program = TUTORIAL_CLIENT.format(library=library, port=chat.port)
            ran = subprocess.run(
                [sys.executable, "-c", program],
                capture_output=True, encoding="utf-8", env=environment(PYTHONUTF8="1"), check=True,
            )  # fmt: skip
            assert ran.stdout == "服务器响应: Hello, WebSocket Server\n"
            assert raw.recv(timeout=10) == "Hello, WebSocket Server"
        bo.locator(".message", has_text="Hello, WebSocket Server").nth(1).wait_for()


def test_who_is_here_follows_those_who_come_and_go(chat: ChatProcess, open_page: OpenPage) -> None:
    ada, bo = open_page("Ada"), open_page("Bo")
    people = ada.locator("#people bdi")
    people.get_by_text("Bo", exact=True).wait_for()
    with connect(f"ws://localhost:{chat.port}/", proxy=None):
        people.get_by_text("guest-").wait_for()
    people.get_by_text("guest-").wait_for(state="detached")
    bo.close()
    people.get_by_text("Bo", exact=True).wait_for(state="detached")
    assert people.all_inner_texts() == ["Ada"]


@pytest.mark.parametrize(
    "text",
    [
        "<script>document.title = 'taken'</script>",
        "<img src=x onerror=\"document.title = 'taken'\">",
        "<svg onload=\"document.title = 'taken'\">",
        "javascript:alert(1) & &amp; </p>",
    ],
)
def test_markup_is_shown_as_text(chat: ChatProcess, open_page: OpenPage, text: str) -> None:
    page = open_page(text[:40])
    with connect(f"ws://localhost:{chat.port}/", proxy=None) as raw:
        raw.send(text)
        assert heard(page, text).locator(".text").evaluate("element => element.childElementCount") == 0
    say(page, f"{text} again")
    heard(page, f"{text} again")
    assert page.locator("#messages :is(script, img, svg, a)").count() == 0
    assert page.title() == "Lobby · trunkline"


def test_a_reload_keeps_the_name_and_what_was_said(open_page: OpenPage) -> None:
    ada, bo = open_page("Ada"), open_page("Bo")
    say(ada, "before the reload")
    heard(bo, "before the reload")
    ada.reload()
    assert "own" in (heard(ada, "before the reload").get_attribute("class") or "").split()
    say(ada, "after the reload")
    assert heard(bo, "after the reload").count() == 1
    assert ada.locator("#name").input_value() == "Ada"
    ada.locator("#people bdi").get_by_text("Ada", exact=True).wait_for()


def test_a_restart_of_the_server_loses_no_message(chat: ChatProcess, open_page: OpenPage) -> None:
    ada, bo = open_page("Ada"), open_page("Bo")
    say(ada, "before")
    heard(bo, "before")
    chat.stop()
    wait_for_state(ada, "waiting")
    assert ada.locator("#state").inner_text().startswith("Reconnecting")
    say(ada, "meanwhile")
    ada.get_by_text("Will be sent when connected").wait_for()
    chat.start()
    for page in (ada, bo):
        wait_for_state(page, "connected")
        assert heard(page, "before").count() == 1
    # The room was empty for whoever came back later than Ada's message; its history tells them.
    for page in (ada, bo):
        assert heard(page, "meanwhile").count() == 1
    assert ada.locator("#outbox .message").count() == 0


def test_a_message_too_long_stays_and_says_so(open_page: OpenPage) -> None:
    page = open_page("Ada")
    say(page, "x" * 70_000)
    page.get_by_text("too long").wait_for()
    wait_for_state(page, "connected")
    page.get_by_role("button", name="Discard").click()
    assert page.locator("#outbox .message").count() == 0
    assert page.evaluate("document.activeElement.id") == "text"


def test_messages_unread_are_counted_in_the_title(chat: ChatProcess, open_page: OpenPage) -> None:
    page = open_page("Ada", viewport={"width": 800, "height": 400})
    for number in range(20):
        say(page, f"line {number}")
    heard(page, "line 19")
    page.locator("#log").evaluate("log => log.scrollTop = 0")
    with connect(f"ws://localhost:{chat.port}/", proxy=None) as raw:
        raw.send("one")
        raw.send("two")
    page.get_by_role("button", name="2 new messages").wait_for()
    assert page.title() == "(2) Lobby · trunkline"
    page.get_by_role("button", name="2 new messages").click()
    page.wait_for_function("() => document.title === 'Lobby · trunkline'")


def test_the_keyboard_is_enough(open_page: OpenPage) -> None:
    page, other = open_page("Ada"), open_page("Bo")
    page.locator("#text").focus()
    page.keyboard.type("two")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("lines")
    page.keyboard.press("Enter")
    other.wait_for_function(
        "() => [...document.querySelectorAll('.text')].some(text => text.textContent === 'two\\nlines')"
    )
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "name"
    page.keyboard.type("Ada L.")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "text"
    other.locator("#people bdi").get_by_text("Ada L.", exact=True).wait_for()
    reached = set()
    for _ in range(8):
        page.keyboard.press("Shift+Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert "log" in reached


@pytest.mark.parametrize("width", [320, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_in_one_direction_only(chat: ChatProcess, open_page: OpenPage, width: int, scheme: str) -> None:
    page = open_page("Wilhelmina" * 4, color_scheme=scheme, **PHONE | {"viewport": {"width": width, "height": 700}})
    say(page, "x" * 300)
    page.locator("#messages .message").wait_for()
    fits = "() => document.documentElement.scrollWidth <= innerWidth && document.body.scrollWidth <= innerWidth"
    assert page.evaluate(fits)
    page.get_by_role("button", name="1 here").click()
    page.locator("#people bdi").wait_for()
    assert page.evaluate(fits)
    page.keyboard.press("Escape")
    page.locator("#people bdi").wait_for(state="hidden")
    chat.stop()
    page.get_by_role("button", name="Retry now").wait_for()
    assert page.evaluate(fits)


def test_rooms_have_pages_of_their_own(open_page: OpenPage) -> None:
    tea, lobby = open_page("Ada", "/rooms/t%C3%A9"), open_page("Bo")
    assert tea.get_by_role("heading", level=1).inner_text() == "té"
    say(tea, "only here")
    heard(tea, "only here")
    say(lobby, "only there")
    heard(lobby, "only there")
    assert tea.locator("#messages .message").count() == 1
    assert lobby.locator("#messages .message").count() == 1


def test_a_foreign_page_cannot_enter(chat: ChatProcess, open_page: OpenPage) -> None:
    page = open_page("Ada")
    page.goto("data:text/html,<title>elsewhere</title>")
    closed = page.evaluate(
        "port => new Promise(done => { new WebSocket(`ws://localhost:${port}/`).onclose = e => done(e.code) })",
        chat.port,
    )
    assert closed == 1006

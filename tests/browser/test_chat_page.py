"""The chat page in a real browser, together with clients of other makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.sync.client import connect

from tests.browser.conftest import ChatProcess, OpenPage
from tests.support.line import Line
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
    # The room was empty for members that came back later than Ada's message; its history tells them.
    for page in (ada, bo):
        assert heard(page, "meanwhile").count() == 1
    assert ada.locator("#outbox .message").count() == 0


def texts(page: Page) -> list[str]:
    return page.locator("#messages .text").all_inner_texts()


def test_who_comes_in_later_sees_what_was_said(open_page: OpenPage) -> None:
    ada = open_page("Ada")
    for number in range(3):
        say(ada, f"number {number}")
    heard(ada, "number 2")
    bo = open_page("Bo")
    heard(bo, "number 2")
    assert texts(bo) == texts(ada) == ["number 0", "number 1", "number 2"]
    assert bo.locator("#messages .message.own").count() == 0
    assert bo.locator("#messages .message:not(.continued)").count() == 1  # one name over all three


def test_a_network_that_goes_and_comes_loses_nothing_and_doubles_nothing(
    chat: ChatProcess, open_page: OpenPage
) -> None:
    with Line(chat.port) as line:
        ada, bo = open_page("Ada", port=line.port), open_page("Bo")
        for round in range(3):
            say(ada, f"before {round}")
            heard(bo, f"before {round}")
            line.cut()
            ada.locator("#state:not([data-state=connected])").wait_for()
            say(ada, f"from the dark {round}")
            said = ada.get_by_role("article").filter(has_text=f"from the dark {round}")
            said.get_by_text("Will be sent when connected").wait_for()
            say(bo, f"meanwhile {round}")
            heard(bo, f"meanwhile {round}")
            assert ada.locator("#people bdi").all_inner_texts() == ["Ada", "Bo"]
            line.mend()
            ada.locator("#retry").dispatch_event("click")  # no click: the button may vanish at any moment
            wait_for_state(ada, "connected")
            heard(bo, f"from the dark {round}")
            heard(ada, f"from the dark {round}")
    expected = [f"{what} {round}" for round in range(3) for what in ("before", "meanwhile", "from the dark")]
    assert texts(ada) == texts(bo) == expected
    assert ada.locator(".note").count() == 0


def test_more_was_missed_than_is_kept(open_page: OpenPage) -> None:
    with (
        ChatProcess("--rate", "1000") as chat,
        Line(chat.port) as line,
        connect(f"ws://localhost:{chat.port}/", proxy=None) as raw,
    ):
        ada = open_page("Ada", port=line.port)
        say(ada, "before")
        heard(ada, "before")
        line.cut()
        for number in range(101):  # 100 are kept
            raw.send(f"number {number}")
        while raw.recv(timeout=10) != "number 100":
            pass
        line.mend()
        heard(ada, "number 100")
        ada.get_by_text("More was said meanwhile").wait_for()
        assert texts(ada) == ["before", *[f"number {number}" for number in range(1, 101)]]


def test_with_a_store_a_restart_keeps_what_was_said(tmp_path: Path, open_page: OpenPage) -> None:
    with ChatProcess("--store", str(tmp_path / "chat.db")) as chat:
        page = open_page("Ada", "/rooms/tea", port=chat.port)
        say(page, "before the restart")
        heard(page, "before the restart")
        chat.stop()
        wait_for_state(page, "waiting")
        chat.start()
        wait_for_state(page, "connected")
        say(page, "after it")
        heard(page, "after it")
        assert texts(page) == ["before the restart", "after it"]
        assert page.locator(".note").count() == 0
        page.close()
        chat.stop()
        chat.start()
        other = open_page("Bo", "/rooms/tea", port=chat.port)
        heard(other, "after it")
        assert texts(other) == ["before the restart", "after it"]


def test_without_a_store_a_page_says_that_the_room_began_anew(chat: ChatProcess, open_page: OpenPage) -> None:
    page = open_page("Ada")
    say(page, "before the restart")
    heard(page, "before the restart")
    chat.stop()
    chat.start()
    page.get_by_text("The room has started anew").wait_for()
    say(page, "after it")
    heard(page, "after it")
    assert texts(page) == ["before the restart", "after it"]


def test_others_see_who_is_typing(open_page: OpenPage) -> None:
    ada, bo = open_page("Ada"), open_page("Bo")
    bo.locator("#people bdi").get_by_text("Ada", exact=True).wait_for()
    height = bo.locator("#log").evaluate("log => log.clientHeight")
    ada.get_by_label("Message", exact=True).press_sequentially("hel")
    bo.get_by_text("Ada is typing").wait_for()
    assert bo.locator("#log").evaluate("log => log.clientHeight") == height
    assert ada.locator("#typing").inner_text() == ""
    ada.get_by_label("Message", exact=True).press("Enter")
    heard(bo, "hel")
    bo.get_by_text("Ada is typing").wait_for(state="detached")


def test_another_name_keeps_the_conversation(open_page: OpenPage) -> None:
    ada, bo = open_page("Ada"), open_page("Bo")
    say(ada, "as Ada")
    heard(bo, "as Ada")
    ada.get_by_label("as", exact=True).fill("Countess")
    ada.get_by_label("as", exact=True).press("Enter")
    bo.locator("#people bdi").get_by_text("Countess", exact=True).wait_for()
    say(bo, "hello Countess")
    say(ada, "as Countess")
    heard(bo, "as Countess")
    heard(ada, "as Countess")
    assert texts(ada) == texts(bo)
    names = bo.locator("#messages .name").all_inner_texts()
    assert sorted(names) == ["Ada", "Bo", "Countess"]
    assert bo.locator("#people bdi").all_inner_texts() == ["Bo", "Countess"]


def test_too_much_is_refused_and_can_be_sent_again(open_page: OpenPage) -> None:
    with ChatProcess("--rate", "1") as chat:
        page = open_page("Ada", port=chat.port)
        for number in range(8):
            say(page, f"number {number}")
        page.get_by_text("at most 1 messages per second").first.wait_for()
        while page.locator("#outbox .message").count():
            again = page.get_by_role("button", name="Try again")
            if again.count():
                again.first.click()
            page.wait_for_timeout(200)
        assert sorted(texts(page)) == [f"number {number}" for number in range(8)]


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


def test_another_room_is_a_name_away(open_page: OpenPage) -> None:
    page = open_page("Ada")
    page.get_by_text("Nothing has been said yet").wait_for()
    say(page, "in the lobby")
    heard(page, "in the lobby")
    page.get_by_label("Another room").fill("a/b")
    page.get_by_label("Another room").press("Enter")  # no room may be called so
    assert page.get_by_role("heading", level=1).inner_text() == "Lobby"
    page.get_by_label("Another room").fill("té & tea")
    page.get_by_label("Another room").press("Enter")
    page.get_by_role("heading", name="té & tea").wait_for()
    wait_for_state(page, "connected")
    page.get_by_text("Nothing has been said yet").wait_for()
    say(page, "two lumps")
    heard(page, "two lumps")
    assert page.locator("#people bdi").all_inner_texts() == ["Ada"]


def test_a_foreign_page_cannot_enter(chat: ChatProcess, open_page: OpenPage) -> None:
    page = open_page("Ada")
    page.goto("data:text/html,<title>elsewhere</title>")
    closed = page.evaluate(
        "port => new Promise(done => { new WebSocket(`ws://localhost:${port}/`).onclose = e => done(e.code) })",
        chat.port,
    )
    assert closed == 1006

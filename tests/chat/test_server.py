"""The chat room over real connections: ours, and those of the library whose clients must work unchanged."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import resource
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.support.loop import run_clean, settled
from tests.support.page import Page, opened_page
from tests.support.pair import connect, port_of
from trunkline.asyncio.server import Server
from trunkline.chat.pages import CHANNELS
from trunkline.chat.rooms import Limits
from trunkline.chat.server import ChatServer
from trunkline.exceptions import ConnectionClosedError, InvalidStatus

MANY = 1000


@contextlib.asynccontextmanager
async def opened(chat: ChatServer | None = None) -> AsyncIterator[Server]:
    """A chat room on a free port."""
    async with (chat or ChatServer()).open("127.0.0.1", 0) as server:
        yield server


@contextlib.asynccontextmanager
async def page(server: Server, channel: str = "lobby", name: str = "", **request: Any) -> AsyncIterator[Page]:
    """Connect as the page does, and enter a room."""
    async with opened_page(server, CHANNELS, data={"name": name}) as page:
        page.entered = await page.ask("subscribe", channel=channel, join_leave=True, **request)
        yield page


async def count(page: Page, channel: str = "lobby") -> int:
    """How many are in a room."""
    return int((await page.ask("presence_stats", channel=channel))["num_clients"])


async def history(page: Page, channel: str = "lobby") -> list[dict[str, Any]]:
    """The messages of a room, oldest first."""
    history = await page.ask("history", channel=channel, limit=100)
    return history.get("publications", [])


def name_of(publication: dict[str, Any]) -> str:
    return str(publication["info"]["conn_info"]["name"])


def test_everybody_in_a_room_hears_a_plain_client() -> None:
    async def main() -> None:
        async with (
            opened() as server,
            connect(server) as one,
            websockets.connect(f"ws://127.0.0.1:{port_of(server)}/", proxy=None) as other,
        ):
            for text in ("hello", "", "你好 \U0001f44b\r\n", "x" * 60_000):
                await one.send(text)
                assert await one.recv() == text
                assert await other.recv() == text
            await other.send(b"\x00\xff")
            assert await one.recv() == b"\x00\xff"

    run_clean(main)


def test_pages_and_plain_clients_hear_each_other() -> None:
    async def main() -> None:
        async with opened() as server, connect(server) as plain, page(server, name="Ada") as ada:
            before = time.time()
            await ada.ask("publish", channel="lobby", data={"id": "x", "text": "hi", "size": 5})
            assert await plain.recv() == "hi"
            said = await ada.push("pub")
            assert (name_of(said), said["data"], said["offset"]) == ("Ada", {"id": "x", "text": "hi"}, 1)
            assert before - 1 <= said["time"] / 1000 <= time.time() + 1
            await plain.send("hi Ada")
            assert await plain.recv() == "hi Ada"
            said = await ada.push("pub")
            assert (name_of(said), said["data"]["text"]) == ("guest-1", "hi Ada")
            await plain.send(b"\xff\x00")
            assert await plain.recv() == b"\xff\x00"
            said = await ada.push("pub")
            assert base64.b64decode(said["data"]["binary"]) == b"\xff\x00"

    run_clean(main)


def test_without_a_name_one_is_a_guest() -> None:
    async def main() -> None:
        async with opened() as server, page(server, name=" \n") as guest, page(server, name="  Bo "):
            here = (await guest.ask("presence", channel="lobby"))["presence"].values()
            assert sorted(each["conn_info"]["name"] for each in here) == ["Bo", "guest-1"]

    run_clean(main)


@pytest.mark.parametrize("data", [{}, {"id": ""}, {"id": "x" * 65, "text": "a"}, {"id": 1, "text": "a"}, "hi", None])
def test_a_bad_message_of_a_page_is_refused_and_nobody_else_hears_it(data: Any) -> None:
    async def main() -> None:
        async with opened() as server, connect(server) as plain, page(server) as ada:
            assert (await ada.ask("publish", channel="lobby", data=data))["code"] == 107
            assert (await ada.ask("publish", channel="lobby", data={"id": "x", "text": "still here"})) == {}
            assert await plain.recv() == "still here"

    run_clean(main)


def test_rooms_are_apart() -> None:
    async def main() -> None:
        async with (
            opened() as server,
            connect(server, "/rooms/t%C3%A9") as tea,
            connect(server, "/rooms/coffee") as coffee,
            page(server, "room:t%C3%A9") as ada,
        ):
            await tea.send("tea?")
            assert await tea.recv() == "tea?"
            await coffee.send("coffee?")
            assert await coffee.recv() == "coffee?"
            assert (await ada.push("pub"))["data"]["text"] == "tea?"
            assert len(await history(ada, "room:t%C3%A9")) == 1
            assert (await ada.ask("subscribe", channel="room:t%c3%a9"))["code"] == 102
            assert (await ada.ask("publish", channel="lobby", data={"id": "x", "text": "hi"}))["code"] == 103

    run_clean(main)


def test_who_comes_in_is_shown_what_was_said() -> None:
    async def main() -> None:
        async with opened() as server, connect(server) as plain:
            for text in ("one", "two"):
                await plain.send(text)
                await plain.recv()
            async with page(server) as ada:
                assert [each["data"]["text"] for each in await history(ada)] == ["one", "two"]

    run_clean(main)


def test_who_comes_back_misses_nothing() -> None:
    async def main() -> None:
        async with opened() as server, connect(server) as plain:
            async with page(server) as ada:
                position = {key: ada.entered.get(key, 0) for key in ("offset", "epoch")}
            for text in ("one", "two"):
                await plain.send(text)
                await plain.recv()
            async with page(server, recover=True, **position) as ada:
                assert ada.entered["recovered"]
                assert [each["data"]["text"] for each in ada.entered["publications"]] == ["one", "two"]

    run_clean(main)


@pytest.mark.parametrize("stored", [False, True])
def test_a_room_without_people_is_forgotten_unless_there_is_a_store(stored: bool, tmp_path: Path) -> None:
    async def main() -> None:
        store = f"sqlite:///{tmp_path / 'chat.db'}" if stored else "memory://"
        chat = ChatServer(Limits(memory=0), store=store)
        async with opened(chat) as server, page(server, "room:tea") as watcher:
            await watcher.ask("publish", channel="room:tea", data={"id": "1", "text": "still here"})
            async with connect(server) as plain:
                await plain.send("hi")
                assert await plain.recv() == "hi"
            async with page(server) as ada:
                await settled(lambda: not chat.rooms._forgetting)
                assert len(await history(ada)) == stored
                assert len(await history(watcher, "room:tea")) == 1

    run_clean(main)


def test_with_a_store_what_was_said_is_there_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        store = f"sqlite:///{tmp_path / 'chat.db'}"
        async with opened(ChatServer(store=store)) as server, page(server) as ada:
            position = {key: ada.entered.get(key, 0) for key in ("offset", "epoch")}
            for number in range(3):
                await ada.ask("publish", channel="lobby", data={"id": f"{number}", "text": f"text {number}"})
        async with opened(ChatServer(store=store)) as server, page(server, recover=True, **position) as ada:
            assert ada.entered["recovered"]
            texts = [each["data"]["text"] for each in ada.entered["publications"]]
            assert texts == ["text 0", "text 1", "text 2"]

    run_clean(main)


def test_who_is_typing_is_told_to_those_who_listen() -> None:
    async def main() -> None:
        async with opened() as server, page(server, name="Ada") as ada, page(server) as bo, connect(server) as plain:
            for each in (ada, bo):
                await each.ask("subscribe", channel="typing:lobby")
            await ada.ask("publish", channel="typing:lobby", data={"anything": "at all"})
            sign = await bo.push("pub")
            assert (name_of(sign), sign["data"], sign.get("offset")) == ("Ada", {}, None)
            await ada.ask("publish", channel="lobby", data={"id": "x", "text": "hi"})
            assert await plain.recv() == "hi"

    run_clean(main)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {"Origin": "http://evil.example"}, 403),
        ("/", {"Origin": "null"}, 403),
        (CHANNELS, {"Origin": "http://evil.example"}, 403),
        ("/elsewhere", {}, 404),
        ("/", {"Host": "one more"}, 400),
    ],
)
def test_who_may_not_enter(path: str, headers: dict[str, str], status: int) -> None:
    async def main() -> None:
        async with opened() as server:
            with pytest.raises(InvalidStatus) as refusal:
                await connect(server, path, additional_headers=headers)
            assert refusal.value.response.status_code == status
            assert not server.connections

    run_clean(main)


def test_the_same_origin_and_those_named_may_enter() -> None:
    async def main() -> None:
        async with opened(ChatServer(origins=["https://chat.example"])) as server:
            for origin in (f"http://127.0.0.1:{port_of(server)}", "https://chat.example"):
                async with connect(server, origin=origin) as connection:
                    await connection.send("hi")
                    assert await connection.recv() == "hi"

    run_clean(main)


def test_plain_http_on_the_same_port() -> None:
    async def main() -> None:
        async with opened() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            response = await reader.read()
            writer.close()
            await writer.wait_closed()
            assert response.startswith(b"HTTP/1.1 200 OK\r\n")
            assert response.endswith(b"\r\n\r\nok\n")

    run_clean(main)


def test_too_much_is_refused_and_said_so() -> None:
    async def main() -> None:
        chat = ChatServer(Limits(rate=0.001, burst=1, max_size=100))
        async with opened(chat) as server, connect(server) as connection:
            await connection.send("first")
            await connection.send("second")
            assert await connection.recv() == "first"
            assert "(1 refused so far)" in await connection.recv()
            await connection.send("x" * 101)
            with pytest.raises(ConnectionClosedError) as closed:
                await connection.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009

    run_clean(main)


def test_a_page_is_told_what_was_refused() -> None:
    async def main() -> None:
        async with opened(ChatServer(Limits(rate=0.001, burst=1))) as server, page(server) as ada:
            await ada.ask("publish", channel="lobby", data={"id": "1", "text": "first"})
            error = await ada.ask("publish", channel="lobby", data={"id": "2", "text": "second"})
            assert (error["code"], error["temporary"]) == (111, True)
            assert "at most 0.001 messages per second" in error["message"]

    run_clean(main)


def test_who_comes_and_goes_is_announced_even_without_a_word() -> None:
    async def main() -> None:
        async with opened() as server, page(server) as stays:
            assert name_of(await stays.push("join")) == "guest-1"
            vanishes = await connect(server)
            assert name_of(await stays.push("join")) == "guest-2"
            assert await count(stays) == 2
            vanishes.transport.abort()
            assert name_of(await stays.push("leave")) == "guest-2"
            assert await count(stays) == 1
            await vanishes.wait_closed()

    run_clean(main)


def test_who_does_not_read_is_disconnected_and_delays_nobody() -> None:
    async def main() -> None:
        chat = ChatServer(Limits(rate=1e6))
        async with opened(chat) as server, connect(server) as quick:
            slow = await connect(server, max_queue=1)
            text = "x" * 60_000
            while len(server.connections) > 1:
                await quick.send(text)
                assert await quick.recv() == text
            with contextlib.suppress(ConnectionClosedError):
                while True:
                    await slow.recv()
            await slow.wait_closed()

    run_clean(main)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Allow both ends of many connections in one process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * MANY + 200
    if before[1] != resource.RLIM_INFINITY and before[1] < needed:
        pytest.skip(f"needs {needed} file descriptors, and the hard limit is {before[1]}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(needed, before[0]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_descriptors")
def test_a_thousand_clients_hear_one() -> None:
    async def main() -> None:
        async with opened() as server, contextlib.AsyncExitStack() as stack:
            clients = []
            for _ in range(MANY // 50):  # not all at once: a listener's queue is shorter than that
                clients += await asyncio.gather(*(stack.enter_async_context(connect(server)) for _ in range(50)))
            pages = [await stack.enter_async_context(page(server)) for _ in range(3)]
            assert await count(pages[0]) == MANY + 3
            await clients[0].send("to all of you")
            await clients[-1].send("and from me")
            for client in clients:
                assert {await client.recv(), await client.recv()} == {"to all of you", "and from me"}
            for each in pages:
                assert len({(await each.push("pub"))["data"]["text"] for _ in range(2)}) == 2

    run_clean(main)

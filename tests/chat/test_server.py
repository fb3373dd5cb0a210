"""The chat room over real connections: ours, and those of the library whose clients must work unchanged."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
import websockets

from tests.support.loop import run_clean
from tests.support.pair import connect, port_of
from trunkline.asyncio.server import Server
from trunkline.chat.envelopes import SUBPROTOCOL
from trunkline.chat.room import Limits
from trunkline.chat.server import ChatServer
from trunkline.exceptions import ConnectionClosedError, InvalidStatus

MANY = 1000


@contextlib.asynccontextmanager
async def opened(chat: ChatServer | None = None) -> AsyncIterator[tuple[ChatServer, Server]]:
    """A chat room on a free port."""
    chat = chat or ChatServer()
    async with await chat.listen("127.0.0.1", 0) as server:
        yield chat, server


def page(server: Server, path: str = "/") -> Any:
    """Connect as the page does."""
    return connect(server, path, subprotocols=[SUBPROTOCOL])


async def envelope(connection: Any, type_: str) -> dict[str, Any]:
    """The next envelope of this type."""
    while True:
        received: dict[str, Any] = msgspec.json.decode(await connection.recv())
        if received["type"] == type_:
            return received


def test_everybody_in_a_room_hears_a_plain_client() -> None:
    async def main() -> None:
        async with (
            opened() as (_, server),
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
        async with opened() as (_, server), connect(server) as plain, page(server) as browser:
            assert browser.subprotocol == SUBPROTOCOL
            welcome = await envelope(browser, "welcome")
            await browser.send('{"type": "hello", "name": "Ada"}')
            await browser.send('{"type": "message", "id": "x", "text": "hi"}')
            assert await plain.recv() == "hi"
            assert (await envelope(browser, "message"))["name"] == "Ada"
            await plain.send("hi Ada")
            message = await envelope(browser, "message")
            assert (message["name"], message["text"]) == ("guest-1", "hi Ada")
            assert welcome["you"] == 2

    run_clean(main)


def test_rooms_are_apart_and_vanish_when_empty() -> None:
    async def main() -> None:
        async with opened() as (chat, server):
            async with connect(server, "/rooms/tea") as tea, connect(server, "/rooms/coffee") as coffee:
                await tea.send("tea?")
                assert await tea.recv() == "tea?"
                await coffee.send("coffee?")
                assert await coffee.recv() == "coffee?"
                assert set(chat.rooms) == {"tea", "coffee"}
            server.close()
            await server.wait_closed()
            assert not chat.rooms

    run_clean(main)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {"Origin": "http://evil.example"}, 403),
        ("/", {"Origin": "null"}, 403),
        ("/elsewhere", {}, 404),
        ("/", {"Host": "one more"}, 400),
    ],
)
def test_who_may_not_enter(path: str, headers: dict[str, str], status: int) -> None:
    async def main() -> None:
        async with opened() as (chat, server):
            with pytest.raises(InvalidStatus) as refusal:
                await connect(server, path, additional_headers=headers)
            assert refusal.value.response.status_code == status
            assert not chat.rooms

    run_clean(main)


def test_the_same_origin_and_those_named_may_enter() -> None:
    async def main() -> None:
        async with opened(ChatServer(origins=["https://chat.example"])) as (_, server):
            for origin in (f"http://127.0.0.1:{port_of(server)}", "https://chat.example"):
                async with connect(server, origin=origin) as connection:
                    await connection.send("hi")
                    assert await connection.recv() == "hi"

    run_clean(main)


def test_plain_http_on_the_same_port() -> None:
    async def main() -> None:
        async with opened() as (_, server):
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
        async with opened(chat) as (_, server), connect(server) as connection:
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


def test_who_leaves_without_a_word_disturbs_nobody() -> None:
    async def main() -> None:
        async with opened() as (_, server), page(server) as stays:
            vanishes = await connect(server)
            while (await envelope(stays, "presence"))["count"] < 2:
                pass
            vanishes.transport.abort()
            while (await envelope(stays, "presence"))["count"] > 1:
                pass
            await vanishes.wait_closed()

    run_clean(main)


def test_who_does_not_read_is_dropped_and_delays_nobody() -> None:
    async def main() -> None:
        async with opened(ChatServer(Limits(rate=1e6))) as (chat, server), connect(server) as quick:
            slow = await connect(server, max_queue=1)
            text = "x" * 60_000
            while len(chat.rooms[""].members) > 1:
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
        async with opened() as (chat, server), contextlib.AsyncExitStack() as stack:
            clients = []
            for _ in range(MANY // 50):  # not all at once: a listener's queue is shorter than that
                clients += await asyncio.gather(*(stack.enter_async_context(connect(server)) for _ in range(50)))
            browser = await stack.enter_async_context(page(server))
            while (await envelope(browser, "presence"))["count"] < MANY + 1:
                pass
            await clients[0].send("to all of you")
            await clients[-1].send("and from me")
            for client in clients:
                heard = {await client.recv(), await client.recv()}
                assert heard == {"to all of you", "and from me"}
            assert len(chat.rooms[""].members) == MANY + 1

    run_clean(main)

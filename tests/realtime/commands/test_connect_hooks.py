"""Clients connect, and the program says who they are."""

from typing import Any

import pytest

from tests.support.rooms import Node
from tests.support.scenes import error, publish, scene, texts
from trunkline.realtime import Disconnected, Refused
from trunkline.realtime.hub.connected import ClientState
from trunkline.realtime.program.hooks import Hook


def test_connect_comes_first_and_once() -> None:
    async def play(node: Node) -> None:
        early = node.talker()
        await early.say(subscribe={"channel": "a"})
        assert early.connection.closed == (3501, "the first command must be connect")
        twice = node.talker()
        result = await twice.connect(name="js", version="5")
        assert result == {"client": twice.client.id, "version": result["version"], "ping": 25, "pong": True}
        assert (twice.client.name, twice.client.version) == ("js", "5")
        await twice.say(connect={})
        assert twice.connection.closed == (3501, "client is connected already")
        assert not node.hub.clients

    scene(play)


def test_the_connect_hook_says_who_it_is_and_where_it_belongs() -> None:
    async def play(node: Node) -> None:
        node.channel("news", history=5)
        node.channel("{user}")

        async def connect(client: Any, data: dict[str, str]) -> dict[str, str]:
            client.user = data["user"]
            client.info = {"name": "Ada"}
            client.channels = ["news", client.user]
            return {"hello": client.user}

        node.functions.connect = Hook(connect)
        talker = node.talker()
        result = await talker.connect(data={"user": "ada"})
        assert result["data"] == {"hello": "ada"}
        assert result["subs"]["news"] == {
            "recoverable": True,
            "positioned": True,
            "epoch": result["subs"]["news"]["epoch"],
        }
        assert result["subs"]["ada"] == {}
        await publish(node, "news", "x")
        assert texts(talker.connection.take()) == ["x"]
        assert node.hub.find("ada", None) == [talker.client]
        again = node.talker()
        subs = {"news": {"recover": True, "offset": 0, "epoch": result["subs"]["news"]["epoch"]}}
        result = await again.connect(data={"user": "ada"}, subs=subs)
        assert [each["data"] for each in result["subs"]["news"]["publications"]] == ["x"]
        assert result["subs"]["news"]["recovered"]

    scene(play)


@pytest.mark.parametrize(
    ("raised", "answer", "closed"),
    [
        (Refused(1000, "not today"), error(1000), None),
        (Disconnected(4500, "go away"), [], (4500, "go away")),
        (RuntimeError("a bug"), error(100), None),
    ],
)
def test_a_connect_hook_that_raises(raised: Exception, answer: Any, closed: Any) -> None:
    async def play(node: Node) -> None:
        def connect(client: Any) -> None:
            raise raised

        node.functions.connect = Hook(connect)
        talker = node.talker()
        assert await talker.say(connect={}) == answer
        assert talker.connection.closed == closed
        assert not node.hub.clients
        if closed is None:
            assert talker.client.state is ClientState.NEW  # it may try again
            node.functions.connect = None
            await talker.connect()

    scene(play)


def test_a_client_that_may_not_be_where_the_server_puts_it_isnt_connected() -> None:
    async def play(node: Node) -> None:
        node.channel("a")

        def connect(client: Any) -> None:
            client.channels = ["a", "nowhere"]

        node.functions.connect = Hook(connect)
        talker = node.talker()
        assert await talker.say(connect={}) == error(102)
        assert not node.hub.rooms
        assert not talker.client.subscriptions

    scene(play)

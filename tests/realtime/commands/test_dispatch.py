"""Frames are taken apart, and commands checked, before these are carried out."""

from typing import Any

import pytest

from tests.support.rooms import Node
from tests.support.scenes import scene
from trunkline.realtime import Limits
from trunkline.realtime.hub.connected import ClientState
from trunkline.realtime.limits import Rate

HALF = "half an emoji: \ud83d"


@pytest.mark.parametrize(("codec", "data"), [("json", {"text": HALF}), ("protobuf", b'{"text":"\\ud83d"}')])
def test_half_an_emoji_is_an_error_of_its_publication_alone(codec: str, data: Any) -> None:
    async def play(node: Node) -> None:
        node.channel("a", publish="subscribers")
        talker = await node.connected("a", codec=codec)
        said = [{"publish": {"channel": "a", "data": each}} for each in (1, data, 2)]
        first, ok, refused, second, fine = await talker.say_all(*({"id": n} | each for n, each in enumerate(said, 8)))
        assert (ok, fine) == ({"id": 8, "publish": {}}, {"id": 10, "publish": {}})
        assert [each["push"]["pub"]["data"] for each in (first, second)] == [1, 2]
        assert (refused["id"], refused["error"]["code"]) == (9, 107)
        assert "half of a surrogate pair, as of an emoji that was cut in two" in refused["error"]["message"]
        assert talker.client.state is ClientState.CONNECTED

    scene(play)


def test_half_an_emoji_in_the_first_command() -> None:
    async def play(node: Node) -> None:
        talker = node.talker()
        [reply] = await talker.say(connect={"data": HALF})
        assert reply["error"]["code"] == 107
        assert (talker.client.state, talker.client.deadline()) == (
            ClientState.NEW,
            node.clock.now + node.timeouts.stale,
        )
        await talker.connect()
        early = node.talker()
        await early.say(rpc={"method": HALF})
        assert early.connection.closed == (3501, "the first command must be connect")

    scene(play)


def test_half_an_emoji_where_nobody_waits_for_an_answer() -> None:
    async def play(node: Node) -> None:
        talker = await node.connected()
        assert await talker.say(id=0, send={"data": HALF}) == []
        assert talker.connection.closed is None

    scene(play)


def test_halves_of_emojis_count_against_the_rate() -> None:
    async def play(node: Node) -> None:
        talker = await node.connected()
        replies = await talker.say_all(*[{"rpc": {"method": HALF}}] * 10)
        assert [each["error"]["code"] for each in replies] == [107, 107, 111, 111, 111]
        assert talker.connection.closed == (3013, "too many requests")

    scene(play, limits=Limits(rate=Rate(1, 3)))

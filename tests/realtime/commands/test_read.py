"""Clients read the history."""

from typing import Any

from tests.support.rooms import Node
from tests.support.scenes import error, publish, scene


def test_history() -> None:
    async def play(node: Node) -> None:
        node.channel("a", history=5)
        node.channel("none")
        talker = await node.connected("a", "none")
        await publish(node, "a", "1", "2", "3")
        talker.connection.take()

        async def history(**request: Any) -> Any:
            [reply] = await talker.say(history={"channel": "a", **request})
            return [each["data"] for each in reply["history"].get("publications", ())], reply["history"]["offset"]

        assert await history() == ([], 3)
        assert await history(limit=-1) == (["1", "2", "3"], 3)
        assert await history(limit=2) == (["1", "2"], 3)
        assert await history(limit=2, reverse=True) == (["3", "2"], 3)
        assert await history(limit=-1, since={"offset": 1}) == (["2", "3"], 3)
        assert await history(limit=2, reverse=True, since={"offset": 3}) == (["2", "1"], 3)
        assert await history(limit=2, reverse=True, since={"offset": 4}) == (["3", "2"], 3)  # all but one to come
        assert await history(limit=2, reverse=True, since={"offset": 5}) == ([], 3)
        first = {"channel": "a", "limit": 1, "reverse": True, "since": {"offset": 0}}
        assert await talker.say(history=first) == error(107)
        other = {"offset": 1, "epoch": "other"}
        assert await talker.say(history={"channel": "a", "limit": 1, "since": other}) == error(112)
        assert await talker.say(history={"channel": "none"}) == error(108)
        stranger = await node.connected()
        assert await stranger.say(history={"channel": "a"}) == error(103)
        assert await talker.say(presence={"channel": "a"}) == error(108)

    scene(play)

"""Scenes with a node that has no sockets, and what is heard in them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.rooms import Node
from trunkline.realtime.publication import Publication


def scene(function: Callable[[Node], Awaitable[None]], **node: Any) -> None:
    """Play a scene with a node."""

    async def play() -> None:
        async with Node(**node) as made:
            await function(made)

    asyncio.run(play())


def error(code: int) -> Any:
    """Equal to a reply with this error."""

    class Like:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, list) and [each.get("error", {}).get("code") for each in other] == [code]

        def __repr__(self) -> str:
            return f"<one reply with error {code}>"

    return Like()


async def publish(node: Node, channel: str, *texts: str, **options: Any) -> None:
    declared = node.channels.find(channel)
    assert declared is not None
    for text in texts:
        await node.publisher.publish(declared[0], channel, Publication(json.dumps(text).encode()), **options)


def texts(frames: list[Any]) -> list[Any]:
    return [frame["push"]["pub"]["data"] for frame in frames if "pub" in frame.get("push", {})]

"""A program with rooms and their parts, in which type checkers know each type."""

from typing import assert_type

from trunkline.realtime import Client, Limits, MemoryBroker, Publication, Realtime, Refused, StreamPosition
from trunkline.realtime.tokens import Key, Tokens

rt = Realtime(MemoryBroker(), tokens=Tokens(Key("HS256", "secret" * 8)), limits=Limits(channels=10))
news = rt.channel("news", history_size=10, history_ttl=60)


@rt.on_connect
async def connecting(client: Client) -> None:
    assert_type(client.user, str)
    if not client.token:
        raise Refused(103, "permission denied")
    client.channels = ["news"]


async def publishing() -> None:
    assert_type(await rt.publish("news", {"a": 1}), StreamPosition)
    history = await rt.history("news", limit=10)
    for publication in history.publications:
        assert_type(publication, Publication)
    await rt.close()

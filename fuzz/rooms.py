"""Clients of rooms that send anything: no error of ours, nothing lost for others, nothing left when they are gone."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from typing import Any

from tests.support.rooms import Node, Talker
from trunkline.realtime import Limits
from trunkline.realtime.codes import DISCONNECTS, ERRORS
from trunkline.realtime.limits import Rate
from trunkline.realtime.program.hooks import Hook
from trunkline.realtime.publication import Publication

COMMANDS = (
    "connect", "subscribe", "unsubscribe", "publish", "presence", "presence_stats", "history", "ping", "send", "rpc",
    "refresh", "sub_refresh", "unknown",
)  # fmt: skip
CHANNELS = ("room:a", "room:b", "quiet", "cache", "nowhere", "", "room:", "x" * 300)
NUMBERS = (0, 1, 2, 7, -1, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 1.5, "1", None)
VALUES = (None, True, 0, -1.5, "", "text", "\ud800", "line\nfeed", [], [1, [2]], {}, {"a": {"b": 1}}, 10**400)

OPTIONAL: dict[str, tuple[Any, ...]] = {
    "data": VALUES,
    "offset": (0, 1, 5, 2**53, 2**63 - 1),
    "limit": (-1, 0, 1, 2**31 - 1),
    "flag": (1, 2, 3),
    "type": (0, 1),
    "epoch": ("", "x"),
    "since": (None, {}, {"offset": 1}, {"offset": 1, "epoch": "x"}),
    "tf": (None, {"op": "and", "nodes": [{}]}),
    "recover": (True, False),
    "reverse": (True, False),
    "delta": ("fossil",),
}
FIELDS = ("channel", "method", "token", *OPTIONAL)


def fuzz(draw: random.Random) -> str | None:
    """Let some clients talk, and look at the one that listens."""
    return asyncio.run(_play(draw))


async def _play(draw: random.Random) -> str | None:
    failures: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = failures.append  # type: ignore[method-assign]
    logger = logging.getLogger("trunkline.realtime")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        return await _talk(draw) or _complaint(failures)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _complaint(records: list[logging.LogRecord]) -> str | None:
    bad = [record for record in records if record.levelno >= logging.ERROR]
    return None if not bad else f"{bad[0].getMessage()} {bad[0].exc_info}"


async def _talk(draw: random.Random) -> str | None:
    async with Node(limits=Limits(channels=3, history=5, queue=1000, rate=Rate(0, 50))) as node:
        room = node.channel("room:{name}", history=5, presence=True, join_leave=True, publish="subscribers")
        node.channel("quiet", publish="anyone", binary=True)
        node.channel("cache", history=1, recover="cache", slow="drop_oldest", publish="anyone")
        node.functions.procedures["echo"] = Hook(lambda client, data: data)
        node.functions.message = Hook(lambda client, data: None)
        listener = await node.connected()
        await listener.say(subscribe={"channel": "room:a"})
        talkers = [node.talker(draw.choice(("json", "json", "protobuf"))) for _ in range(3)]
        for talker in talkers:
            if draw.random() < 0.8:
                await _say(node, talker, _hello(talker))
        for _ in range(draw.randrange(1, 60)):
            talker = draw.choice(talkers)
            talker.connection.room = draw.choice((float("inf"), float("inf"), 100, 0))
            await _say(node, talker, _frame(draw, talker))
            if draw.random() < 0.2:
                talker.connection.make_room()
            if draw.random() < 0.05:
                talker.client.closed()
            if draw.random() < 0.1:  # more than clients that don't read can have waiting
                await node.publisher.publish(room, "room:a", Publication(b'"%s"' % (b"x" * 2000)))
        finding = _judge(talkers)
        listener.connection.take()
        await node.publisher.publish(room, "room:a", Publication(b'"still here"'))
        heard = [frame["push"]["pub"]["data"] for frame in listener.connection.take() if "pub" in frame.get("push", {})]
        if heard != ["still here"]:
            finding = finding or f"the listener heard {heard}, closed: {listener.connection.closed}"
        for talker in (*talkers, listener):
            talker.client.closed()
        await node.tasks.settle()
        left = (dict(node.hub.rooms), dict(node.hub.clients), await node.presence.get("room:a"))
        return finding or (f"left behind: {left}" if any(left) else None)


async def _say(node: Node, talker: Talker, frame: str | bytes) -> None:
    """Let a client say a frame. It reads the answers at the latest when it isn't heard before it did."""
    hearing = asyncio.ensure_future(node.commands.receive(talker.client, frame))
    for _ in range(100):
        await asyncio.sleep(0)
        if hearing.done():
            break
    while not hearing.done():
        talker.connection.make_room()
        await asyncio.sleep(0)
    hearing.result()


def _hello(talker: Talker) -> str | bytes:
    return '{"id":1,"connect":{}}' if talker.client.codec.name == "json" else b"\x04\x08\x01\x22\x00"


def _judge(talkers: list[Talker]) -> str | None:
    """Clients in JSON get only codes that the protocol has, and JSON."""
    for talker in talkers:
        closed = talker.connection.closed
        if closed is not None and closed[0] not in DISCONNECTS:
            return f"closed with {closed}"
        if talker.client.codec.name == "json":
            for reply in talker.connection.take():
                if "error" in reply and reply["error"]["code"] not in ERRORS:
                    return f"refused with {reply['error']}"
    return None


# Commands of clients


def _frame(draw: random.Random, talker: Talker) -> str | bytes:
    if talker.client.codec.name == "protobuf":
        return "text" if draw.random() < 0.01 else _mutated(draw, _protobuf_frame(draw))
    lines = "\n".join(json.dumps(_command(draw)) for _ in range(draw.choice((1,) * 20 + (2, 5, 80))))
    if draw.random() < 0.03:
        return _mutated(draw, lines.encode()).decode(errors="replace")
    return lines


def _command(draw: random.Random) -> Any:
    """Mostly one that is well formed; a frame with another one closes the connection, and then nothing more happens."""
    if draw.random() < 0.05:
        return {}
    if draw.random() < 0.95:
        return {"id": draw.randrange(1, 9), draw.choice(COMMANDS[1:]): _request(draw)}
    command: dict[str, Any] = {"id": draw.choice(NUMBERS)}
    for _ in range(draw.choice((0, 1, 2))):
        command[draw.choice(COMMANDS)] = _request(draw) | {draw.choice(FIELDS): draw.choice((*NUMBERS, *VALUES))}
    return command


def _request(draw: random.Random) -> dict[str, Any]:
    request: dict[str, Any] = {
        "channel": draw.choice(("room:a", draw.choice(CHANNELS))),
        "method": draw.choice(("echo", "other")),
    }
    for name, values in OPTIONAL.items():
        if draw.random() < 0.2:
            request[name] = draw.choice(values)
    return request


def _protobuf_frame(draw: random.Random) -> bytes:
    frame = b""
    for _ in range(draw.choice((1, 1, 2, 4))):
        name = draw.choice(CHANNELS[:5]).encode()
        request = (
            b"\x0a" + bytes([len(name)]) + name + draw.choice((b"", b"\x12\x01\x31", b"\x12\x02\xff\xfe", b"\x18\x01"))
        )
        request += draw.randbytes(draw.choice((0, 0, 0, 3)))
        command = b"\x08" + bytes([draw.randrange(1, 128), draw.randrange(4, 16) << 3 | 2, len(request)]) + request
        frame += bytes([len(command)]) + command
    return frame


def _mutated(draw: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((0, 0, 0, 1, 3)) if changed else 0):
        at = draw.randrange(len(changed))
        changed[at : at + draw.randrange(3)] = draw.randbytes(draw.randrange(3))
        if not changed:
            break
    return bytes(changed)

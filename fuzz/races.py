"""Clients, the program and the store of rooms get in each other's way, in any order: in the end all agree.

Hooks and the store take a few turns of the loop, as they like. Meanwhile clients subscribe, leave and publish, the
program subscribes and unsubscribes them, the store reports gaps, and connections break. Each command must have one
answer. A client must miss nothing, and hear of no channel that it isn't in. In the end all must agree on the members.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.rooms import Node, SlowBroker
from trunkline.realtime import Limits, Refused
from trunkline.realtime.program.hooks import Hook
from trunkline.realtime.publication import Publication
from trunkline.testing import memory

OWN = ("history:1", "history:2", "plain:1", "plain:2")  # to which clients subscribe
GIVEN = ("history:a", "plain:b", "history:c")  # to which the program subscribes them

Pause = Callable[[], Awaitable[None]]


class RacingBroker(SlowBroker):
    """A store whose pauses are those of the race."""

    def __init__(self, pause: Pause) -> None:
        super().__init__()
        self._pause = pause

    async def pause(self) -> None:
        await self._pause()


class Library:
    """A client library: what it says, and what it makes of what it hears.

    Attributes:
        subscribed: channels in which the client believes to be.
        asked: commands without an answer, by id.
    """

    def __init__(self, node: Node) -> None:
        self.talker = node.talker()
        self.subscribed: set[str] = set()
        self.leaving: set[str] = set()
        self.resuming: set[str] = set()
        self.asked: dict[int, tuple[str, str]] = {}
        self.offsets: dict[str, int] = {}
        self.epochs: dict[str, str] = {}
        self.frames: asyncio.Queue[str | None] = asyncio.Queue()
        self.number = 0
        self.finding: str | None = None

    async def run(self, node: Node) -> None:
        """Say frames, one after the other."""
        while (frame := await self.frames.get()) is not None:
            await node.commands.receive(self.talker.client, frame)

    def command(self, kind: str, channel: str = "", **request: Any) -> str:
        self.number += 1
        self.asked[self.number] = kind, channel
        return json.dumps({"id": self.number, kind: {"channel": channel} | request if channel else request})

    def may(self, kind: str, channel: str) -> bool:
        """Whether a client library would say this command now."""
        here = channel in self.subscribed and channel not in self.leaving
        return kind == "publish" or (here is (kind == "unsubscribe") and (kind, channel) not in self.asked.values())

    def hear(self) -> None:
        for reply in self.talker.connection.take():
            push = reply.get("push", {})
            if "id" in reply:
                self._answered(reply)
            elif "subscribe" in push:
                self._enter(push["channel"], push["subscribe"])
            elif "unsubscribe" in push and push["channel"] in self.subscribed | self.resuming | self.leaving:
                self._unsubscribed(push["channel"], push["unsubscribe"]["code"])
            elif push.get("channel") not in self.subscribed:
                self.finding = f"heard of a channel in which it isn't: {push}"
            elif "pub" in push:
                self._publication(push["channel"], push["pub"])

    def _unsubscribed(self, channel: str, code: int) -> None:
        self.subscribed.discard(channel)
        self.resuming.discard(channel)
        if code >= 2500 and channel not in self.leaving:
            self.resuming.add(channel)
            position = {"offset": self.offsets[channel], "epoch": self.epochs[channel]}
            self.frames.put_nowait(self.command("subscribe", channel, recover=True, **position))

    def _answered(self, reply: Any) -> None:
        if reply["id"] not in self.asked:
            self.finding = f"the second answer to a command: {reply}"
            return
        kind, channel = self.asked.pop(reply["id"])
        if kind == "unsubscribe":
            self.subscribed.discard(channel)
            self.leaving.discard(channel)
        elif kind == "subscribe":
            self.resuming.discard(channel)
            if "subscribe" in reply:
                self._enter(channel, reply["subscribe"])
        elif kind == "connect" and "connect" in reply:
            for name, result in reply["connect"].get("subs", {}).items():
                self._enter(name, result)

    def _enter(self, channel: str, result: Any) -> None:
        self.subscribed.add(channel)
        self.offsets[channel] = result.get("offset", 0)
        self.epochs[channel] = result.get("epoch", "")
        for publication in result.get("publications", ()):
            self._publication(channel, publication)

    def _publication(self, channel: str, publication: Any) -> None:
        if "offset" in publication:
            if publication["offset"] != self.offsets[channel] + 1:
                self.finding = f"after {self.offsets[channel]} in {channel} came {publication}"
            self.offsets[channel] = publication["offset"]


def fuzz(draw: random.Random) -> str | None:
    """Let all of them do something, and look whether they agree in the end."""
    return memory.run(_play(draw))  # in no time, though clients are asked to recover one after the other


async def _play(draw: random.Random) -> str | None:
    async def pause() -> None:
        for _ in range(draw.choice((0, 0, 1, 2, 5))):
            await asyncio.sleep(0)

    async with Node(broker=RacingBroker(pause), limits=Limits(rate=None)) as node:
        _declare(node, draw, pause)
        libraries = [Library(node) for _ in range(3)]
        running = [asyncio.create_task(library.run(node)) for library in libraries]
        for library in libraries:
            named = {name: {"recover": True} for name in draw.sample(GIVEN, draw.randint(0, 2))}
            library.frames.put_nowait(library.command("connect", subs=named))
        working = await _work(node, draw, libraries)
        await _recover(libraries)
        for library in libraries:
            library.frames.put_nowait(None)
        await asyncio.gather(*running, *working)
        await node.tasks.settle()
        return _judge(libraries) or await _compare(node, libraries)


def _declare(node: Node, draw: random.Random, pause: Pause) -> None:
    async def decide(client: Any, name: str) -> None:
        await pause()
        if draw.random() < 0.1:
            raise Refused()

    async def wait(client: Any) -> None:
        await pause()

    async def connect(client: Any) -> None:
        await pause()
        client.channels = draw.sample(GIVEN, draw.randint(0, 2))

    history = node.channel("history:{name}", history=1000, presence=True, join_leave=True, publish="anyone")
    history(decide)
    history.on_publish(wait)
    history.on_unsubscribe(wait)
    node.channel("plain:{name}", presence=True, publish="anyone")(decide)
    node.functions.connect = Hook(connect)


async def _work(node: Node, draw: random.Random, libraries: list[Library]) -> list[asyncio.Task[Any]]:
    working = []
    for number in range(60):
        library, kind = draw.choice(libraries), draw.random()
        client, subscriptions = library.talker.client, node.subscriptions
        if kind < 0.4:
            _speak(library, draw, number)
        elif kind < 0.5:
            working.append(asyncio.create_task(subscriptions.unsubscribe(client, draw.choice(OWN + GIVEN))))
        elif kind < 0.6:
            working.append(asyncio.create_task(_subscribe(node, client, draw.choice(GIVEN))))
        elif kind < 0.8:
            channel = draw.choice(OWN + GIVEN)
            published = node.publisher.publish(node.channels.get(channel)[0], channel, Publication(b"%d" % number))
            working.append(asyncio.create_task(published))
        elif kind < 0.81:
            client.peer_left()
        elif kind < 0.84:
            node.hub.on_gap(draw.choice((*OWN, *GIVEN, None)))
        for _ in range(draw.choice((0, 1, 1, 3))):
            await asyncio.sleep(0)
        for each in libraries:
            each.hear()
    return working


async def _recover(libraries: list[Library]) -> None:
    """Let clients hear that they must recover, and do so."""
    for _ in range(10):
        await asyncio.sleep(1)
        for library in libraries:
            library.hear()


def _speak(library: Library, draw: random.Random, number: int) -> None:
    commands = []
    for _ in range(draw.randint(1, 3)):
        kind, channel = draw.choice(("subscribe", "subscribe", "unsubscribe", "publish")), draw.choice(OWN)
        if library.may(kind, channel):
            if kind == "unsubscribe":
                library.leaving.add(channel)
            commands.append(library.command(kind, channel, **({"data": number} if kind == "publish" else {})))
    if commands:
        library.frames.put_nowait("\n".join(commands))


async def _subscribe(node: Node, client: Any, channel: str) -> None:
    await node.subscriptions.subscribe(client, channel)


def _judge(libraries: list[Library]) -> str | None:
    for library in libraries:
        library.hear()
        client = library.talker.client
        if library.finding is not None:
            return library.finding
        if not client.leaving and library.talker.connection.closed is None:
            if library.asked:
                return f"no answer: {library.asked}"
            if library.subscribed != set(client.subscriptions):
                return f"it believes to be in {library.subscribed}, and is in {set(client.subscriptions)}"
    return None


async def _compare(node: Node, libraries: list[Library]) -> str | None:
    """Compare the room, presence and the store of each channel, before and after all clients are gone."""
    for gone in (False, True):
        for channel in OWN + GIVEN:
            there = {each.talker.client for each in libraries if channel in each.talker.client.subscriptions}
            room = node.hub.rooms.get(channel)
            inside = set() if room is None else set(room.clients())
            present = set(await node.presence.get(channel))
            listening = channel in node.broker._subscribed
            if (inside, present, listening) != (there, {client.id for client in there}, bool(there)):
                return f"{channel} has {there}; the room {inside}, presence {present}, the store listens: {listening}"
        for library in () if gone else libraries:
            library.talker.client.closed()
        await node.tasks.settle()
    return None

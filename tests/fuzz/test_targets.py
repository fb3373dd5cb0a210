"""A short run of the fuzz targets on the same input each time, and the proof that they would find something."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fuzz import __main__ as program
from fuzz import heads, rooms, sessions, twins
from fuzz.sessions import Step
from tests.support.raw import encode_frame
from trunkline.realtime import Client
from trunkline.realtime.commands.subscribe import Subscribing
from trunkline.realtime.hub.room import Room
from trunkline.realtime.subscriptions.listening import Listening
from trunkline.realtime.wire.messages import SubscribeRequest


@pytest.mark.parametrize("target", sorted(program.TARGETS))
@pytest.mark.parametrize("start", range(0, 400, 100))
def test_random_input(target: str, start: int) -> None:
    for seed in range(start, start + 100):
        assert program.run(target, seed) is None, f"python -m fuzz --target {target} --seed {seed}"


def test_the_copy_is_interpreted() -> None:
    installed, interpreted = twins.load("trunkline.core.reader")
    assert installed is not interpreted
    assert interpreted.__file__ is not None
    assert interpreted.__file__.endswith(".py")
    assert interpreted.Reader is not installed.Reader
    assert interpreted.FrameSink.__module__ == installed.FrameSink.__module__ == "trunkline.core.reader"
    assert not interpreted.cython.compiled


@pytest.mark.compiled
def test_the_original_is_compiled() -> None:
    installed, _ = twins.load("trunkline.core.session")
    assert installed.__file__ is not None
    assert not installed.__file__.endswith(".py")


def test_a_difference_is_found_and_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(sessions.Run):
        """A session that answers no ping."""

        def state(self) -> Any:
            seen = super().state()
            if type(self.session) is sessions.INTERPRETED.Session:
                seen["outgoing"] = [frame for frame in seen["outgoing"] if frame[0] != 10]
            return seen

    monkeypatch.setattr(sessions, "Run", Forgetful)
    steps = [Step("receive_data", (encode_frame(opcode, b"x"),)) for opcode in (1, 2, 10, 9, 1)]
    difference = sessions.compare(False, steps)
    assert difference is not None
    assert sessions.shortened(difference).steps == [steps[3]]
    assert "the builds differ, as server, after" in str(difference)


def test_compressed_conversations_are_mostly_understood() -> None:
    """So that the target looks behind the first frame: messages arrive, and some are refused for their size."""
    messages, codes = 0, set()
    for seed in range(60):
        draw = random.Random(seed)
        run = sessions.Run(sessions.COMPILED, client=False, deflate=True)
        for step in sessions.conversation(draw, client=False, deflate=True):
            (_, state) = run.take(step)
        messages += state["inbox"][0]
        sent = run.session.close_sent
        codes.add(None if sent is None else sent.code)
    assert messages > 30
    assert {1002, 1007, 1009} <= codes


def test_a_split_that_matters_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "server_reads", lambda parts: len(list(parts)))
    monkeypatch.setattr(heads, "client_reads", lambda parts: len(list(parts)))
    assert any(program.run("heads", seed) for seed in range(10))


def test_program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert program.main(["--seed", "1"]) == 0
    assert "nothing found: 1 deflate, 1 heads, 1 races, 1 rooms, 1 sessions" in capsys.readouterr().out
    monkeypatch.setitem(program.TARGETS, "heads", lambda draw: "a finding" if draw.random() else None)
    assert program.main(["--seconds", "5", "--target", "heads"]) == 1
    assert "a finding" in capsys.readouterr().out


def test_what_a_target_raises_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(program.TARGETS, "heads", lambda draw: str(1 // 0))
    finding = program.run("heads", 1)
    assert finding is not None
    assert "ZeroDivisionError" in finding


def test_a_client_that_leaves_something_behind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forget(*arguments: Any) -> None:
        pass

    monkeypatch.setattr("trunkline.realtime.subscriptions.leaving.Leaving._tell_others", forget)
    assert any("left behind" in (program.run("rooms", seed) or "") for seed in range(5))


def test_clients_of_rooms_get_somewhere() -> None:
    """So that the target looks behind the first command: some are carried out, some refused, some disconnected."""
    codes: set[int | None] = set()
    results: set[str] = set()

    def judge(talkers: list[Any]) -> None:
        for talker in talkers:
            codes.add(talker.connection.closed and talker.connection.closed[0])
            if talker.client.codec.name == "json":
                for reply in talker.connection.take():
                    codes.add(reply.get("error", {}).get("code"))
                    results.update(reply)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rooms, "_judge", judge)
        for seed in range(60):
            rooms.fuzz(random.Random(seed))
    assert {"subscribe", "unsubscribe", "publish", "presence", "history", "rpc", "push"} <= results
    assert {102, 103, 105, 107, 108, 3008, 3501} <= codes


def test_a_command_without_an_answer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgetful(self: Subscribing, client: Client, id: int, request: SubscribeRequest) -> None:
        await self._join(client, id, request)

    monkeypatch.setattr(Subscribing, "subscribe", forgetful)
    assert any("no answer" in (program.run("races", seed) or "") for seed in range(200))


def test_a_subscription_that_the_store_forgot_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def begin(self: Listening, room: Room) -> None:
        if not room.listening:
            async with self._turn(room.name):
                if not room.listening:  # though the room may be gone
                    await self.broker.subscribe(room.name)
                    room.listening = True

    monkeypatch.setattr(Listening, "begin", begin)
    assert any("the store listens" in (program.run("races", seed) or "") for seed in range(5000))

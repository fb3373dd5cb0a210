"""The rules of a room, with connections that only remember and clocks that stand still."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from trunkline.chat.envelopes import SUBPROTOCOL
from trunkline.chat.room import Limits, Room, clean_name


@dataclass
class FakeTransport:
    unread: int = 0
    aborted: bool = False

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.aborted = True


@dataclass(eq=False)
class FakeConnection:
    subprotocol: str | None = None
    transport: FakeTransport = field(default_factory=FakeTransport)
    heard: list[Any] = field(default_factory=list)

    def of_type(self, type_: str) -> list[dict[str, Any]]:
        return [envelope for envelope in map(msgspec.json.decode, self.heard) if envelope["type"] == type_]


def page() -> FakeConnection:
    return FakeConnection(SUBPROTOCOL)


class House:
    """A room, its clocks, and the functions that it wants to have called later."""

    def __init__(self, **limits: Any) -> None:
        self.now = 0.0
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.fan_outs = 0
        self.room = Room(
            "",
            fan_out=self.fan_out,
            call_later=lambda delay, function: self.later.append((delay, function)),
            limits=Limits(**limits),
            clock=lambda: self.now,
            wall_clock=lambda: 1_700_000_000.5,
        )

    def fan_out(self, connections: Iterable[FakeConnection], data: bytes, *, text: bool) -> None:
        self.fan_outs += 1
        for connection in connections:
            connection.heard.append(data.decode() if text else data)

    def run_later(self) -> None:
        while self.later:
            self.later.pop()[1]()


def say(text: str, id: str = "1") -> bytes:
    return msgspec.json.encode({"type": "message", "id": id, "text": text})


def test_plain_clients_hear_exactly_the_text_and_so_does_its_sender() -> None:
    house, one, other = House(), FakeConnection(), FakeConnection()
    member = house.room.join(one)
    house.room.join(other)
    text = ' {"type": "message"}\n\u2028 <b>é\x00'
    assert house.room.receive(member, text) is None
    assert one.heard == other.heard == [text]


def test_plain_clients_hear_exactly_the_bytes_and_pages_hear_how_many() -> None:
    house, plain, browser = House(), FakeConnection(), page()
    member = house.room.join(plain)
    house.room.join(browser)
    house.room.receive(member, b"\xff\x00")
    assert plain.heard == [b"\xff\x00"]
    [envelope] = browser.of_type("binary")
    assert (envelope["name"], envelope["size"]) == ("guest-1", 2)


def test_a_page_is_heard_by_all_in_their_own_way() -> None:
    house, plain, browser, other = House(), FakeConnection(), page(), page()
    house.room.join(plain)
    house.room.join(other)
    member = house.room.join(browser)
    house.room.receive(member, b'{"type": "hello", "name": "Ada"}'.decode())
    house.room.receive(member, say("hi", "x1").decode())
    assert plain.heard == ["hi"]
    expected = {"type": "message", "id": "x1", "name": "Ada", "text": "hi", "time": 1_700_000_000.5}
    assert browser.of_type("message") == other.of_type("message") == [expected]


def test_a_guest_is_heard_by_pages_under_a_guests_name() -> None:
    house, plain, browser = House(), FakeConnection(), page()
    house.room.join(browser)
    house.room.receive(house.room.join(plain), "hi")
    [envelope] = browser.of_type("message")
    assert (envelope["name"], envelope["text"]) == ("guest-2", "hi")


def test_a_message_is_encoded_once_for_each_kind_of_client() -> None:
    house = House()
    member = house.room.join(FakeConnection())
    for _ in range(100):
        house.room.join(page())
        house.room.join(FakeConnection())
    house.room.receive(member, "hi")
    assert house.fan_outs == 2


@pytest.mark.parametrize("bad", ["", "{", '{"type": "x"}', b"\x00"])
def test_a_bad_envelope_is_answered_and_nobody_else_hears_it(bad: str | bytes) -> None:
    house, browser, plain = House(), page(), FakeConnection()
    member = house.room.join(browser)
    house.room.join(plain)
    reply = house.room.receive(member, bad)
    assert reply is not None
    assert msgspec.json.decode(reply)["type"] == "error"
    assert house.room.receive(member, say("still here").decode()) is None
    assert plain.heard == ["still here"]


def test_a_plain_client_is_told_what_was_refused() -> None:
    house, one, other = House(rate=1, burst=2), FakeConnection(), FakeConnection()
    member = house.room.join(one)
    house.room.join(other)
    replies = [house.room.receive(member, str(number)) for number in range(4)]
    assert other.heard == ["0", "1"]
    assert replies[:2] == [None, None]
    assert b"at most 1 messages per second" in (replies[2] or b"")
    assert b"(2 refused so far)" in (replies[3] or b"")
    house.now = 1.0
    assert house.room.receive(member, "4") is None
    assert other.heard[-1] == "4"


def test_a_page_is_told_which_message_was_refused() -> None:
    house = House(rate=1, burst=1)
    member = house.room.join(page())
    house.room.receive(member, say("a", "first").decode())
    reply = msgspec.json.decode(house.room.receive(member, say("b", "second").decode()) or b"")
    assert (reply["type"], reply["id"]) == ("error", "second")


def test_one_client_has_no_share_in_the_rate_of_another() -> None:
    house = House(rate=1, burst=1)
    one, other = house.room.join(FakeConnection()), house.room.join(FakeConnection())
    assert house.room.receive(one, "a") is None
    assert house.room.receive(other, "b") is None


def test_who_does_not_read_is_dropped_and_the_others_stay() -> None:
    house, slow, quick = House(backlog=100), FakeConnection(), FakeConnection()
    house.room.join(slow)
    member = house.room.join(quick)
    slow.transport.unread, quick.transport.unread = 101, 100
    house.room.receive(member, "hi")
    assert slow.transport.aborted
    assert not quick.transport.aborted


def test_who_comes_in_later_is_shown_what_was_said() -> None:
    house = House(history=2)
    member = house.room.join(FakeConnection())
    for text in ("one", "two", "three"):
        house.room.receive(member, text)
    welcome = msgspec.json.decode(house.room.welcome(house.room.join(page())))
    assert [envelope["text"] for envelope in welcome["history"]] == ["two", "three"]
    assert (welcome["you"], welcome["name"], welcome["max_size"]) == (2, "guest-2", 65_536)


def test_many_arrivals_make_one_list_of_who_is_here() -> None:
    house, browser = House(people=3), page()
    house.room.join(browser)
    for _ in range(999):
        house.room.join(FakeConnection())
    assert len(house.later) == 1
    house.run_later()
    [presence] = browser.of_type("presence")
    assert presence["count"] == 1000
    assert [person["name"] for person in presence["people"]] == ["guest-1", "guest-2", "guest-3"]
    house.room.join(FakeConnection())
    assert [delay for delay, _ in house.later] == [pytest.approx(1.001)]


def test_a_list_of_who_is_here_follows_names_and_departures() -> None:
    house, browser = House(), page()
    member = house.room.join(browser)
    guest = house.room.join(FakeConnection())
    house.room.receive(member, '{"type": "hello", "name": "Ada"}')
    house.room.leave(guest)
    house.run_later()
    assert browser.of_type("presence")[-1]["people"] == [{"id": 1, "name": "Ada"}]


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("Ada", "Ada"),
        ("  Ada \n\t Lovelace ", "Ada Lovelace"),
        ("evil\u202egnp", "evil gnp"),
        ("\x1b[2J", "[2J"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("x" * 50, "x" * 40),
        ("\u200b \u00a0", ""),
    ],
)
def test_clean_name(name: str, clean: str) -> None:
    assert clean_name(name) == clean


def test_without_a_name_one_is_a_guest() -> None:
    house, browser = House(), page()
    member = house.room.join(browser)
    house.room.receive(member, '{"type": "hello", "name": "Ada"}')
    house.room.receive(member, '{"type": "hello", "name": " "}')
    assert member.name == "guest-1"

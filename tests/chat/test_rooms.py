"""Names, and what plain clients send and get. test_server.py tests the rooms, over connections."""

from __future__ import annotations

import pytest

from trunkline.chat.rooms import Limits, Message, Speaker, channel_of, check_name, clean_name, from_plain, to_plain
from trunkline.realtime import Refused


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


@pytest.mark.parametrize(
    ("room", "channel"),
    [
        ("", "lobby"),
        ("tea", "room:tea"),
        ("té & more: it's (fine)!*", "room:t%C3%A9%20%26%20more%3A%20it's%20(fine)!*"),
    ],
)
def test_channels_are_named_as_the_page_names_them(room: str, channel: str) -> None:
    assert channel_of(room) == channel
    check_name(None, **({"name": channel.removeprefix("room:")} if room else {}))


@pytest.mark.parametrize("name", ["%74ea", "t%c3%a9", "té", "a/b", "a%2Fb", "%25", "%0A", "x" * 65, "%FF"])
def test_no_room_has_two_channels_and_no_channel_is_without_a_room(name: str) -> None:
    with pytest.raises(Refused) as refusal:
        check_name(None, name=name)
    assert refusal.value.code == 102


@pytest.mark.parametrize("data", ["", "hello", ' {"id": "x"}\n\u2028 <b>é\x00', b"", b"\xff\x00"])
def test_plain_clients_get_exactly_what_plain_clients_send(data: str | bytes) -> None:
    assert to_plain(from_plain(data)) == data


def test_plain_clients_get_the_text_of_pages() -> None:
    assert to_plain(Message("x", "hi")) == "hi"


def test_how_much_one_may_say() -> None:
    speaker = Speaker(Limits(rate=1, burst=2))
    assert [speaker.may_speak(0) for _ in range(4)] == [True, True, False, False]
    assert speaker.refused == 2
    assert speaker.may_speak(1)

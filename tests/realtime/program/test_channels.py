import re

import pytest

from trunkline.realtime import Refused
from trunkline.realtime.program.channels import LONGEST_NAME, ChannelOptions, Channels, Pattern


@pytest.mark.parametrize(
    ("pattern", "name", "parameters"),
    [
        ("news", "news", {}),
        ("news", "news2", None),
        ("chat:{room}", "chat:lobby", {"room": "lobby"}),
        ("chat:{room}", "chat:a.b/c #1", {"room": "a.b/c #1"}),
        ("chat:{room}", "chat:", None),
        ("chat:{room}", "chat:a:b", None),
        ("chat:{room}", "chat:a\nb", {"room": "a\nb"}),
        ("chat:{room}:{user}", "chat:a:b", {"room": "a", "user": "b"}),
        ("a.b{c}", "axb1", None),
        ("{anything}", "x", {"anything": "x"}),
    ],
)
def test_patterns(pattern: str, name: str, parameters: dict[str, str] | None) -> None:
    assert Pattern(pattern).match(name) == parameters


def test_patterns_can_be_filled_in() -> None:
    assert Pattern("chat:{room}").format(room=7) == "chat:7"
    with pytest.raises(KeyError):
        Pattern("chat:{room}").format()


@pytest.mark.parametrize("pattern", ["", "{", "a}b", "{}", "{1a}", "{a b}", "{a}:{a}", "{{a}}"])
def test_malformed_patterns(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Pattern(pattern)


def test_nothing_is_declared_for_long_names() -> None:
    channels = Channels()
    channels.declare("chat:{room}", ChannelOptions())
    assert channels.find("chat:" + "x" * (LONGEST_NAME - 5)) is not None
    assert channels.find("chat:" + "x" * (LONGEST_NAME - 4)) is None


def test_a_client_learns_that_a_name_is_too_long() -> None:
    channels = Channels()
    channels.declare("chat:{room}", ChannelOptions())
    assert channels.get("chat:x")[1] == {"room": "x"}
    with pytest.raises(Refused, match="102: unknown channel"):
        channels.get("news")
    with pytest.raises(Refused, match="107: the name of a channel has 256 characters: at most 255 are allowed"):
        channels.get("chat:" + "x" * 251)


@pytest.mark.parametrize(
    ("patterns", "name", "counts"),
    [
        (["chat:{room}", "chat:staff"], "chat:staff", "chat:staff"),
        (["chat:{room}", "chat:staff"], "chat:staff2", "chat:{room}"),
        (["{anything}", "chat{x}", "chat:{room}", "chat:s{x}", "chat:{x}f"], "chat:staff", "chat:s{x}"),
        (["{a}", "{a}{b}"], "xy", "{a}{b}"),
        (["{a}", "{a}{b}"], "x", "{a}"),
        (["{a}:{b}", "{a}:staff", "team:{b}"], "team:staff", "{a}:staff"),
        (["a{x}", "{x}a"], "aba", "a{x}"),
    ],
)
def test_the_pattern_that_says_most_counts(patterns: list[str], name: str, counts: str) -> None:
    for order in (patterns, patterns[::-1]):
        channels = Channels()
        for pattern in order:
            channels.declare(pattern, ChannelOptions())
        match = channels.find(name)
        assert match is not None
        assert match[0].pattern.text == counts


@pytest.mark.parametrize(("known", "again"), [("news", "news"), ("chat:{room}", "chat:{name}"), ("{a}.{b}", "{x}.{y}")])
def test_patterns_that_match_the_same_names(known: str, again: str) -> None:
    channels = Channels()
    channels.declare(known, ChannelOptions())
    with pytest.raises(ValueError, match=re.escape(f"{again!r} is declared already, as {known!r}")):
        channels.declare(again, ChannelOptions())


def test_each_function_of_a_channel_is_declared_once() -> None:
    channel = Channels().declare("chat:{room}", ChannelOptions())
    for declare in (channel, channel.on_publish, channel.on_unsubscribe):
        declare(lambda client: None)
        with pytest.raises(ValueError, match="already, and there can only be one"):
            declare(lambda client: None)
    for change in (channel.to_plain, channel.from_plain):
        with pytest.raises(TypeError, match="must take a message"):
            change(lambda: None)
        change(lambda message: None)
        with pytest.raises(ValueError, match="already, and there can only be one"):
            change(lambda message: None)


def test_what_is_found() -> None:
    channels = Channels()
    lobby = channels.declare("chat:lobby", ChannelOptions())
    chat = channels.declare("chat:{room}", ChannelOptions())
    assert channels.find("chat:lobby") == (lobby, {})
    assert channels.find("chat:x") == (chat, {"room": "x"})
    assert channels.find("news") is None
    first = channels.declare("a{x}b{y}", ChannelOptions())
    channels.declare("a{x}c{y}", ChannelOptions())
    assert channels.find("a1b2c3") == (first, {"x": "1", "y": "2c3"})
    with pytest.raises(ValueError, match="'chat:lobby' is declared already"):
        channels.declare("chat:lobby", ChannelOptions())


@pytest.mark.parametrize(
    "options",
    [{"slow": "wait"}, {"recover": True}, {"subscribe": "all"}, {"publish": "token"}, {"history": -1}, {"ttl": -1}],
)
def test_options_that_make_no_sense(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ChannelOptions(**options)  # type: ignore[arg-type]


def test_without_history_nothing_can_be_recovered() -> None:
    assert ChannelOptions(history=1).recoverable
    assert not ChannelOptions().recoverable
    assert not ChannelOptions(history=1, ttl=0).recoverable
    assert not ChannelOptions(history=1, recover=None).recoverable

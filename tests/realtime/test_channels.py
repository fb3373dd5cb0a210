import pytest

from trunkline.realtime.channels import LONGEST_NAME, ChannelOptions, Channels, Pattern


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


def test_the_first_pattern_that_matches_counts() -> None:
    channels = Channels()
    lobby = channels.declare("chat:lobby", ChannelOptions())
    chat = channels.declare("chat:{room}", ChannelOptions())
    assert channels.find("chat:lobby") == (lobby, {})
    assert channels.find("chat:x") == (chat, {"room": "x"})
    assert channels.find("news") is None
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

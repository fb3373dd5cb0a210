import pytest

from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.commands.auth import Auth, overridden
from trunkline.realtime.options import ChannelOptions
from trunkline.realtime.tokens import Key, Tokens

NOW = 1000.0
tokens = Tokens(Key("HS256", "secret" * 8), clock=lambda: NOW)
auth = Auth(tokens, lambda: NOW)
old = Tokens(Key("HS256", "secret" * 8), clock=lambda: NOW - 100)
strange = Tokens(Key("HS256", "other!" * 8), clock=lambda: NOW)


def test_good_tokens() -> None:
    assert auth.connection(tokens.connection("ada")).user == "ada"
    assert auth.subscription(tokens.subscription("ada", "a"), user="ada", channel="a").channel == "a"


def test_whose_time_is_over_may_get_a_new_one() -> None:
    with pytest.raises(Refused, match="109: token expired"):
        auth.connection(old.connection("ada", ttl=10))
    with pytest.raises(Refused, match="109: token expired"):
        auth.subscription(old.subscription("ada", "a", ttl=10), user="ada", channel="a")


def test_the_time_that_is_left() -> None:
    assert auth.time_left(None) is None
    assert auth.time_left(NOW + 5) == 5
    for over in (NOW, NOW - 5):
        with pytest.raises(Refused, match="109: token expired"):
            auth.time_left(over)


@pytest.mark.parametrize("token", ["", "x", strange.connection("ada"), tokens.subscription("ada", "a")])
def test_no_good_for_a_connection(token: str) -> None:
    with pytest.raises(Disconnected, match="3500: invalid token"):
        auth.connection(token)


@pytest.mark.parametrize(
    "token", ["", tokens.connection("ada"), tokens.subscription("bob", "a"), tokens.subscription("ada", "b")]
)
def test_no_good_for_a_subscription(token: str) -> None:
    with pytest.raises(Refused, match="103: permission denied"):
        auth.subscription(token, user="ada", channel="a")


def test_without_keys_no_token_is_looked_at() -> None:
    for check in (lambda: Auth(None, lambda: NOW).connection("x"), lambda: refuse_subscription()):
        with pytest.raises(Refused, match="108: not available"):
            check()


def refuse_subscription() -> object:
    return Auth(None, lambda: NOW).subscription("x", user="ada", channel="a")


def test_a_token_may_say_otherwise() -> None:
    options = ChannelOptions(history=1)
    assert overridden(options, {}) is options
    assert overridden(options, {"presence": True}).presence
    assert overridden(options, {"join_leave": True}).join_leave
    assert not overridden(options, {"join_leave": True, "force_push_join_leave": False}).join_leave
    assert not overridden(options, {"force_recovery": False}).recoverable
    assert overridden(ChannelOptions(history=1, recover=None), {"force_positioning": True}).recoverable
    assert not overridden(ChannelOptions(), {"force_recovery": True}).recoverable

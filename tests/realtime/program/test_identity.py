import enum
import math
from typing import Any

import pytest

from trunkline.realtime.program.identity import Identity
from trunkline.realtime.publication import ClientInfo

HALF = "\ud83d"  # of an emoji


class Name(enum.StrEnum):
    ADA = "ada"


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("user", None, TypeError),
        ("user", 42, TypeError),
        ("user", b"ada", TypeError),
        ("user", HALF, ValueError),
        ("info", object(), TypeError),
        ("info", {"name": HALF}, ValueError),
        ("channels", "news", TypeError),
        ("channels", b"news", TypeError),
        ("channels", None, TypeError),
        ("channels", 5, TypeError),
        ("channels", ["news", 5], TypeError),
        ("channels", [HALF], ValueError),
        ("ttl", "60", TypeError),
        ("ttl", True, TypeError),
        ("ttl", math.nan, ValueError),
        ("ttl", math.inf, ValueError),
    ],
)
def test_a_wrong_value_is_refused_where_it_is_set(name: str, value: Any, error: type[Exception]) -> None:
    identity = Identity()
    before = getattr(identity, name)
    with pytest.raises(error):
        setattr(identity, name, value)
    assert getattr(identity, name) == before


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("user", "ada", "ada"),
        ("user", Name.ADA, "ada"),
        ("user", Text("ada"), "ada"),
        ("info", {"name": "Ada"}, {"name": "Ada"}),
        ("info", b'{"name":"Ada"}', b'{"name":"Ada"}'),
        ("info", None, None),
        ("channels", ["news", "news", Name.ADA], ["news", "ada"]),
        ("channels", {"news": 1}.keys(), ["news"]),
        ("channels", (each for each in ("a", "b")), ["a", "b"]),
        ("ttl", 60, 60),
        ("ttl", -0.5, -0.5),
        ("ttl", None, None),
    ],
)
def test_a_good_value_is_kept(name: str, value: Any, kept: Any) -> None:
    identity = Identity()
    setattr(identity, name, value)
    assert getattr(identity, name) == kept
    assert type(getattr(identity, name)) is type(kept)


def test_the_user_stays_the_one_that_others_know() -> None:
    identity = Identity()
    identity.user = "ada"
    identity.shown = ClientInfo("ada", "1")
    with pytest.raises(RuntimeError, match=r"client\.user is 'ada' and stays so; set it in the connect hook"):
        identity.user = "bob"


def test_nothing_of_it_stays() -> None:
    identity = Identity()
    identity.user, identity.info, identity.channels, identity.ttl = "ada", {"name": "Ada"}, ["news"], 60
    identity.token, identity.meta, identity.data, identity.name, identity.version = "t", b"1", object(), "js", "5"
    identity.shown = ClientInfo("ada", "1")
    identity.forget()
    nobody = Identity()
    for name in ("user", "info", "channels", "ttl", "token", "meta", "data", "name", "version", "shown"):
        assert getattr(identity, name) == getattr(nobody, name), name

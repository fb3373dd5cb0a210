"""URLs name servers of Redis."""

import re

import pytest

from trunkline.realtime.brokers.redis.address import Address, split_options


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", Address()),
        ("redis://cache", Address(host="cache")),
        ("redis://cache:6380/3", Address(host="cache", port=6380, db=3)),
        ("redis://[::1]:7", Address(host="::1", port=7)),
        ("redis://:s3cret@cache", Address(host="cache", password="s3cret")),
        ("rediss://ada:p%40ss%2F@cache/1", Address(host="cache", user="ada", password="p@ss/", db=1, tls=True)),
        ("unix:///run/redis.sock", Address(path="/run/redis.sock")),
        ("unix://ada:pw@/run/a%20b.sock?db=2", Address(path="/run/a b.sock", user="ada", password="pw", db=2)),
    ],
)
def test_of(url: str, address: Address) -> None:
    assert Address.of(url) == address


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://cache", "'http://cache' names no Redis server"),
        ("redis://:secret@cache:x", "'redis://cache:x' has no valid port"),
        ("redis://:secret@cache/first", "'redis://cache/first' names the database 'first'"),
        ("redis://cache/-1", "names the database '-1'"),
        ("unix://run/redis.sock", "has no path; write unix:///run/redis.sock"),
        ("unix:///run/redis.sock?db=x", "names the database 'x'"),
    ],
)
def test_no_address(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        Address.of(url)
    assert "secret" not in str(caught.value)


def test_passwords_are_not_shown() -> None:
    address = Address.of("rediss://ada:s3cret@cache:1")
    assert str(address) == "rediss://cache:1"
    assert "s3cret" not in repr(address)
    assert str(Address.of("redis://[::1]")) == "redis://[::1]:6379"
    assert str(Address.of("unix:///run/redis.sock")) == "unix:///run/redis.sock"


def test_options() -> None:
    assert split_options("redis://cache?prefix=x&durable=1", ("prefix", "durable")) == {"prefix": "x", "durable": "1"}
    with pytest.raises(ValueError, match="unknown option 'prefx'; there are only prefix"):
        split_options("redis://:pw@cache?prefx=x", ("prefix",))
    with pytest.raises(ValueError, match="the option 'prefix' twice"):
        split_options("redis://cache?prefix=x&prefix=y", ("prefix",))

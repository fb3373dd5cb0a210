"""The URL says where NATS is, and who we are there."""

from trunkline.realtime.brokers.nats.address import Address, Server


def test_several_servers() -> None:
    address = Address.of("nats://ada:p%40ss@one,two:4333,[::1]:1/?prefix=x&retain=1h")
    assert address.servers == (Server("one", 4222), Server("two", 4333), Server("::1", 1))
    assert (address.user, address.password, address.token) == ("ada", "p@ss", "")
    assert address.options == {"prefix": "x", "retain": "1h"}
    assert str(address) == "nats://one:4222,two:4333,[::1]:1"
    assert "p@ss" not in repr(address)


def test_a_token_and_tls() -> None:
    address = Address.of("tls://s3cret@host")
    assert (address.token, address.user, address.tls) == ("s3cret", "", True)
    assert "s3cret" not in f"{address} {address!r}"

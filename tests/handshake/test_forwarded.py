"""handshake.forwarded: a client can't pretend to be another, and proxies are believed as far as they are trusted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.datastructures import Headers
from trunkline.handshake.forwarded import Client, TrustedProxies

PROXY = ("10.0.0.1", 40000)
TRUSTED = TrustedProxies(["10.0.0.0/8", "::1", "2001:db8:ff::/48"])
FOR, PROTO, FORWARDED = "X-Forwarded-For", "X-Forwarded-Proto", "Forwarded"

CLIENTS = {
    "nothing said": ([], Client(PROXY)),
    "one proxy": ([(FOR, "192.0.2.1")], Client(("192.0.2.1", 0))),
    "with a port": ([(FOR, "192.0.2.1:1234")], Client(("192.0.2.1", 1234))),
    "IPv6": ([(FOR, "2001:db8::1")], Client(("2001:db8::1", 0))),
    "IPv6 with a port": ([(FOR, "[2001:db8::1]:1234")], Client(("2001:db8::1", 1234))),
    "two proxies": ([(FOR, "192.0.2.1, 10.2.3.4")], Client(("192.0.2.1", 0))),
    "in two headers": ([(FOR, "192.0.2.1"), (FOR, "10.2.3.4")], Client(("192.0.2.1", 0))),
    "spoofed": ([(FOR, "203.0.113.9, 192.0.2.1, 10.2.3.4")], Client(("192.0.2.1", 0))),
    "spoofed with a proxy": ([(FOR, "203.0.113.9, 10.9.9.9, 192.0.2.1")], Client(("192.0.2.1", 0))),
    "spoofed with nonsense": ([(FOR, "<script>, 192.0.2.1")], Client(("192.0.2.1", 0))),
    "nonsense": ([(FOR, "unknown")], Client(PROXY)),
    "nonsense behind a proxy": ([(FOR, "203.0.113.9, unknown, 10.2.3.4")], Client(("10.2.3.4", 0))),
    "proxies only": ([(FOR, "10.3.3.3, 10.2.3.4")], Client(("10.3.3.3", 0))),
    "https": ([(FOR, "192.0.2.1"), (PROTO, "https")], Client(("192.0.2.1", 0), "https")),
    "wss": ([(FOR, "192.0.2.1"), (PROTO, "WSS")], Client(("192.0.2.1", 0), "https")),
    "a scheme for each": ([(FOR, "192.0.2.1, 10.2.3.4"), (PROTO, "https, http")], Client(("192.0.2.1", 0), "https")),
    "a spoofed scheme": ([(FOR, "8.8.8.8, 192.0.2.1"), (PROTO, "https, http")], Client(("192.0.2.1", 0), "http")),
    "a scheme alone": ([(PROTO, "https")], Client(PROXY, "https")),
    "no scheme": ([(PROTO, "gopher")], Client(PROXY)),
    "Forwarded": ([(FORWARDED, "for=192.0.2.1;proto=https;by=203.0.113.43")], Client(("192.0.2.1", 0), "https")),
    "Forwarded, IPv6": ([(FORWARDED, 'For="[2001:db8:cafe::17]:4711"')], Client(("2001:db8:cafe::17", 4711))),
    "Forwarded, two": ([(FORWARDED, "for=192.0.2.1, for=10.2.3.4")], Client(("192.0.2.1", 0))),
    "Forwarded, spoofed": ([(FORWARDED, "for=203.0.113.9"), (FORWARDED, "for=192.0.2.1")], Client(("192.0.2.1", 0))),
    "Forwarded, hidden": ([(FORWARDED, "for=_gazonk;proto=https, for=10.2.3.4")], Client(("10.2.3.4", 0), "https")),
    "Forwarded, a quote": ([(FORWARDED, 'for="\\192.0.2.1"')], Client(("192.0.2.1", 0))),
    "Forwarded, broken": ([(FORWARDED, 'for="192.0.2.1')], Client(PROXY)),
    "Forwarded, broken by the client": ([(FORWARDED, 'for="a, for=192.0.2.1')], Client(("192.0.2.1", 0))),
    "both": ([(FORWARDED, "for=192.0.2.1"), (FOR, "203.0.113.9")], Client(("192.0.2.1", 0))),
}


@pytest.mark.parametrize(("headers", "client"), CLIENTS.values(), ids=CLIENTS)
def test_clients_of_a_trusted_proxy(headers, client):
    assert TRUSTED.find_client(PROXY, Headers(headers)) == client


@pytest.mark.parametrize(("headers", "client"), CLIENTS.values(), ids=CLIENTS)
def test_others_are_not_believed(headers, client):
    for peer in (("192.0.2.77", 1), ("2001:db8::77", 1, 0, 0), "", None):
        assert TRUSTED.find_client(peer, Headers(headers)) == Client(peer)


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        (("10.255.0.1", 1), True),
        (("11.0.0.1", 1), False),
        (("::1", 1, 0, 0), True),
        (("::2", 1, 0, 0), False),
        (("::ffff:10.0.0.1", 1, 0, 0), True),  # how a socket of IPv6 sees IPv4
        (("::ffff:11.0.0.1", 1, 0, 0), False),
        (("2001:db8:ff::9", 1, 0, 0), True),
        (("fe80::1%eth0", 1, 0, 2), False),
        ("", False),
        (None, False),
    ],
)
def test_who_is_trusted(peer, trusted):
    assert TRUSTED.trusts(peer) is trusted


def test_unix_sockets_and_everybody():
    assert TrustedProxies(["unix"]).trusts("")
    assert not TrustedProxies(["unix"]).trusts(PROXY)
    assert TrustedProxies(["*"]).trusts("")
    assert TrustedProxies(["*"]).trusts(PROXY)
    assert TrustedProxies(["*"]).find_client(PROXY, Headers({FOR: "192.0.2.1, 203.0.113.9"})).address[0] == "192.0.2.1"


@pytest.mark.parametrize("proxies", [["10.0.0.1/8"], ["localhost"], [""], ["10.0.0.0/33"]])
def test_what_is_no_network(proxies):
    with pytest.raises(ValueError, match=r"."):
        TrustedProxies(proxies)


def test_a_string_is_not_a_list():
    with pytest.raises(TypeError, match="it must be a list of addresses"):
        TrustedProxies("10.0.0.1")


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


@given(st.sampled_from([FOR, PROTO, FORWARDED]), TEXT)
def test_a_client_cannot_change_what_its_proxy_says(name, text):
    """Text before the entry of the proxy has no influence."""
    proxy = "for=192.0.2.1;proto=http" if name == FORWARDED else "192.0.2.1" if name == FOR else "http"
    headers = Headers()
    if text.strip():
        headers.set_insecure(name, text)
    headers.set_insecure(name, proxy)
    if name == PROTO:
        headers.set_insecure(FOR, "192.0.2.1")
    client = TRUSTED.find_client(PROXY, headers)
    assert client.address == ("192.0.2.1", 0)
    assert client.scheme in (None, "http")

"""uri: WebSocket URIs and IRIs, and what isn't one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.exceptions import InvalidURI
from trunkline.uri import WebSocketURI, parse_uri


@pytest.mark.parametrize(
    ("uri", "parsed", "resource_name"),
    [
        ("ws://localhost", WebSocketURI(False, "localhost", 80, "", ""), "/"),
        ("wss://localhost/", WebSocketURI(True, "localhost", 443, "/", ""), "/"),
        ("WS://HOST:8000/Path?q=1&r", WebSocketURI(False, "host", 8000, "/Path", "q=1&r"), "/Path?q=1&r"),
        ("ws://h?q", WebSocketURI(False, "h", 80, "", "q"), "/?q"),
        ("ws://[::1]:80/", WebSocketURI(False, "::1", 80, "/", ""), "/"),
        ("ws://u%3A:p%40ss@h/", WebSocketURI(False, "h", 80, "/", "", "u:", "p@ss"), "/"),
        ("ws://é:@h/", WebSocketURI(False, "h", 80, "/", "", "é", ""), "/"),
        ("ws://%ff:%fe@h/", WebSocketURI(False, "h", 80, "/", "", "\udcff", "\udcfe"), "/"),
        ("ws://é.example/ü?é", WebSocketURI(False, "xn--9ca.example", 80, "/%C3%BC", "%C3%A9"), "/%C3%BC?%C3%A9"),
        ("ws://h/ü%20'\"{}", WebSocketURI(False, "h", 80, "/%C3%BC%20'\"{}", ""), "/%C3%BC%20'\"{}"),
        ("ws://h/a b", WebSocketURI(False, "h", 80, "/a%20b", ""), "/a%20b"),
        ("ws://h/%0d%0a", WebSocketURI(False, "h", 80, "/%0d%0a", ""), "/%0d%0a"),
    ],
)
def test_valid(uri, parsed, resource_name):
    assert parse_uri(uri) == parsed
    assert parse_uri(uri).resource_name == resource_name


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("http://h/", "scheme isn't ws or wss"),
        ("//h/", "scheme isn't ws or wss"),
        ("", "scheme isn't ws or wss"),
        ("ws:///p", "hostname isn't provided"),
        ("ws://:80/", "hostname isn't provided"),
        ("ws://h/#f", "fragment identifier is meaningless"),
        ("ws://user@h/", "username provided without password"),
        ("ws://h:99999/", "[Pp]ort"),
        ("ws://h:abc/", "[Pp]ort"),
        ("ws://[::1", "IPv6"),
        ("ws://ex ample/", "characters that aren't allowed"),
        ("ws://" + "é" * 70 + "/", "isn't an internationalized domain name"),
        ("ws://h/\r\nX: y", "control characters"),
        ("ws://h\n/", "control characters"),
        ("ws://h/\0", "control characters"),
        ("ws://h/\udcff", "lone surrogates"),
    ],
)
def test_invalid(uri, error):
    with pytest.raises(InvalidURI, match=error) as info:
        parse_uri(uri)
    assert info.value.uri == uri


def test_user_info():
    assert parse_uri("ws://u:p@h").user_info == ("u", "p")
    assert parse_uri("ws://h").user_info is None


@given(st.text().map("ws://h/".__add__))
def test_resource_name_fits_a_request_line(uri):
    try:
        name = parse_uri(uri).resource_name
    except InvalidURI:
        return
    assert name.isascii()
    assert name.isprintable()
    assert " " not in name

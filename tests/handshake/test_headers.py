"""handshake.headers: the grammar of header fields, read in linear time."""

import contextlib
import sys

import pytest
import websockets.headers
from hypothesis import given
from hypothesis import strategies as st

from trunkline.exceptions import InvalidHeader, InvalidHeaderFormat, InvalidHeaderValue
from trunkline.handshake import headers
from trunkline.handshake.headers import (
    build_authorization_basic,
    build_extension,
    build_host,
    build_subprotocol,
    build_www_authenticate_basic,
    parse_authorization_basic,
    parse_connection,
    parse_extension,
    parse_subprotocol,
    parse_upgrade,
    validate_subprotocols,
)

PARSERS = [parse_connection, parse_upgrade, parse_extension, parse_subprotocol, parse_authorization_basic]

TOKENS = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=8)
PARAMETERS = st.tuples(TOKENS, st.none() | TOKENS)
EXTENSIONS = st.lists(st.tuples(TOKENS, st.lists(PARAMETERS, max_size=3)), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("host", "port", "secure", "header"),
    [
        ("h", 80, False, "h"),
        ("h", 443, True, "h"),
        ("h", 80, True, "h:80"),
        ("::1", 80, False, "[::1]"),
        ("::1", 8000, False, "[::1]:8000"),
    ],
)
def test_build_host(host, port, secure, header):
    assert build_host(host, port, secure) == header
    assert build_host(host, port, secure, always_include_port=True).endswith(f":{port}")


def test_lists():
    assert parse_connection("upgrade") == ["upgrade"]
    assert parse_connection("keep-alive,\tUpgrade") == ["keep-alive", "Upgrade"]
    assert parse_subprotocol("a , b") == ["a", "b"]


def test_empty_elements_are_ignored():
    assert parse_connection(",, a,, b, ,") == ["a", "b"]
    assert parse_extension(",foo") == [("foo", [])]


def test_protocols_may_have_a_version():
    assert parse_upgrade("websocket") == ["websocket"]
    assert parse_upgrade("WebSocket/13, h2c") == ["WebSocket/13", "h2c"]


@pytest.mark.parametrize(
    ("parse", "header", "error"),
    [
        (parse_connection, "", "expected token at 0 in "),
        (parse_connection, " ,", "expected token at 0 in  ,"),
        (parse_connection, "a b", "expected comma at 2 in a b"),
        (parse_connection, "a;b", "expected comma at 1 in a;b"),
        (parse_upgrade, "/", "expected protocol at 0 in /"),
        (parse_upgrade, "a/b/c", "expected comma at 3 in a/b/c"),
        (parse_upgrade, "a/", "expected comma at 1 in a/"),
        (parse_subprotocol, "é", "expected token at 0 in é"),
        (parse_extension, "é", "expected token at 0 in é"),
        (parse_extension, "foo;", "expected token at 4 in foo;"),
        (parse_extension, "foo; =1", "expected token at 5 in foo; =1"),
        (parse_extension, "foo; a=", "expected token at 7 in foo; a="),
        (parse_extension, 'foo; a="', 'expected quoted string at 7 in foo; a="'),
        (parse_extension, 'foo; a=""', 'invalid quoted header content at 7 in foo; a=""'),
        (parse_extension, 'foo; a="b c"', 'invalid quoted header content at 7 in foo; a="b c"'),
        (parse_extension, 'foo; a="b" c', 'expected comma at 11 in foo; a="b" c'),
        (parse_extension, "foo bar", "expected comma at 4 in foo bar"),
    ],
)
def test_errors_tell_where(parse, header, error):
    with pytest.raises(InvalidHeaderFormat) as info:
        parse(header)
    assert str(info.value) == f"invalid {info.value.name} header: {error}"


@pytest.mark.parametrize(
    ("header", "extensions"),
    [
        ("foo", [("foo", [])]),
        ("foo; bar, foo; bar=1;baz", [("foo", [("bar", None)]), ("foo", [("bar", "1"), ("baz", None)])]),
        ('foo ; a = "b\\c"', [("foo", [("a", "bc")])]),
    ],
)
def test_parse_extension(header, extensions):
    assert parse_extension(header) == extensions


@given(EXTENSIONS)
def test_extension_round_trip(extensions):
    assert parse_extension(build_extension(extensions)) == extensions


@given(st.lists(TOKENS, min_size=1))
def test_subprotocol_round_trip(subprotocols):
    assert parse_subprotocol(build_subprotocol(subprotocols)) == subprotocols


@pytest.mark.parametrize(
    "extensions", [[("a b", [])], [("a", [("b\r\n", None)])], [("a", [("b", "1, c")])], [("a", [("b", "")])]]
)
def test_build_extension_lets_only_tokens_through(extensions):
    with pytest.raises(ValueError, match="isn't a token"):
        build_extension(extensions)


def test_build_subprotocol_lets_only_tokens_through():
    with pytest.raises(ValueError, match="isn't a token"):
        build_subprotocol(["a\r\nX: y"])


def test_validate_subprotocols():
    validate_subprotocols([])
    validate_subprotocols(("a", "b"))
    for subprotocols in ["a b"], [""], ["a,b"], ["é"], ["a\r\nb"]:
        with pytest.raises(ValueError, match="invalid subprotocol"):
            validate_subprotocols(subprotocols)
    for subprotocols in "a", None, {"a"}, [1]:
        with pytest.raises(TypeError):
            validate_subprotocols(subprotocols)


@given(st.sampled_from(PARSERS), st.text(st.characters(max_codepoint=255)))
def test_parsers_raise_only_invalid_header(parse, header):
    with contextlib.suppress(InvalidHeader):
        parse(header)


# A regular expression that backtracks would hang here; a parser that starts again from behind makes too many calls.
@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "pattern", ["a, ", "a;b;", 'a;b="', 'a;b="\\', "a" + " " * 20, ",", "é", "a;b=c, ", "Basic a", "a/b,", '"']
)
def test_time_is_linear(parse, pattern):
    def count_calls(header):
        calls = 0

        def count(frame, event, arg):
            nonlocal calls
            calls += 1

        sys.setprofile(count)
        try:
            with contextlib.suppress(InvalidHeader):
                parse(header)
        finally:
            sys.setprofile(None)
        return calls

    assert count_calls(pattern * 2000) <= 2.5 * count_calls(pattern * 1000) + 50


def test_180_offers():
    header = ", ".join(f"x-{i}; a{i}; b=1" for i in range(180))
    assert len(parse_extension(header)) == 180


def test_basic_round_trip():
    assert build_authorization_basic("u", "p:p") == "Basic dTpwOnA="
    for username, password in ("u", "p"), ("", ""), ("é", "ü:"), ("\udcff", "\udcfe"):
        header = build_authorization_basic(username, password)
        assert parse_authorization_basic(header) == (username, password)


def test_scheme_ignores_case():
    assert parse_authorization_basic("bAsIc dTpw") == ("u", "p")


def test_username_with_colon():
    with pytest.raises(ValueError, match="invalid username 'a:b'"):
        build_authorization_basic("a:b", "p")


@pytest.mark.parametrize(
    ("header", "exception", "error"),
    [
        ("", InvalidHeaderFormat, "expected token"),
        ("Basic", InvalidHeaderFormat, "expected space after scheme"),
        ("Basic ", InvalidHeaderFormat, "expected token68"),
        ("Basic  dTpw", InvalidHeaderFormat, "expected token68"),
        ("Basic dTpw ", InvalidHeaderFormat, "expected token68"),
        ("Basic é", InvalidHeaderFormat, "expected token68"),
        ("Bearer dTpw", InvalidHeaderValue, "unsupported scheme: Bearer"),
        ("Basic dTp", InvalidHeaderValue, "expected base64-encoded credentials"),
        ("Basic d_pw", InvalidHeaderValue, "expected base64-encoded credentials"),
        ("Basic dQ==", InvalidHeaderValue, "expected username:password credentials"),
    ],
)
def test_bad_credentials(header, exception, error):
    with pytest.raises(exception, match=error):
        parse_authorization_basic(header)


def test_errors_do_not_leak_credentials():
    with pytest.raises(InvalidHeader) as info:
        parse_authorization_basic("Basic c2VjcmV0 ")
    assert "c2VjcmV0" not in str(info.value)


def test_www_authenticate():
    assert build_www_authenticate_basic('a "b" \\') == 'Basic realm="a \\"b\\" \\\\", charset="UTF-8"'
    assert build_www_authenticate_basic("") == 'Basic realm="", charset="UTF-8"'
    for realm in "a\r\nX: y", "\0", "€":
        with pytest.raises(ValueError, match="invalid value"):
            build_www_authenticate_basic(realm)


# The rules of the grammar, beside websockets


def called(library, rule, *arguments):
    """The result of a function, or the exception that it raises."""
    try:
        return getattr(library, rule)(*arguments)
    except Exception as error:
        return type(error).__name__, str(error)


HEADERS = st.text('ab/=;," \t\\@', max_size=8)
RULES = [
    "parse_token",
    "parse_token68",
    "parse_quoted_string",
    "parse_connection_option",
    "parse_upgrade_protocol",
    "parse_subprotocol_item",
    "parse_extension_item",
    "parse_extension_item_param",
    "parse_end",
]


@pytest.mark.parametrize("rule", RULES)
@given(header=HEADERS, pos=st.integers(0, 3))
def test_rules_as_websockets(rule, header, pos):
    assert called(headers, rule, header, pos, "X") == called(websockets.headers, rule, header, pos, "X")


@pytest.mark.parametrize("rule", ["parse_OWS", "peek_ahead"])
@given(header=HEADERS, pos=st.integers(0, 9))
def test_rules_without_errors_as_websockets(rule, header, pos):
    pos = min(pos, len(header))
    assert called(headers, rule, header, pos) == called(websockets.headers, rule, header, pos)


@given(HEADERS)
def test_lists_as_websockets(header):
    ours = called(headers, "parse_list", headers.parse_token, header, 0, "X")
    assert ours == called(websockets.headers, "parse_list", websockets.headers.parse_token, header, 0, "X")
    for rule in ("parse_extension_list", "parse_subprotocol_list"):
        assert called(headers, rule, header) == called(websockets.headers, rule, header)


@given(st.text('ab "\\\xe9', max_size=8))
def test_quoted_strings(value):
    quoted = headers.build_quoted_string(value)
    assert quoted == websockets.headers.build_quoted_string(value)
    assert headers.parse_quoted_string(quoted, 0, "X") == (value, len(quoted))


def test_control_characters_cannot_be_quoted():
    with pytest.raises(ValueError, match="invalid value"):
        headers.build_quoted_string("a\r\nb")

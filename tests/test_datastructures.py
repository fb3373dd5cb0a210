"""datastructures: Headers is a multi-dict that ignores case and lets nothing dangerous in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.datastructures import Headers, MultipleValuesError
from trunkline.exceptions import InvalidHeaderValue


@pytest.fixture
def headers():
    return Headers([("Accept", "a"), ("Host", "h"), ("accept", "b")])


def test_lookup_ignores_case(headers):
    assert headers["HOST"] == "h"
    assert headers.get("host") == "h"
    assert "hOsT" in headers


def test_missing(headers):
    assert headers.get("Origin") is None
    assert headers.get_all("Origin") == []
    assert 1 not in headers
    with pytest.raises(KeyError):
        headers["Origin"]
    with pytest.raises(KeyError):
        del headers["Origin"]


def test_several_values(headers):
    assert headers.get_all("ACCEPT") == ["a", "b"]
    with pytest.raises(MultipleValuesError, match="'Accept'"):
        headers["Accept"]
    with pytest.raises(LookupError):
        headers.get("Accept")


def test_names_in_lower_case_once_each(headers):
    assert list(headers) == ["accept", "host"]
    assert len(headers) == 2


def test_order_and_spelling_are_kept(headers):
    assert list(headers.raw_items()) == [("Accept", "a"), ("Host", "h"), ("accept", "b")]
    assert str(headers) == "Accept: a\r\nHost: h\r\naccept: b\r\n\r\n"
    assert repr(headers) == "Headers([('Accept', 'a'), ('Host', 'h'), ('accept', 'b')])"


def test_setting_adds(headers):
    headers["host"] = "i"
    assert headers.get_all("Host") == ["h", "i"]


def test_deleting_removes_all_values(headers):
    del headers["ACCEPT"]
    assert list(headers.raw_items()) == [("Host", "h")]
    headers["accept"] = "c"
    assert headers["Accept"] == "c"


def test_copy_is_independent(headers):
    copy = headers.copy()
    assert copy == headers
    del copy["Host"]
    assert "Host" in headers


def test_list_of_values_is_independent(headers):
    headers.get_all("Accept").clear()
    assert headers.get_all("Accept") == ["a", "b"]


def test_equality_ignores_the_case_of_names_and_their_order():
    headers = Headers([("A", "1"), ("B", "2"), ("a", "3")])
    assert headers == Headers([("b", "2"), ("A", "1"), ("A", "3")])
    assert headers != Headers([("b", "2"), ("A", "3"), ("A", "1")])
    assert headers != {"a": "1", "b": "2"}
    with pytest.raises(TypeError):
        hash(headers)


def test_what_headers_are_made_of(headers):
    assert Headers({"A": "1"}, b="2") == Headers([("A", "1"), ("B", "2")])
    assert Headers(headers) == headers
    assert not Headers()
    headers.clear()
    headers.update(Headers([("a", "1"), ("a", "2")]), c="3")
    assert headers.get_all("A") == ["1", "2"]
    with pytest.raises(TypeError):
        Headers({}, {})


def test_numbers_become_text():
    assert Headers({"Content-Length": 12})["content-length"] == "12"


@pytest.mark.parametrize("value", ["a\r\nB: c", "\n", "\r", "\0", "\x1b", "\x7f", "€"])
def test_dangerous_values_are_refused(headers, value):
    with pytest.raises(InvalidHeaderValue, match="invalid Name header"):
        headers["Name"] = value
    with pytest.raises(InvalidHeaderValue):
        Headers([("Name", value)])
    assert "Name" not in headers


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nB", "é", "a\0"])
def test_dangerous_names_are_refused(headers, name):
    with pytest.raises(ValueError, match="invalid header name"):
        headers[name] = "value"


def test_iso_8859_1():
    headers = Headers(Name="caf\xe9\t!")
    assert headers.serialize() == b"Name: caf\xe9\t!\r\n\r\n"


def test_set_insecure_checks_nothing():
    headers = Headers()
    headers.set_insecure("a b", "\x01")
    assert headers["A B"] == "\x01"


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5))))
def test_no_header_starts_another(pairs):
    headers = Headers()
    accepted = 0
    for name, value in pairs:
        try:
            headers[name] = value
        except (ValueError, InvalidHeaderValue):
            continue
        accepted += 1
    assert headers.serialize().count(b"\n") == accepted + 1

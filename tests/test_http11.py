"""http11: requests and responses on the wire; a text that would break their first line is refused."""

import os
import re
import subprocess
import sys

import pytest
import websockets.http11
import websockets.streams

import trunkline.streams
from trunkline.datastructures import Headers
from trunkline.exceptions import InvalidHeaderValue
from trunkline.http11 import SERVER, USER_AGENT, Request, Response


def test_request():
    request = Request("/chat?room=1", Headers(Host="h"))
    assert request.serialize() == b"GET /chat?room=1 HTTP/1.1\r\nHost: h\r\n\r\n"


def test_response():
    response = Response(404, "Not Found", Headers({"Content-Length": "2"}), b"no")
    assert response.serialize() == b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"


def test_response_in_iso_8859_1():
    assert Response(200, "\xe9", Headers(A="\xe9")).serialize() == b"HTTP/1.1 200 \xe9\r\nA: \xe9\r\n\r\n"


@pytest.mark.parametrize("path", ["/a\r\nX: y", "/a b", "/\0", "/é", ""])
def test_invalid_path(path):
    with pytest.raises(ValueError, match="invalid path"):
        Request(path, Headers()).serialize()


@pytest.mark.parametrize("method", ["GE T", "GET\r\n", ""])
def test_invalid_method(method):
    with pytest.raises(ValueError, match="invalid method"):
        Request("/", Headers(), method).serialize()


@pytest.mark.parametrize("phrase", ["OK\r\nX: y", "\n", "\0", "€"])
def test_invalid_reason_phrase(phrase):
    with pytest.raises(ValueError, match="invalid reason phrase"):
        Response(200, phrase, Headers()).serialize()


def test_product():
    assert re.fullmatch(r"Python/3\.\d+ trunkline/\d+\.\d+\.\d+", USER_AGENT)
    assert SERVER == USER_AGENT


def test_environment():
    program = (
        "from trunkline.http11 import *; from trunkline import http11 as h;"
        "print(SERVER, USER_AGENT, h.MAX_NUM_HEADERS, h.MAX_LINE_LENGTH, h.MAX_BODY_SIZE)"
    )
    settings = {"SERVER": "s", "USER_AGENT": "u", "MAX_NUM_HEADERS": "1", "MAX_LINE_LENGTH": "2", "MAX_BODY_SIZE": "3"}
    environment = {f"WEBSOCKETS_{name}": value for name, value in settings.items()}
    output = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert output.stdout == "s u 1 2 3\n"


# Parsing, beside websockets


def parsed(library, data, parse, *, eof=True):
    """The values that a library parses from these bytes, or the exception."""
    reader = library.streams.StreamReader()
    reader.feed_data(data)
    if eof:
        reader.feed_eof()
    try:
        next(parse(library.http11, reader))
    except StopIteration as end:
        value = end.value
        values = {name: getattr(value, name) for name in FIELDS if hasattr(value, name)}
        return values, list(value.headers.raw_items()), bytes(reader.buffer)
    except Exception as error:
        return type(error).__name__, str(error), str(error.__cause__)
    return "waits"


FIELDS = ("path", "method", "protocol", "status_code", "reason_phrase", "body")


def parse_request(http11, reader):
    return http11.Request.parse(reader.read_line)


def parse_response(http11, reader):
    return http11.Response.parse(reader.read_line, reader.read_exact, reader.read_to_eof)


def parse_proxy_response(http11, reader):
    return http11.Response.parse(reader.read_line, reader.read_exact, reader.read_to_eof, proxy=True)


REQUESTS = [
    b"GET /chat HTTP/1.1\r\nHost: a\r\nFoo:  bar \r\nfoo:\r\n\r\nrest",
    b"OPTIONS * HTTP/1.1\r\n\r\n",
    b"GET http://a/ HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: \xe9\r\n\r\n",
    b"",
    b"GET /\r\n\r\n",
    b"GET / HTTP/3.7\r\n\r\n",
    b"GET / HTTP/1.1\n\n",
    b"GET / HTTP/1.1\r\na: b\r\n",
    b"GET / HTTP/1.1\r\na: b\n\n",
    b"GET / HTTP/1.1\r\nfoo\r\n\r\n",
    b"GET / HTTP/1.1\r\nfoo bar: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\n a: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nfoo: \0\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 128 + b"\r\n",
    b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 129 + b"\r\n",
    b"GET / HTTP/1.1\r\na: " + b"b" * 9000 + b"\r\n\r\n",
    b"GET /" + b"b" * 9000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
    b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
]

RESPONSES = [
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nrest",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloworld",
    b"HTTP/1.1 200 OK\r\n\r\nhelloworld",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n3\r\n, w\r\n0\r\nTrailer: x\r\n\r\nrest",
    b"HTTP/1.1 204 No Content\r\n\r\nrest",
    b"HTTP/1.1 304 \r\n\r\nrest",
    b"HTTP/1.0 200 OK\r\n\r\nx",
    b"",
    b"HTTP/1.1 200\r\n\r\n",
    b"HTTP/2 200 OK\r\n\r\n",
    b"HTTP/1.1 99 OK\r\n\r\n",
    b"HTTP/1.1 600 OK\r\n\r\n",
    b"HTTP/1.1 OMG OK\r\n\r\n",
    b"HTTP/1.1 200 \x7f\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nfoo\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1234567890123456789\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n100000\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1234567890ABCDEF\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
]


@pytest.mark.parametrize("data", REQUESTS)
def test_request_parse_as_websockets(data):
    assert parsed(trunkline, data, parse_request) == parsed(websockets, data, parse_request)


@pytest.mark.parametrize("parse", [parse_response, parse_proxy_response])
@pytest.mark.parametrize("data", RESPONSES)
def test_response_parse_as_websockets(data, parse):
    assert parsed(trunkline, data, parse) == parsed(websockets, data, parse)


@pytest.mark.parametrize("line", [b"G<T / HTTP/1.1", b"GET /\x7f HTTP/1.1", b"GET  HTTP/1.1"])
def test_request_parse_is_stricter_than_websockets(line):
    result = parsed(trunkline, line + b"\r\n\r\n", parse_request)
    assert result[0] in ("InvalidMethod", "ValueError")


def test_bodies_are_limited():
    head = b"HTTP/1.1 200 OK\r\n"
    for data in (
        b"\r\n" + b"a" * (2**20 + 1),
        b"Transfer-Encoding: chunked\r\n\r\n" + b"80000\r\n" + b"a" * 0x80000 + b"\r\n80001\r\n",
    ):
        assert parsed(trunkline, head + data, parse_response)[0] == "SecurityError"


@pytest.mark.parametrize("data", [REQUESTS[0], *RESPONSES[:4]])
def test_parsing_waits_for_the_rest(data):
    parse = parse_request if data.startswith(b"GET") else parse_response
    for end in range(len(data.rpartition(b"\r\n")[0])):
        assert parsed(trunkline, data[:end], parse, eof=False) == "waits"


@pytest.mark.parametrize("data", [b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", b"GET / HTTP/1.2\r\nHost: h\r\n\r\n"])
def test_request_parse_takes_what_servers_should(data):
    """RFC 9112 section 2.2: an empty line before a request; RFC 9110 section 2.5: a later version of HTTP/1."""
    values, headers, rest = parsed(trunkline, data, parse_request)
    assert (values["path"], headers, rest) == ("/", [("Host", "h")], b"")


def test_chunks_of_one_byte_take_linear_time():
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 100_000 + b"0\r\n\r\n"
    values, _, _ = parsed(trunkline, data, parse_response)
    assert values["body"] == b"a" * 100_000


# Values that programs give


@pytest.mark.parametrize("headers", [{"A": "1", "B": 2}, [("A", "1"), ("B", "2")], Headers(A="1", B="2")])
def test_headers_in_any_form(headers):
    response = Response(200, "OK", headers, b"yes")
    assert response.serialize() == b"HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\n\r\nyes"
    assert response.headers.get_all("b") == ["2"]
    response.headers = headers
    assert Request("/", headers).serialize() == b"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n"
    assert response == Response(200, "OK", Headers(A="1", B="2"), b"yes")


def test_headers_are_kept_as_they_are():
    headers = Headers(A="1")
    assert Response(200, "OK", headers).headers is headers


@pytest.mark.parametrize("headers", [None, [(b"A", "1")], {"A": b"1"}, {"A": "1\r\n"}, {"A b": "1"}, ["A: 1"]])
def test_what_are_no_headers(headers):
    with pytest.raises((TypeError, ValueError, InvalidHeaderValue)):
        Response(200, "OK", headers)


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ((200, "OK", {}, "yes"), TypeError, "must be bytes, and it is str"),
        ((200, "OK", {}, None), TypeError, "must be bytes, and it is NoneType"),
        ((99, "OK", {}), ValueError, "invalid status code 99"),
        ((1000, "OK", {}), ValueError, "invalid status code 1000"),
    ],
)
def test_what_is_no_response(values, error, text):
    with pytest.raises(error, match=text):
        Response(*values).serialize()


def test_response_without_its_body():
    response = Response(200, "OK", Headers({"Content-Length": "3"}), b"yes")
    assert response.serialize(head_only=True) == b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"

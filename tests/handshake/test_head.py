"""handshake.head: what is read as HTTP/1.1, what isn't, and that the split of the bytes doesn't matter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.datastructures import Headers
from trunkline.exceptions import (
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidMessage,
    InvalidMethod,
    InvalidProtocol,
    RequestLineTooLong,
    SecurityError,
    StatusLineTooLong,
    TooManyHeaders,
)
from trunkline.handshake.head import MAX_EMPTY_LINES, RequestReader, ResponseReader, path_of, request_of, response_of
from trunkline.http11 import MAX_BODY_SIZE, MAX_LINE_LENGTH, MAX_NUM_HEADERS, Request, Response

REQUEST = b"GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def head(*lines):
    return b"".join(line + b"\r\n" for line in (b"GET / HTTP/1.1", *lines, b""))


def read(reader, *chunks, eof=False):
    """Return what a reader makes of bytes: a message, an error, or None."""
    try:
        for chunk in chunks:
            if (message := reader.receive_data(chunk)) is not None:
                return message, reader.remaining
        return (reader.receive_eof(), b"") if eof else None
    except InvalidHandshake as exc:
        return type(exc), str(exc)


def split(data, positions):
    cuts = sorted({position % (len(data) + 1) for position in positions})
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


# Requests


def test_request():
    message, remaining = read(RequestReader(), REQUEST)
    assert message == Request("/chat", Headers(Host="h", Upgrade="websocket", Connection="Upgrade"))
    assert remaining == b""


def test_what_follows_the_request():
    assert read(RequestReader(), REQUEST + b"\x81\x80abcd")[1] == b"\x81\x80abcd"


def test_white_space_around_values():
    message, _ = read(RequestReader(), head(b"A:1", b"B:\t 2 \t", b"C:", b"D: ", b"E: 1 2"))
    assert message.headers == Headers(A="1", B="2", C="", D="", E="1 2")


def test_headers_are_iso_8859_1():
    message, _ = read(RequestReader(), head(b"A: caf\xe9"))
    assert message.headers["A"] == "café"


@pytest.mark.parametrize(
    "data",
    [
        head(b"Host: h", b" folded"),
        head(b"Host: h", b"\tfolded"),
        head(b"Host : h"),
        head(b" Host: h"),
        head(b": h"),
        head(b"Host"),
        head(b"Ho st: h"),
        head(b"Ho\xe9st: h"),
        head(b"Host: h\rX: y"),
        head(b"Host: h\0"),
        head(b"Host: h\x7f"),
        head(b"Host: h\nX: y"),
        b"GET / HTTP/1.1\nHost: h\n\n",
        b"GET / HTTP/1.1\r\nHost: h\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n",
        b"\n" + REQUEST,
        b"\r\n" * (MAX_EMPTY_LINES + 1) + REQUEST,
        b"\r\n \r\n" + REQUEST,
        b" " + REQUEST,
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"GET\t/ HTTP/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / http/1.1\r\n\r\n",
        b"GET / RTSP/1.0\r\n\r\n",
        b"GET / HTTP/11\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
        b"GET h:80 HTTP/1.1\r\n\r\n",
        b"GET * HTTP/1.1\r\n\r\n",
        b"GET ftp://h/ HTTP/1.1\r\n\r\n",
        b"GET http:///a HTTP/1.1\r\n\r\n",
        b"GET http://:80/a HTTP/1.1\r\n\r\n",
        b"GET http://user@h/ HTTP/1.1\r\n\r\n",
        b"GET http://h:80a/ HTTP/1.1\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\n\r\n",
        b"GET http://h\xc3\xa9/ HTTP/1.1\r\n\r\n",
        b"GET https:/h/ HTTP/1.1\r\n\r\n",
        b"OPTIONS *a HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        SWITCHING,
        b"\x16\x03\x01\x02\x00\x01\x00",  # TLS
        head(b"Content-Length: 5"),
        head(b"Content-Length: 5", b"Upgrade: websocket", b"Connection: Upgrade"),
        head(b"Content-Length: 5", b"Content-Length: 6"),
        head(b"Content-Length: 0", b"Content-Length: 0"),
        head(b"Content-Length: +0"),
        head(b"Content-Length: 0, 0"),
        head(b"Content-Length: -1"),
        head(b"Content-Length: 99999999999999999999"),
        head(b"Transfer-Encoding: chunked"),
        head(b"Transfer-Encoding: chunked", b"Upgrade: websocket", b"Connection: Upgrade"),
        head(b"Transfer-Encoding: identity"),
        head(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    ],
)
def test_what_is_not_a_request(data):
    exception, text = read(RequestReader(), data)
    assert exception is InvalidMessage
    assert text == "did not receive a valid HTTP request"


def test_no_body_may_be_announced():
    message, _ = read(RequestReader(), head(b"Content-Length: 0"))
    assert message.headers["Content-Length"] == "0"


@pytest.mark.parametrize(
    "data", [b"\x16\x03", b"GET / HTTP/1.1\nHost", b"GET / HTTP/1.1\r\nA: b\rc", b"GET / HTTP/1.1\r\n f", b"\n"]
)
def test_rubbish_is_refused_at_once(data):
    assert read(RequestReader(), data)[0] is InvalidMessage


@pytest.mark.parametrize("method", [b"POST", b"HEAD", b"OPTIONS"])
def test_other_methods_are_read(method):
    assert read(RequestReader(), method + b" / HTTP/1.1\r\n\r\n")[0].method == method.decode()


@pytest.mark.parametrize("protocol", [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0"])
def test_other_versions_are_read(protocol):
    assert read(RequestReader(), b"GET / " + protocol + b"\r\n\r\n")[0].protocol == protocol.decode()


def test_unknown_method():
    assert read(RequestReader(), b"BREW / HTTP/1.1\r\n\r\n")[0] is InvalidMethod


def test_unknown_version():
    assert read(RequestReader(), b"GET / HTTP/3.7\r\n\r\n")[0] is InvalidProtocol


def test_an_empty_line_before_the_request():
    """RFC 9112 section 2.2: it is ignored, and no part of what is kept."""
    reader = RequestReader()
    assert read(reader, b"\r\n" * MAX_EMPTY_LINES + REQUEST + b"rest") == read(RequestReader(), REQUEST + b"rest")
    assert reader.head == REQUEST


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://h/chat?a=b", "h", "/chat?a=b"),
        (b"https://h:8443/", "h:8443", "/"),
        (b"ws://h", "h", "/"),
        (b"WSS://H.example", "H.example", "/"),
        (b"ws://h:?a=/b", "h:", "/?a=/b"),
        (b"ws://[::1]:80//a", "[::1]:80", "//a"),
        (b"ws://192.0.2.1/ws://x/", "192.0.2.1", "/ws://x/"),
    ],
)
def test_absolute_form(target, host, path):
    """RFC 9112 section 3.2.2: the target names the host, and the header counts for nothing."""
    reader = RequestReader()
    request, _ = read(reader, b"GET " + target + b" HTTP/1.1\r\nHost: other\r\nA: b\r\n\r\n")
    assert request == Request(path, Headers(A="b", Host=host))
    assert request_of(reader.head) == request
    assert path_of(reader.head) == path


@pytest.mark.parametrize("hosts", [[], [b"Host: h", b"Host: h"]])
def test_absolute_form_makes_no_request_valid(hosts):
    """RFC 9112 section 3.2: a request without Host, or with two, is refused; the server's handshake does that."""
    lines = b"".join(line + b"\r\n" for line in hosts)
    request, _ = read(RequestReader(), b"GET ws://h/ HTTP/1.1\r\n" + lines + b"\r\n")
    assert request.headers.get_all("Host") == ["h"] * len(hosts)


@pytest.mark.parametrize("line", [b"OPTIONS * HTTP/1.1", b"CONNECT h:80 HTTP/1.1", b"CONNECT / HTTP/1.1"])
def test_requests_for_no_resource(line):
    assert read(RequestReader(), line + b"\r\nHost: h\r\n\r\n")[0] is InvalidMethod


@pytest.mark.parametrize(
    "data", [b"HEAD / HTTP/1.1\r\n\r\n", b"HEAD / HTTP/2.0\r\nA : b\r\n\r\n", b"\r\nHEAD /", b"GET /"]
)
def test_the_method_is_known_as_soon_as_it_came(data):
    reader = RequestReader()
    read(reader, data)
    assert reader.asks_for_head() == (b"HEAD" in data)


def test_limits_are_inclusive():
    longest_line = b"GET /" + b"x" * (MAX_LINE_LENGTH - 14) + b" HTTP/1.1\r\n"
    longest_header = b"A: " + b"x" * (MAX_LINE_LENGTH - 3) + b"\r\n"
    data = longest_line + longest_header * MAX_NUM_HEADERS + b"\r\n"
    message, _ = read(RequestReader(), data)
    assert len(message.headers.get_all("A")) == MAX_NUM_HEADERS


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n\r\n"])
def test_limits(end):
    too_long = b"x" * (MAX_LINE_LENGTH + 1)
    assert read(RequestReader(), too_long + end)[0] is RequestLineTooLong
    assert read(RequestReader(), b"GET / HTTP/1.1\r\n" + too_long + end)[0] is HeaderLineTooLong
    assert read(ResponseReader(), too_long + end)[0] is StatusLineTooLong
    too_many = b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (MAX_NUM_HEADERS + 1)
    assert read(RequestReader(), too_many + end)[0] is TooManyHeaders


def test_endless_line_is_refused_before_it_ends():
    reader = RequestReader()
    received = 0
    with pytest.raises(RequestLineTooLong):  # noqa: PT012
        while True:
            reader.receive_data(b"x" * 1000)
            received += 1000
    assert received <= MAX_LINE_LENGTH


def test_end_of_file():
    for data in b"", b"GET /", REQUEST[:-1]:
        reader = RequestReader()
        assert reader.receive_data(data) is None
        with pytest.raises(InvalidMessage, match="did not receive a valid HTTP request") as info:
            reader.receive_eof()
        assert isinstance(info.value.__cause__, EOFError)


LINES = st.one_of(
    st.sampled_from([b"A: b", b"Content-Length: 0", b"Content-Length: 1", b"A : b", b" a", b"\t", b"A", b"A: \0"]),
    st.sampled_from([b"A: " + b"x" * n for n in (MAX_LINE_LENGTH - 3, MAX_LINE_LENGTH - 2, 2 * MAX_LINE_LENGTH)]),
    st.binary(max_size=10),
)
ENDINGS = st.sampled_from([b"\r\n"] * 6 + [b"\n", b"\r", b"\r\r\n"])
FIRST_LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.0\r\n",
        b"\r\n\r\nGET ws://h HTTP/1.2\r\n",
        b"BREW / HTTP/1.1\r\n",
        b"\r\n",
        b"\r\n" * (MAX_EMPTY_LINES + 1),
        b"",
    ]
)


@st.composite
def heads(draw, first_lines=FIRST_LINES):
    lines = draw(st.lists(st.tuples(LINES, ENDINGS), max_size=5))
    return draw(first_lines) + b"".join(line + end for line, end in lines) + draw(st.sampled_from([b"\r\n", b""]))


POSITIONS = st.lists(st.integers(0, 2**16), max_size=20)


@given(heads(), POSITIONS)
def test_split_of_a_request_does_not_matter(data, positions):
    # what follows the head may not have arrived yet
    whole, pieces = read(RequestReader(), data), read(RequestReader(), *split(data, positions))
    assert (whole and whole[0]) == (pieces and pieces[0])
    if whole and isinstance(whole[0], type):
        assert whole == pieces


def test_byte_by_byte():
    chunks = [REQUEST[i : i + 1] for i in range(len(REQUEST))]
    assert read(RequestReader(), *chunks) == read(RequestReader(), REQUEST)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_request_or_a_documented_error(data):
    read(RequestReader(), data)
    read(RequestReader(), b"GET / HTTP/1.1\r\n" + data + b"\r\n\r\n")
    read(ResponseReader(), data, eof=True)
    read(ResponseReader(), b"HTTP/1.1 200 OK\r\n" + data + b"\r\n\r\n", data, eof=True)


# Responses


def response_head(status, *lines):
    return b"".join(line + b"\r\n" for line in (b"HTTP/1.1 " + status, *lines, b""))


def test_switching_protocols():
    reader = ResponseReader()
    message, remaining = read(reader, SWITCHING + b"\x81\x00")
    assert message == Response(101, "Switching Protocols", Headers(Upgrade="websocket", Connection="Upgrade"))
    assert remaining == b"\x81\x00"
    assert reader.protocol == "HTTP/1.1"


@pytest.mark.parametrize(
    "data",
    [
        response_head(b"403 Forbidden", b"Content-Length: 3") + b"abc",
        response_head(b"403 Forbidden", b"Content-Length: 3") + b"abcHTTP/1.1 200 OK\r\n\r\n",
        response_head(b"403 Forbidden", b"Transfer-Encoding: chunked") + b"1\r\na\r\n2;x=y\r\nbc\r\n0\r\nT: x\r\n\r\n",
        response_head(b"403 Forbidden", b"Content-Length: 3", b"Connection: Upgrade", b"Upgrade: websocket") + b"abc",
        response_head(b"403 Forbidden", b"Content-Length: 9", b"Transfer-Encoding: gzip, Chunked ")
        + b"3\r\nabc\r\n0\r\n\r\n",
        response_head(b"403 Forbidden", b"Transfer-Encoding: chunked", b"Content-Length: 3") + b"3\r\nabc\r\n0\r\n\r\n",
    ],
)
@given(positions=POSITIONS)
def test_body(data, positions):
    message, _ = read(ResponseReader(), *split(data, positions))
    assert (message.status_code, message.reason_phrase, message.body) == (403, "Forbidden", b"abc")
    assert "T" not in message.headers


@pytest.mark.parametrize(
    "lines",
    [[], [b"Transfer-Encoding: gzip"], [b"Transfer-Encoding: gzip", b"Content-Length: 1"], [b"Connection: close"]],
)
def test_body_until_end_of_file(lines):
    reader = ResponseReader()
    data = response_head(b"500 Oops", *lines) + b"abc"
    assert reader.receive_data(data) is None
    assert reader.receive_eof().body == b"abc"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        response_head(b"200 OK", b"Content-Length: 3") + b"ab",
        response_head(b"200 OK", b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n",
    ],
)
def test_response_cut_short(data):
    reader = ResponseReader()
    assert reader.receive_data(data) is None
    with pytest.raises(InvalidMessage, match="did not receive a valid HTTP response") as info:
        reader.receive_eof()
    assert isinstance(info.value.__cause__, EOFError)


@pytest.mark.parametrize("lines", [[], [b"Content-Length: 3"], [b"Transfer-Encoding: chunked"]])
@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_statuses_without_body(status, lines):
    assert read(ResponseReader(), response_head(status, *lines))[0].body == b""


@pytest.mark.parametrize(
    "lines", [[b"Content-Length: 1"], [b"Content-Length: x", b"Content-Length: y"], [b"Transfer-Encoding: chunked"]]
)
@pytest.mark.parametrize("status", [b"100 Continue", b"101 Switching Protocols"])
def test_interim_responses_have_no_body(status, lines):
    """RFC 9112 section 6.3, item 1: "regardless of the header fields present in the message"."""
    message, remaining = read(ResponseReader(), response_head(status, *lines) + b"\x81\x00")
    assert (message.body, remaining) == (b"", b"\x81\x00")


def test_repeated_length_is_named():
    with pytest.raises(InvalidMessage) as info:
        ResponseReader().receive_data(response_head(b"503 Busy", b"Content-Length: 4", b"Content-Length: 5"))
    assert repr(info.value.__cause__) == "ValueError('Content-Length is given 2 times: 4, 5')"


@pytest.mark.parametrize("status", [b"099 Low", b"600 High", b"999 Denied"])
def test_status_that_is_none(status):
    """RFC 9110 section 15: it is between 100 and 599."""
    with pytest.raises(InvalidMessage, match="did not receive a valid HTTP response") as info:
        ResponseReader().receive_data(response_head(status))
    assert isinstance(info.value.__cause__, ValueError)


@pytest.mark.parametrize("line", [b"HTTP/1.1 403\r\n\r\n", b"HTTP/1.2 403 \r\n\r\n"])
def test_reason_phrase_may_be_missing(line):
    assert read(ResponseReader(), line, eof=True)[0].reason_phrase == ""


def test_responses_may_be_http_1_0():
    reader = ResponseReader()
    assert read(reader, b"HTTP/1.0 403 F\xe9\r\n\r\n", eof=True)[0].reason_phrase == "Fé"
    assert reader.protocol == "HTTP/1.0"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 99 X\r\n\r\n",
        b"HTTP/1.1 099 X\r\n\r\n",
        b"HTTP/1.1 1000 X\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"SSH-2.0-x\r\n\r\n",
        response_head(b"200 OK", b"A: b", b" folded"),
        response_head(b"200 OK", b"A : b"),
        response_head(b"200 OK", b"Content-Length: x"),
        response_head(b"200 OK", b"Content-Length: 2", b"Content-Length: 2") + b"ab",
        response_head(b"200 OK", b"Content-Length: 2, 2") + b"ab",
        response_head(b"200 OK", b"Content-Length: " + b"9" * 5000),
        response_head(b"200 OK", b"Transfer-Encoding: chunked") + b"x\r\n",
        response_head(b"200 OK", b"Transfer-Encoding: chunked") + b"3\nabc\n",
    ],
)
def test_what_is_not_a_response(data):
    exception, text = read(ResponseReader(), data, eof=True)
    assert exception is InvalidMessage
    assert text == "did not receive a valid HTTP response"


def test_body_limit():
    data = response_head(b"200 OK", b"Content-Length: %d" % MAX_BODY_SIZE) + bytes(MAX_BODY_SIZE)
    assert len(read(ResponseReader(), data)[0].body) == MAX_BODY_SIZE
    endless = ResponseReader()
    endless.receive_data(response_head(b"200 OK"))
    endless.receive_data(bytes(MAX_BODY_SIZE))
    with pytest.raises(SecurityError, match="body too large: over"):
        endless.receive_data(b"x")


def test_sixteen_megabytes_of_headers():
    reader = ResponseReader()
    reader.receive_data(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(TooManyHeaders):  # noqa: PT012
        for _ in range(16 * 1024):
            reader.receive_data(b"A: " + b"x" * 1019 + b"\r\n")


# Once more


@given(
    st.text("abcXYZ019-", min_size=1, max_size=10).map("/{}".format),
    st.lists(
        st.tuples(
            st.text("abcXYZ019-_", min_size=1, max_size=10).map("X-{}".format),
            st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
        ),
        max_size=8,
    ),
    st.sampled_from(["", " ", "\t ", "  "]),
)
def test_a_head_gives_the_same_request_and_response_again(path, headers, white_space):
    lines = "".join(f"{name}:{white_space}{value}{white_space}\r\n" for name, value in headers)
    head = f"GET {path} HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode()
    reader = RequestReader()
    request = reader.receive_data(head + b"frames")
    assert reader.head == head
    assert path_of(reader.head) == path
    again = request_of(reader.head)
    assert again == request
    assert list(again.headers.raw_items()) == list(request.headers.raw_items())
    response = Response(101, "Switching Protocols", Headers(headers))
    again = response_of(response.serialize())
    assert (again, list(again.headers.raw_items())) == (response, list(response.headers.raw_items()))

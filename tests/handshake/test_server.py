"""handshake.server: every request is answered, with the status that tells what is wrong with it."""

import email.utils
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.datastructures import Headers
from trunkline.exceptions import (
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidMethod,
    InvalidOrigin,
    InvalidProtocol,
    InvalidUpgrade,
    NegotiationError,
    RequestLineTooLong,
    SecurityError,
    TooManyHeaders,
)
from trunkline.extensions import Extension, ServerExtensionFactory
from trunkline.handshake.server import ServerHandshake
from trunkline.http11 import Request

KEY = "dGhlIHNhbXBsZSBub25jZQ=="

HEADERS = {
    "Host": "example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}

DATA = b"GET /chat HTTP/1.1\r\n" + Headers(HEADERS).serialize()


def make_request(*added, without=(), **changes):
    kept = {name: value for name, value in HEADERS.items() if name not in without}
    return Request("/chat", Headers([*kept.items(), *added]), **changes)


class Recorder(Extension):
    """An extension that knows what was offered."""

    def __init__(self, params):
        self.params = params


class RecorderFactory(ServerExtensionFactory):
    """Accepts offers whose parameters are ``wanted``, once."""

    def __init__(self, name, wanted=(), answer=()):
        self.name, self.wanted, self.answer = name, list(wanted), list(answer)

    def process_request_params(self, params, accepted_extensions):
        if params != self.wanted or any(extension.name == self.name for extension in accepted_extensions):
            raise NegotiationError("declined")
        extension = Recorder(params)
        extension.name = self.name
        return self.answer, extension


def test_from_bytes_to_bytes():
    handshake = ServerHandshake()
    request = handshake.receive_data(DATA)
    assert request == make_request()
    response = handshake.accept(request)
    assert response.status_code == 101
    assert handshake.exception is None
    del response.headers["Date"]
    assert response.serialize() == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


def test_date():
    response = ServerHandshake().accept(make_request())
    assert email.utils.parsedate_to_datetime(response.headers["Date"])


@given(st.lists(st.integers(0, len(DATA))))
def test_split_does_not_matter(positions):
    handshake = ServerHandshake()
    cuts = [0, *sorted(positions), len(DATA)]
    answers = [handshake.receive_data(DATA[start:end]) for start, end in itertools.pairwise(cuts)]
    assert [answer for answer in answers if answer is not None] == [make_request()]
    assert handshake.remaining == b""


@pytest.mark.parametrize(
    ("request_", "status", "exception"),
    [
        (make_request(method="POST"), 405, InvalidMethod),
        (make_request(protocol="HTTP/1.0"), 505, InvalidProtocol),
        (make_request(protocol="HTTP/11"), 505, InvalidProtocol),
        (make_request(protocol="HTTP/2.0"), 505, InvalidProtocol),
        (make_request(without=["Host"]), 400, InvalidHeader),
        (make_request(("Host", "other")), 400, InvalidHeader),
        (make_request(without=["Upgrade"]), 426, InvalidUpgrade),
        (make_request(("Upgrade", "websocket")), 426, InvalidUpgrade),
        (make_request(("Upgrade", "h2c"), without=["Upgrade"]), 426, InvalidUpgrade),
        (make_request(("Upgrade", "é"), without=["Upgrade"]), 400, InvalidHeaderFormat),
        (make_request(without=["Connection"]), 426, InvalidUpgrade),
        (make_request(("Connection", "close"), without=["Connection"]), 426, InvalidUpgrade),
        (make_request(without=["Sec-WebSocket-Key"]), 400, InvalidHeader),
        (make_request(("Sec-WebSocket-Key", KEY)), 400, InvalidHeader),
        *(
            (make_request(("Sec-WebSocket-Key", key), without=["Sec-WebSocket-Key"]), 400, InvalidHeaderValue)
            for key in ["", "é", KEY[:-1], KEY + "=", "AAAA", " " + KEY, KEY + "AAAA", "dGhl IHNhbXBsZSBub25jZQ=="]
        ),
        (make_request(without=["Sec-WebSocket-Version"]), 400, InvalidHeader),
        (make_request(("Sec-WebSocket-Version", "13")), 400, InvalidHeader),
        *(
            (make_request(("Sec-WebSocket-Version", v), without=["Sec-WebSocket-Version"]), 426, InvalidHeaderValue)
            for v in ["8", "14", "", "é", "13, 8"]
        ),
        (make_request(("Origin", "a"), ("Origin", "b")), 400, InvalidHeader),
        (make_request(("Sec-WebSocket-Protocol", "é")), 400, InvalidHeaderFormat),
    ],
)
def test_bad_requests(request_, status, exception):
    handshake = ServerHandshake()
    response = handshake.accept(request_)
    assert response.status_code == status
    assert type(handshake.exception) is exception
    assert str(handshake.exception) in response.body.decode()
    response.serialize()


def test_refusal_is_a_whole_response():
    response = ServerHandshake().accept(make_request(method="POST"))
    assert response.reason_phrase == "Method Not Allowed"
    assert response.headers["Connection"] == "close"
    assert response.headers["Content-Length"] == str(len(response.body))
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Allow"] == "GET"
    assert response.body == b"Failed to open a WebSocket connection: unsupported HTTP method: POST.\n"


def test_later_versions_are_as_good_as_http_1_1():
    assert ServerHandshake().accept(make_request(protocol="HTTP/1.2")).status_code == 101


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", None),  # GET has another answer
        (b"HEAD / HTTP/3.7\r\nHost: h\r\n\r\n", "as GET"),
        (b"HEAD / HTTP/1.1\r\nHost : h\r\n\r\n", "as GET"),
        (b"HEAD / HTTP/1.1\r\n" + b"A: b\r\n" * 200, "as GET"),
    ],
)
def test_refusals_of_head(data, length):
    """RFC 9110 sections 9.3.2 and 8.6."""

    def refusal(data):
        handshake = ServerHandshake()
        try:
            response = handshake.accept(handshake.receive_data(data))
        except InvalidHandshake as error:
            response = handshake.refuse(error)
        return response, handshake.serialize(response)

    response, data_sent = refusal(data)
    assert data_sent.endswith(b"\r\n\r\n")
    as_get, _ = refusal(data.replace(b"HEAD", b"GET"))
    assert response.headers.get("Content-Length") == (length and as_get.headers["Content-Length"])


@pytest.mark.parametrize("missing", ["Upgrade", "Sec-WebSocket-Version"])
def test_426_tells_what_to_upgrade_to(missing):
    other = {"Upgrade": "h2c", "Sec-WebSocket-Version": "8"}[missing]
    response = ServerHandshake().accept(make_request((missing, other), without=[missing]))
    assert response.headers["Upgrade"] == "websocket"
    assert response.headers["Sec-WebSocket-Version"] == "13"


def test_browsers_get_a_hint():
    response = ServerHandshake().accept(make_request(without=["Upgrade", "Connection"]))
    assert b"You cannot access a WebSocket server directly with a browser." in response.body


@pytest.mark.parametrize(
    ("exception", "status"),
    [
        (InvalidMessage("x"), 400),
        (SecurityError("x"), 400),
        (RequestLineTooLong("x"), 414),
        (HeaderLineTooLong("x"), 431),
        (TooManyHeaders("x"), 431),
        (InvalidMethod("BREW"), 405),
        (InvalidProtocol("HTTP/3.7"), 505),
    ],
)
def test_refuse(exception, status):
    handshake = ServerHandshake()
    assert handshake.refuse(exception).status_code == status
    assert handshake.exception is exception


def test_reject():
    response = ServerHandshake().reject(503, "später\n")
    assert (response.status_code, response.reason_phrase) == (503, "Service Unavailable")
    assert response.body == "später\n".encode()
    assert response.headers["Content-Length"] == "8"
    with pytest.raises(ValueError, match="299"):
        ServerHandshake().reject(299, "")


@given(
    st.dictionaries(
        st.sampled_from([*HEADERS, "Origin", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"]),
        st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"])),
    )
)
def test_every_request_is_answered(values):
    handshake = ServerHandshake(origins=["http://a"], subprotocols=["a"], extensions=[RecorderFactory("x")])
    response = handshake.accept(Request("/", Headers({**HEADERS, **values})))
    assert isinstance(handshake.exception, InvalidHandshake) or response.status_code == 101
    response.serialize()


# Bytes


@pytest.mark.parametrize("pipelined", [DATA, b"POST / HTTP/1.1\r\n\r\n", b"A B"])
def test_pipelined_request(pipelined):
    with pytest.raises(InvalidMessage) as caught:
        ServerHandshake().receive_data(DATA + pipelined)
    assert "isn't a frame" in str(caught.value.__cause__)


def test_frames_behind_the_request_belong_to_the_session():
    handshake = ServerHandshake()
    assert handshake.receive_data(DATA + b"\x81\x80ab") is not None
    assert handshake.remaining == b"\x81\x80ab"
    assert handshake.receive_data(b"cd") is None
    assert handshake.remaining == b"\x81\x80abcd"


def test_body_is_never_taken_for_frames():
    headers = Headers({**HEADERS, "Content-Length": "6"})
    with pytest.raises(InvalidMessage) as caught:
        ServerHandshake().receive_data(b"GET / HTTP/1.1\r\n" + headers.serialize() + b"\x81\x80abcd")
    assert str(caught.value.__cause__) == "unsupported request body"


def test_end_of_file():
    handshake = ServerHandshake()
    handshake.receive_data(DATA[:-1])
    with pytest.raises(InvalidMessage) as info:
        handshake.receive_eof()
    assert isinstance(info.value.__cause__, EOFError)
    assert handshake.receive_data(DATA[-1:]) is not None
    handshake.receive_eof()


# Origin


@pytest.mark.parametrize(
    ("origins", "origin", "admitted"),
    [
        (None, None, True),
        (None, "http://a", True),
        (["http://a"], "http://a", True),
        (["http://a"], "http://A", True),
        (["HTTP://A"], "http://a", True),
        (["http://a"], "http://a:80", True),
        (["http://a:80"], "http://a", True),
        (["https://a"], "https://a:443", True),
        (["https://[::1]:443"], "https://[::1]", True),
        (["https://a"], "https://a:80", False),
        (["http://a"], "https://a", False),
        (["http://a"], "http://a.b", False),
        (["http://a"], "http://b", False),
        (["http://a"], "http://a:8080", False),
        (["http://a"], "http://ab", False),
        (["http://a"], "null", False),
        (["null"], "null", True),
        (["http://a"], None, False),
        (["http://a", None], None, True),
        ([None], "http://a", False),
        ([], None, False),
        ([re.compile(r"https://.*\.a")], "https://x.a", True),
        ([re.compile(r"https://.*\.a")], "https://x.a.b", False),
        ([re.compile(r"https://.*\.a")], "https://x.a\t", False),
        ([re.compile(".*")], None, False),
        (["http://a"], "", False),
    ],
)
def test_origins(origins, origin, admitted):
    handshake = ServerHandshake(origins=origins)
    response = handshake.accept(make_request(*([] if origin is None else [("Origin", origin)])))
    if admitted:
        assert response.status_code == 101
        assert handshake.origin == origin
    else:
        assert response.status_code == 403
        assert isinstance(handshake.exception, InvalidOrigin)


# Subprotocols


def accept_subprotocol(*offers, **kwargs):
    handshake = ServerHandshake(**kwargs)
    response = handshake.accept(make_request(*(("Sec-WebSocket-Protocol", offer) for offer in offers)))
    assert response.headers.get("Sec-WebSocket-Protocol") == handshake.subprotocol
    return response, handshake


def test_the_server_prefers():
    for offers in [["b, a"], ["b", "a"], ["d, b,a"]]:
        response, handshake = accept_subprotocol(*offers, subprotocols=["c", "a", "b"])
        assert (response.status_code, handshake.subprotocol) == (101, "a")


def test_no_subprotocols_configured():
    response, handshake = accept_subprotocol("a")
    assert (response.status_code, handshake.subprotocol) == (101, None)


@pytest.mark.parametrize(("offers", "error"), [([], "missing subprotocol"), (["b"], "expected one of a, c")])
def test_no_subprotocol_in_common(offers, error):
    response, handshake = accept_subprotocol(*offers, subprotocols=["a", "c"])
    assert response.status_code == 400
    assert isinstance(handshake.exception, NegotiationError)
    assert error in str(handshake.exception)


def test_select_subprotocol():
    calls = []

    def select(handshake, offers):
        calls.append((handshake, offers))
        return offers[-1]

    response, handshake = accept_subprotocol("a, b", subprotocols=["a"], select_subprotocol=select)
    assert (response.status_code, handshake.subprotocol) == (101, "b")
    assert calls == [(handshake, ["a", "b"])]


def test_select_subprotocol_may_choose_none():
    response, handshake = accept_subprotocol(select_subprotocol=lambda handshake, offers: None)
    assert (response.status_code, handshake.subprotocol) == (101, None)


def test_select_subprotocol_may_refuse():
    def select(handshake, offers):
        raise NegotiationError("not today")

    response = accept_subprotocol("a", select_subprotocol=select)[0]
    assert response.status_code == 400
    assert b"not today" in response.body


def test_fault_of_the_program_is_500_and_tells_the_client_nothing():
    def select(handshake, offers):
        raise RuntimeError("secret")

    response, handshake = accept_subprotocol("a", select_subprotocol=select)
    assert response.status_code == 500
    assert isinstance(handshake.exception, RuntimeError)
    assert b"secret" not in response.body


def test_select_subprotocol_must_choose_an_offer():
    response, handshake = accept_subprotocol("a", select_subprotocol=lambda handshake, offers: "b\r\nX: y")
    assert response.status_code == 500
    assert "the client offered ['a']" in str(handshake.exception)


def test_invalid_subprotocols():
    with pytest.raises(TypeError):
        ServerHandshake(subprotocols="a")
    with pytest.raises(ValueError, match="invalid subprotocol"):
        ServerHandshake(subprotocols=["a\r\nb"])


# Extensions


def accept_extensions(*offers, factories):
    handshake = ServerHandshake(extensions=factories)
    response = handshake.accept(make_request(*(("Sec-WebSocket-Extensions", offer) for offer in offers)))
    return response, [(extension.name, extension.params) for extension in handshake.extensions]


def test_extensions_in_the_order_of_the_client():
    factories = [RecorderFactory("x", answer=[("p", "1"), ("q", None)]), RecorderFactory("y")]
    for offers in [["y, x, z"], ["y", "x"]]:
        response, extensions = accept_extensions(*offers, factories=factories)
        assert extensions == [("y", []), ("x", [])]
        assert response.headers["Sec-WebSocket-Extensions"] == "y, x; p=1; q"


def test_declined_offers_leave_the_next_one():
    response, extensions = accept_extensions("x; a, x; b, x", factories=[RecorderFactory("x", [("b", None)])])
    assert extensions == [("x", [("b", None)])]
    assert response.headers["Sec-WebSocket-Extensions"] == "x"


def test_a_second_factory_may_accept_what_the_first_declined():
    factories = [RecorderFactory("x"), RecorderFactory("x", [("a", "1")])]
    assert accept_extensions("x; a=1", factories=factories)[1] == [("x", [("a", "1")])]


def test_no_extension_in_common():
    response, extensions = accept_extensions("y", factories=[RecorderFactory("x")])
    assert response.status_code == 101
    assert extensions == []
    assert "Sec-WebSocket-Extensions" not in response.headers


def test_bad_extensions_header():
    assert accept_extensions("é", factories=[RecorderFactory("x")])[0].status_code == 400
    assert accept_extensions("é", factories=[])[0].status_code == 101


def test_180_offers():
    offers = ", ".join(f"x; p{i}" for i in range(180))
    extensions = accept_extensions(offers, factories=[RecorderFactory("x", [("p179", None)])])[1]
    assert extensions == [("x", [("p179", None)])]

"""handshake.client: the request, and every way in which an answer can be wrong."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.datastructures import Headers
from trunkline.exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidProtocol,
    InvalidStatus,
    InvalidUpgrade,
    NegotiationError,
    SecurityError,
)
from trunkline.extensions import ClientExtensionFactory, Extension
from trunkline.handshake.client import ClientHandshake
from trunkline.handshake.server import ServerHandshake
from trunkline.handshake.upgrade import accept_key
from trunkline.http11 import Response
from trunkline.uri import WebSocketURI, parse_uri

URI = parse_uri("ws://example.com/chat?room=1")


class Recorder(Extension):
    """An extension that knows what was answered."""

    def __init__(self, params):
        self.params = params


class RecorderFactory(ClientExtensionFactory):
    """Offers a parameter, and accepts answers without parameters, once."""

    def __init__(self, name):
        self.name = name

    def get_request_params(self):
        return [("p", "1"), ("q", None)]

    def process_response_params(self, params, accepted_extensions):
        if params or accepted_extensions:
            raise NegotiationError("declined")
        return Recorder(params)


def answer(handshake, *added, without=(), status=101):
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": accept_key(handshake.key),
    }
    kept = [(name, value) for name, value in headers.items() if name not in without]
    return Response(status, "", Headers([*kept, *added]))


# Request


def test_request():
    handshake = ClientHandshake(URI)
    request = handshake.request()
    assert request.path == "/chat?room=1"
    assert list(request.headers.raw_items()) == [
        ("Host", "example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", handshake.key),
        ("Sec-WebSocket-Version", "13"),
    ]


def test_request_with_everything():
    handshake = ClientHandshake(
        parse_uri("wss://user:p%40ss@[::1]:8443"),
        origin="https://a",
        extensions=[RecorderFactory("x"), RecorderFactory("y")],
        subprotocols=["a", "b"],
    )
    headers = handshake.request().headers
    assert headers["Host"] == "[::1]:8443"
    assert headers["Origin"] == "https://a"
    assert headers["Authorization"] == "Basic dXNlcjpwQHNz"
    assert headers["Sec-WebSocket-Extensions"] == "x; p=1; q, y; p=1; q"
    assert headers["Sec-WebSocket-Protocol"] == "a, b"


def test_keys_are_fresh():
    assert ClientHandshake(URI).key != ClientHandshake(URI).key


def test_nothing_dangerous_goes_on_the_wire():
    with pytest.raises(InvalidHeaderValue, match="Origin"):
        ClientHandshake(URI, origin="a\r\nX: y").request()
    with pytest.raises(ValueError, match="invalid subprotocol"):
        ClientHandshake(URI, subprotocols=["a\r\nX: y"])
    with pytest.raises(TypeError):
        ClientHandshake(URI, subprotocols="a")
    with pytest.raises(ValueError, match="isn't a token"):
        ClientHandshake(URI, extensions=[RecorderFactory("a\r\nX: y")]).request()
    with pytest.raises(InvalidHeaderValue, match="Host"):
        ClientHandshake(WebSocketURI(False, "h\r\nX: y", 80, "/", "")).request()
    with pytest.raises(ValueError, match="invalid path"):
        ClientHandshake(WebSocketURI(False, "h", 80, "/ HTTP/1.1\r\nX: y", "")).request().serialize()


def test_the_server_understands():
    client = ClientHandshake(URI, origin="http://a", subprotocols=["a"])
    server = ServerHandshake(origins=["http://a"], subprotocols=["a"])
    request = server.receive_data(client.request().serialize())
    response = client.receive_data(server.accept(request).serialize() + b"\x81\x00")
    client.process_response(response)
    assert client.subprotocol == server.subprotocol == "a"
    assert client.remaining == b"\x81\x00"


# Response


def test_good_answer():
    handshake = ClientHandshake(URI)
    handshake.process_response(answer(handshake))
    assert handshake.subprotocol is None
    assert handshake.extensions == []


@pytest.mark.parametrize(
    ("added", "without", "exception"),
    [
        ([], ["Upgrade"], InvalidUpgrade),
        ([], ["Connection"], InvalidUpgrade),
        ([("Upgrade", "websocket")], [], InvalidUpgrade),
        ([("Upgrade", "h2c")], ["Upgrade"], InvalidUpgrade),
        ([("Connection", "close")], ["Connection"], InvalidUpgrade),
        ([("Connection", "é")], ["Connection"], InvalidHeaderFormat),
        ([], ["Sec-WebSocket-Accept"], InvalidHeader),
        ([("Sec-WebSocket-Accept", "x")], [], InvalidHeader),
        ([("Sec-WebSocket-Accept", "x")], ["Sec-WebSocket-Accept"], InvalidHeaderValue),
        ([("Sec-WebSocket-Accept", "é")], ["Sec-WebSocket-Accept"], InvalidHeaderValue),
        ([("Sec-WebSocket-Protocol", "a")], [], NegotiationError),
        ([("Sec-WebSocket-Extensions", "x")], [], NegotiationError),
    ],
)
def test_bad_answers(added, without, exception):
    handshake = ClientHandshake(URI)
    with pytest.raises(InvalidHandshake) as info:
        handshake.process_response(answer(handshake, *added, without=without))
    assert type(info.value) is exception


def test_accept_of_another_key():
    handshake = ClientHandshake(URI)
    with pytest.raises(InvalidHeaderValue, match="Sec-WebSocket-Accept"):
        handshake.process_response(answer(ClientHandshake(URI)))


@pytest.mark.parametrize("status", [200, 204, 301, 403, 500])
def test_refusals(status):
    handshake = ClientHandshake(URI)
    response = answer(handshake, status=status)
    with pytest.raises(InvalidStatus) as info:
        handshake.process_response(response)
    assert info.value.response is response


def test_subprotocol():
    handshake = ClientHandshake(URI, subprotocols=["a", "b"])
    handshake.process_response(answer(handshake, ("Sec-WebSocket-Protocol", "b")))
    assert handshake.subprotocol == "b"


def test_no_subprotocol_chosen():
    handshake = ClientHandshake(URI, subprotocols=["a"])
    handshake.process_response(answer(handshake))
    assert handshake.subprotocol is None


@pytest.mark.parametrize(
    ("values", "exception"),
    [
        (["c"], NegotiationError),
        (["A"], NegotiationError),
        (["a, b"], InvalidHeader),
        (["a", "a"], InvalidHeader),
        (["é"], InvalidHeaderFormat),
        ([""], InvalidHeaderFormat),
    ],
)
def test_bad_subprotocols(values, exception):
    handshake = ClientHandshake(URI, subprotocols=["a", "b"])
    with pytest.raises(InvalidHandshake) as info:
        handshake.process_response(answer(handshake, *(("Sec-WebSocket-Protocol", value) for value in values)))
    assert type(info.value) is exception


def test_extension():
    handshake = ClientHandshake(URI, extensions=[RecorderFactory("x"), RecorderFactory("y")])
    handshake.process_response(answer(handshake, ("Sec-WebSocket-Extensions", "y")))
    assert [extension.params for extension in handshake.extensions] == [[]]


@pytest.mark.parametrize("header", ["z", "x; a", "x, x"])
def test_extensions_that_were_not_offered(header):
    handshake = ClientHandshake(URI, extensions=[RecorderFactory("x")])
    with pytest.raises(NegotiationError, match="Unsupported extension"):
        handshake.process_response(answer(handshake, ("Sec-WebSocket-Extensions", header)))


# Bytes


def test_interim_responses_are_skipped():
    handshake = ClientHandshake(URI)
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    switching = answer(handshake).serialize()
    for data in [interim + switching + b"\x81\x00"], [interim, switching + b"\x81\x00"]:
        reading = ClientHandshake(URI)
        responses = [reading.receive_data(chunk) for chunk in data]
        assert responses[-1].status_code == 101
        assert reading.remaining == b"\x81\x00"


@given(st.lists(st.integers(0, 200)))
def test_split_does_not_matter(positions):
    data = b"HTTP/1.1 100 Continue\r\n\r\n" + Response(403, "No", Headers({"Content-Length": "2"}), b"no").serialize()
    cuts = [0, *sorted(min(position, len(data)) for position in positions), len(data)]
    handshake = ClientHandshake(URI)
    responses = [handshake.receive_data(data[start:end]) for start, end in itertools.pairwise(cuts)]
    first = next(response for response in responses if response is not None)
    assert (first.status_code, first.body) == (403, b"no")


def test_endless_interim_responses():
    handshake = ClientHandshake(URI)
    with pytest.raises(SecurityError, match="more than 16 interim responses"):
        handshake.receive_data(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def test_switching_protocols_needs_http_1_1():
    with pytest.raises(InvalidProtocol, match=r"HTTP/1\.0"):
        ClientHandshake(URI).receive_data(b"HTTP/1.0 101 Switching Protocols\r\n\r\n")


def test_refusal_with_a_body_until_end_of_file():
    handshake = ClientHandshake(URI)
    assert handshake.receive_data(b"HTTP/1.0 503 Busy\r\n\r\ncome back later") is None
    response = handshake.receive_eof()
    with pytest.raises(InvalidStatus, match="HTTP 503"):
        handshake.process_response(response)
    assert response.body == b"come back later"


def test_end_of_file():
    handshake = ClientHandshake(URI)
    with pytest.raises(InvalidMessage) as info:
        handshake.receive_eof()
    assert isinstance(info.value.__cause__, EOFError)

"""exceptions: what they say and what they carry, as programs written for websockets rely on."""

import copy
import pickle

import pytest

from trunkline import exceptions
from trunkline.datastructures import Headers
from trunkline.exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    DuplicateParameter,
    InvalidHeader,
    InvalidHeaderFormat,
    InvalidMethod,
    InvalidOrigin,
    InvalidParameterName,
    InvalidParameterValue,
    InvalidProtocol,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidState,
    InvalidStatus,
    InvalidUpgrade,
    InvalidURI,
    PayloadTooBig,
    ProtocolError,
    TooManyFragments,
    WebSocketException,
)
from trunkline.frames import Close
from trunkline.http11 import Response

NORMAL = Close(1000, "x")
FORBIDDEN = Response(403, "Forbidden", Headers())


@pytest.mark.parametrize(
    ("exception", "text"),
    [
        (ConnectionClosed(None, None), "no close frame received or sent"),
        (ConnectionClosed(NORMAL, None), "received 1000 (OK) x; no close frame sent"),
        (ConnectionClosed(None, Close(1011, "")), "sent 1011 (internal error); no close frame received"),
        (
            ConnectionClosed(NORMAL, Close(1001, ""), True),
            "received 1000 (OK) x; then sent 1001 (going away)",
        ),
        (
            ConnectionClosed(NORMAL, Close(4000, ""), False),
            "sent 4000 (private use); then received 1000 (OK) x",
        ),
        (InvalidURI("u", "m"), "u isn't a valid URI: m"),
        (InvalidProxy("p", "m"), "p isn't a valid proxy: m"),
        (InvalidProxyStatus(FORBIDDEN), "proxy rejected connection: HTTP 403"),
        (InvalidStatus(FORBIDDEN), "server rejected WebSocket connection: HTTP 403"),
        (InvalidMethod("POST"), "unsupported HTTP method: POST"),
        (InvalidProtocol("HTTP/1.0"), "unsupported HTTP version: HTTP/1.0"),
        (InvalidHeader("Name"), "missing Name header"),
        (InvalidHeader("Name", ""), "empty Name header"),
        (InvalidHeader("Name", "v"), "invalid Name header: v"),
        (InvalidHeaderFormat("Name", "expected token", "a=|", 2), "invalid Name header: expected token at 2 in a=|"),
        (InvalidOrigin(None), "missing Origin header"),
        (InvalidOrigin("null"), "invalid Origin header: null"),
        (InvalidUpgrade("Upgrade", "h2c"), "invalid Upgrade header: h2c"),
        (DuplicateParameter("a"), "duplicate parameter: a"),
        (InvalidParameterName("a"), "invalid parameter name: a"),
        (InvalidParameterValue("a", None), "missing value for parameter a"),
        (InvalidParameterValue("a", ""), "empty value for parameter a"),
        (InvalidParameterValue("a", "1"), "invalid value for parameter a: 1"),
        (PayloadTooBig(10, 5), "frame with 10 bytes exceeds limit of 5 bytes"),
        (PayloadTooBig(10, 5, 3), "frame with 10 bytes after reading 3 bytes exceeds limit of 8 bytes"),
        (PayloadTooBig(None, 5), "frame exceeds limit of 5 bytes"),
        (TooManyFragments(4), "fragmented message exceeds limit of 4 frames"),
        (ProtocolError("invalid opcode"), "invalid opcode"),
    ],
)
def test_text_survives_copies(exception, text):
    assert str(exception) == text
    assert str(copy.copy(exception)) == text
    assert str(pickle.loads(pickle.dumps(exception))) == text


def test_tree_is_the_documented_one():
    documented = [line for line in exceptions.__doc__.splitlines() if "──" in line or line == "    WebSocketException"]
    parents = []
    for line in documented:
        depth = (len(line) - len(line.lstrip(" │├└─")) - 4) // 4
        cls = getattr(exceptions, line.lstrip(" │├└─").split()[0])
        assert cls.__bases__[0] is (parents[depth - 1] if depth else Exception)
        parents[depth:] = [cls]
    assert len(documented) == len(exceptions.__all__)


def test_other_bases_are_those_of_python():
    assert issubclass(InvalidState, AssertionError)
    assert issubclass(ConcurrencyError, RuntimeError)
    assert issubclass(ConnectionClosedOK, ConnectionClosed)
    assert issubclass(ConnectionClosedError, WebSocketException)


def test_connection_closed_carries_both_close_frames():
    exception = ConnectionClosedError(NORMAL, Close(1001, ""), True)
    assert (exception.rcvd, exception.sent, exception.rcvd_then_sent) == (NORMAL, Close(1001, ""), True)


@pytest.mark.parametrize("args", [(NORMAL, NORMAL, None), (NORMAL, None, True), (None, None, False)])
def test_order_is_known_if_there_are_two_close_frames(args):
    with pytest.raises(AssertionError, match="rcvd_then_sent"):
        ConnectionClosed(*args)


@pytest.mark.parametrize(
    ("rcvd", "sent", "code", "reason"),
    [(NORMAL, None, 1000, "x"), (None, NORMAL, 1006, ""), (None, None, 1006, "")],
)
def test_code_and_reason_are_deprecated(rcvd, sent, code, reason):
    exception = ConnectionClosed(rcvd, sent)
    with pytest.warns(DeprecationWarning, match=r"ConnectionClosed\.code is deprecated"):
        assert exception.code == code
    with pytest.warns(DeprecationWarning, match=r"ConnectionClosed\.reason is deprecated"):
        assert exception.reason == reason


def test_payload_too_big_learns_what_came_before_once():
    exception = PayloadTooBig(10, 5)
    exception.set_current_size(None)
    exception.set_current_size(7)
    assert (exception.size, exception.current_size, exception.max_size) == (10, 7, 12)
    with pytest.raises(AssertionError, match="already known"):
        exception.set_current_size(7)


def test_a_text_of_its_own_is_deprecated() -> None:
    with pytest.warns(DeprecationWarning, match="change to PayloadTooBig"):
        exception = PayloadTooBig("too big")
    assert str(exception) == "too big"

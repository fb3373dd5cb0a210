"""The exceptions, and the next step of the caller.

Every exception that trunkline raises on its own account descends from :exc:`WebSocketException`::

    WebSocketException
    ├── ConnectionClosed
    │   ├── ConnectionClosedOK
    │   └── ConnectionClosedError
    ├── InvalidURI
    ├── InvalidProxy
    ├── InvalidHandshake
    │   ├── SecurityError
    │   │   ├── RequestLineTooLong
    │   │   ├── StatusLineTooLong
    │   │   ├── HeaderLineTooLong
    │   │   └── TooManyHeaders
    │   ├── ProxyError
    │   │   ├── InvalidProxyMessage
    │   │   └── InvalidProxyStatus
    │   ├── InvalidMessage
    │   ├── InvalidMethod
    │   ├── InvalidProtocol
    │   ├── InvalidStatus
    │   ├── InvalidHeader
    │   │   ├── InvalidHeaderFormat
    │   │   ├── InvalidHeaderValue
    │   │   ├── InvalidOrigin
    │   │   └── InvalidUpgrade
    │   └── NegotiationError
    │       ├── DuplicateParameter
    │       ├── InvalidParameterName
    │       └── InvalidParameterValue
    ├── ProtocolError
    ├── PayloadTooBig
    ├── TooManyFragments
    ├── InvalidState (also an AssertionError)
    └── ConcurrencyError (also a RuntimeError)

``__cause__`` tells what lies underneath, for example the :exc:`OSError` that cut a connection.
"""

# ruff: noqa: N818  # the names are those that programs written for websockets catch

from __future__ import annotations

import warnings

__all__ = [
    "ConcurrencyError",
    "ConnectionClosed",
    "ConnectionClosedError",
    "ConnectionClosedOK",
    "DuplicateParameter",
    "HeaderLineTooLong",
    "InvalidHandshake",
    "InvalidHeader",
    "InvalidHeaderFormat",
    "InvalidHeaderValue",
    "InvalidMessage",
    "InvalidMethod",
    "InvalidOrigin",
    "InvalidParameterName",
    "InvalidParameterValue",
    "InvalidProtocol",
    "InvalidProxy",
    "InvalidProxyMessage",
    "InvalidProxyStatus",
    "InvalidState",
    "InvalidStatus",
    "InvalidURI",
    "InvalidUpgrade",
    "NegotiationError",
    "PayloadTooBig",
    "ProtocolError",
    "ProxyError",
    "RequestLineTooLong",
    "SecurityError",
    "StatusLineTooLong",
    "TooManyFragments",
    "TooManyHeaders",
    "WebSocketException",
]


class WebSocketException(Exception):
    """Base of all exceptions of trunkline. Catch it to end one connection and keep the program going."""


class ConnectionClosed(WebSocketException):
    """The connection is closed: stop using it. To go on talking, open a new one.

    Catch :exc:`ConnectionClosedOK` or :exc:`ConnectionClosedError` to tell a normal end from a failure.

    Args:
        rcvd: the close frame received from the peer, or None if there was none.
        sent: the close frame sent to the peer, or None if there was none.
        rcvd_then_sent: if both exist, True when the peer's came first; otherwise None.
    """

    def __init__(
        self, rcvd: frames.Close | None, sent: frames.Close | None, rcvd_then_sent: bool | None = None
    ) -> None:
        both = rcvd is not None and sent is not None
        assert both == (rcvd_then_sent is not None), "rcvd_then_sent orders two close frames: give it with both only"
        self.rcvd = rcvd
        self.sent = sent
        self.rcvd_then_sent = rcvd_then_sent

    def __str__(self) -> str:
        if self.rcvd is None and self.sent is None:
            return "no close frame received or sent"
        if self.rcvd is None:
            return f"sent {self.sent}; no close frame received"
        if self.sent is None:
            return f"received {self.rcvd}; no close frame sent"
        if self.rcvd_then_sent:
            return f"received {self.rcvd}; then sent {self.sent}"
        return f"sent {self.sent}; then received {self.rcvd}"

    @property
    def code(self) -> int:
        """Deprecated: read ``rcvd.code``, which also tells that nothing was received (``rcvd is None``)."""
        warnings.warn(
            "ConnectionClosed.code is deprecated; use Protocol.close_code or ConnectionClosed.rcvd.code",
            DeprecationWarning,
            stacklevel=2,
        )
        return 1006 if self.rcvd is None else self.rcvd.code  # RFC 6455 section 7.1.5: closed abnormally

    @property
    def reason(self) -> str:
        """Deprecated: read ``rcvd.reason``."""
        warnings.warn(
            "ConnectionClosed.reason is deprecated; use Protocol.close_reason or ConnectionClosed.rcvd.reason",
            DeprecationWarning,
            stacklevel=2,
        )
        return "" if self.rcvd is None else self.rcvd.reason


class ConnectionClosedOK(ConnectionClosed):
    """The connection ended normally: both sides closed with 1000, 1001 or no code. Finish up."""


class ConnectionClosedError(ConnectionClosed):
    """The connection ended with an error, or without a closing handshake. Messages in flight may be lost: reconnect."""


class InvalidURI(WebSocketException):
    """The address isn't a WebSocket URI. Correct it: ``ws://host[:port]/path`` or ``wss://...``.

    Args:
        uri: the address.
        msg: what is wrong with it.
    """

    def __init__(self, uri: str, msg: str) -> None:
        self.uri = uri
        self.msg = msg

    def __str__(self) -> str:
        return f"{self.uri} isn't a valid URI: {self.msg}"


class InvalidProxy(WebSocketException):
    """The address of the proxy can't be used. Correct the ``proxy`` argument or the environment variable.

    Args:
        proxy: the address.
        msg: what is wrong with it.
    """

    def __init__(self, proxy: str, msg: str) -> None:
        self.proxy = proxy
        self.msg = msg

    def __str__(self) -> str:
        return f"{self.proxy} isn't a valid proxy: {self.msg}"


class InvalidHandshake(WebSocketException):
    """The opening handshake failed, so there is no connection. Read the subclass to decide whether to try again."""


class SecurityError(InvalidHandshake):
    """A request or a response broke a security rule or limit. Don't retry; look at who is at the other end."""


class RequestLineTooLong(SecurityError):
    """The request line is longer than ``WEBSOCKETS_MAX_LINE_LENGTH`` bytes. Shorten the URI or raise the limit."""


class StatusLineTooLong(SecurityError):
    """The status line is longer than ``WEBSOCKETS_MAX_LINE_LENGTH`` bytes. Check that the server speaks HTTP."""


class HeaderLineTooLong(SecurityError):
    """A header line is longer than ``WEBSOCKETS_MAX_LINE_LENGTH`` bytes. Send smaller headers or raise the limit."""


class TooManyHeaders(SecurityError):
    """There are more than ``WEBSOCKETS_MAX_NUM_HEADERS`` header lines. Send fewer headers or raise the limit."""


class ProxyError(InvalidHandshake):
    """The proxy failed, before the server was reached. Check the proxy, or connect without it."""


class InvalidProxyMessage(ProxyError):
    """The proxy's answer isn't HTTP. Check that the address is that of an HTTP proxy."""


class InvalidProxyStatus(ProxyError):
    """The proxy refused to connect. Read ``response``: 407 wants credentials, 403 is a policy.

    Args:
        response: the proxy's answer.
    """

    def __init__(self, response: http11.Response) -> None:
        self.response = response

    def __str__(self) -> str:
        return f"proxy rejected connection: HTTP {self.response.status_code:d}"


class InvalidMessage(InvalidHandshake):
    """The peer's bytes aren't an HTTP/1.1 message. If ``__cause__`` is an EOFError it ended early: a retry may help."""


class InvalidMethod(InvalidHandshake):
    """A WebSocket request must be a GET (RFC 6455 section 4.1). Connect with a WebSocket client.

    Args:
        method: the method of the request.
    """

    def __init__(self, method: str) -> None:
        self.method = method

    def __str__(self) -> str:
        return f"unsupported HTTP method: {self.method}"


class InvalidProtocol(InvalidHandshake):
    """The opening handshake needs HTTP/1.1 (RFC 6455 section 4.1). A proxy in between may speak HTTP/1.0.

    Args:
        protocol: the protocol of the message, for example ``"HTTP/1.0"``.
    """

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol

    def __str__(self) -> str:
        return f"unsupported HTTP version: {self.protocol}"


class InvalidStatus(InvalidHandshake):
    """The server refused the connection. Read ``response``: retry on 5xx, follow 3xx, correct the request on 4xx.

    Args:
        response: the server's answer, with its headers and body.
    """

    def __init__(self, response: http11.Response) -> None:
        self.response = response

    def __str__(self) -> str:
        return f"server rejected WebSocket connection: HTTP {self.response.status_code:d}"


class InvalidHeader(InvalidHandshake):
    """A header of the opening handshake is missing or wrong. The side that sent it must be corrected.

    Args:
        name: the header's name.
        value: its value, or None if it is missing.
    """

    def __init__(self, name: str, value: str | None = None) -> None:
        self.name = name
        self.value = value

    def __str__(self) -> str:
        if self.value is None:
            return f"missing {self.name} header"
        if self.value == "":
            return f"empty {self.name} header"
        return f"invalid {self.name} header: {self.value}"


class InvalidHeaderFormat(InvalidHeader):
    """A header doesn't follow its grammar. The side that sent it must be corrected.

    Args:
        name: the header's name.
        error: what was expected.
        header: the header's value.
        pos: where in the value, counted in characters from 0.
    """

    def __init__(self, name: str, error: str, header: str, pos: int) -> None:
        super().__init__(name, f"{error} at {pos} in {header}")


class InvalidHeaderValue(InvalidHeader):
    """A header follows its grammar, but its value is refused. The side that sent it must be corrected."""


class InvalidOrigin(InvalidHeader):
    """The page at this origin may not connect. If it should, add it to ``origins`` of the server.

    Args:
        origin: the value of the Origin header, or None if it is missing.
    """

    def __init__(self, origin: str | None) -> None:
        super().__init__("Origin", origin)


class InvalidUpgrade(InvalidHeader):
    """Upgrade or Connection doesn't ask for WebSocket. Connect with a WebSocket client; let proxies pass both."""


class NegotiationError(InvalidHandshake):
    """The two sides share no subprotocol or extension that both accept. Configure one that both know."""


class DuplicateParameter(NegotiationError):
    """A parameter of an extension is given twice. Give it once.

    Args:
        name: the parameter's name.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"duplicate parameter: {self.name}"


class InvalidParameterName(NegotiationError):
    """An extension doesn't know this parameter. Leave it out.

    Args:
        name: the parameter's name.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"invalid parameter name: {self.name}"


class InvalidParameterValue(NegotiationError):
    """A parameter of an extension has a value that isn't allowed. Give an allowed one.

    Args:
        name: the parameter's name.
        value: its value, or None if it is missing.
    """

    def __init__(self, name: str, value: str | None) -> None:
        self.name = name
        self.value = value

    def __str__(self) -> str:
        if self.value is None:
            return f"missing value for parameter {self.name}"
        if self.value == "":
            return f"empty value for parameter {self.name}"
        return f"invalid value for parameter {self.name}: {self.value}"


class ProtocolError(WebSocketException):
    """A frame breaks RFC 6455. From the peer: the connection fails with 1002. On sending: correct the arguments."""


class PayloadTooBig(WebSocketException):
    """A message exceeds ``max_size``: the connection fails with 1009. Send less, or raise ``max_size``.

    Args:
        size_or_message: size of the frame in bytes, or None if unknown; or, deprecated, the whole text of the error.
        max_size: what was left of the limit for this frame, in bytes.
        current_size: bytes of the message read in earlier frames; None for a message's first frame.
    """

    def __init__(
        self,
        size_or_message: int | str | None,
        max_size: int | None = None,
        current_size: int | None = None,
    ) -> None:
        self.message: str | None = None
        self.size: int | None = None
        self.max_size = max_size
        self.current_size: int | None = None
        if isinstance(size_or_message, str):
            warnings.warn(
                "PayloadTooBig(message) is deprecated; change to PayloadTooBig(size, max_size)",
                DeprecationWarning,
                stacklevel=2,
            )
            self.message = size_or_message
            return
        self.size = size_or_message
        self.set_current_size(current_size)

    def __str__(self) -> str:
        if self.message is not None:
            return self.message
        size = "" if self.size is None else f" with {self.size} bytes"
        after = "" if self.current_size is None else f" after reading {self.current_size} bytes"
        return f"frame{size}{after} exceeds limit of {self.max_size} bytes"

    def set_current_size(self, current_size: int | None) -> None:
        """Tell how much of the message came before, once; ``max_size`` grows to the limit of the whole message."""
        assert self.current_size is None, "the current size is already known"
        if current_size is None:
            return
        assert self.max_size is not None, "a current size needs a limit"
        self.current_size = current_size
        self.max_size += current_size


class TooManyFragments(WebSocketException):
    """A message has too many fragments: the connection fails with 1009. Send larger fragments.

    Args:
        max_fragments: the limit, in frames.
    """

    def __init__(self, max_fragments: int) -> None:
        self.max_fragments = max_fragments

    def __str__(self) -> str:
        return f"fragmented message exceeds limit of {self.max_fragments} frames"


class InvalidState(WebSocketException, AssertionError):
    """A call that the connection's state forbids, for example sending after closing. Correct the program."""


class ConcurrencyError(WebSocketException, RuntimeError):
    """Two tasks do what only one may do at a time, for example ``recv()``. Let one task own it."""


# Last, as these modules need this one: the annotations above name their classes.
from . import frames, http11  # noqa: E402

"""The client's side of the opening handshake (RFC 6455 section 4.1)."""

from __future__ import annotations

from typing import Any

from ..datastructures import Headers
from ..exceptions import (
    InvalidHeaderValue,
    InvalidMessage,
    InvalidProtocol,
    InvalidStatus,
    SecurityError,
    StatusLineTooLong,
)
from ..http11 import Request, Response
from ..uri import WebSocketURI
from .head import ResponseReader
from .headers import build_authorization_basic, build_host, require_header
from .negotiation import VERSION, ClientNegotiation
from .upgrade import accept_key, check_upgrade, generate_key

__all__ = ["ClientHandshake"]

# More would only serve to keep the client busy
_MAX_INTERIM_RESPONSES = 16


class ClientHandshake(ClientNegotiation):
    """Builds a request in HTTP/1.1 and checks the answer.

    Args:
        uri: where to connect.
        terms: the arguments of `ClientNegotiation`.

    Attributes:
        uri: where to connect.
        key: the Sec-WebSocket-Key, fresh for each handshake.
        remaining: what followed the response. It belongs to the session.
    """

    def __init__(self, uri: WebSocketURI, **terms: Any) -> None:
        super().__init__(**terms)
        self.uri = uri
        self._reader = ResponseReader()
        self._num_interim_responses = 0
        self.key = generate_key()
        self.remaining = b""

    def request(self) -> Request:
        """Return the request. Add headers such as User-Agent before sending it.

        Raises:
            InvalidHeaderValue: if ``origin`` or the URI's host contains control characters.
            ValueError: if the username contains a colon, or an extension's parameter isn't a token.
        """
        uri = self.uri
        headers = Headers()
        headers["Host"] = build_host(uri.host, uri.port, uri.secure)
        if self.origin is not None:
            headers["Origin"] = self.origin
        if uri.user_info is not None:
            headers["Authorization"] = build_authorization_basic(*uri.user_info)
        headers["Upgrade"] = "websocket"
        headers["Connection"] = "Upgrade"
        headers["Sec-WebSocket-Key"] = self.key
        headers["Sec-WebSocket-Version"] = VERSION
        self.offer(headers)
        return Request(uri.resource_name, headers)

    def receive_data(self, data: bytes) -> Response | None:
        """Return the response once it is complete, else None; it may be a refusal, with its body.

        Raises:
            InvalidMessage: if the bytes aren't a response; also, caused by :exc:`SecurityError`, if it exceeds a limit.
            InvalidProtocol: if the response switches protocols in HTTP/1.0.
            StatusLineTooLong: if it is.
            SecurityError: if there are too many interim responses.
        """
        response = self._read(data)
        # RFC 9110 section 15.2: a client must be able to read interim responses, and may ignore them
        while response is not None and response.status_code < 200 and response.status_code != 101:
            self._num_interim_responses += 1
            if self._num_interim_responses > _MAX_INTERIM_RESPONSES:
                raise SecurityError(f"more than {_MAX_INTERIM_RESPONSES} interim responses")
            rest = self._reader.remaining
            self._reader = ResponseReader()
            response = self._read(rest)
        if response is not None and response.status_code == 101 and self._reader.protocol == "HTTP/1.0":
            raise InvalidProtocol(self._reader.protocol)
        self.remaining = self._reader.remaining
        return response

    def _read(self, data: bytes) -> Response | None:
        try:
            return self._reader.receive_data(data)
        except StatusLineTooLong:
            raise
        except SecurityError as error:
            raise InvalidMessage("did not receive a valid HTTP response") from error

    def receive_eof(self) -> Response:
        """Return the response if its body lasts until the connection closes.

        Raises:
            InvalidMessage: caused by :exc:`EOFError`, if the response is incomplete.
        """
        return self._reader.receive_eof()

    def process_response(self, response: Response) -> None:
        """Check a response (RFC 6455 section 4.1); set ``extensions`` and ``subprotocol``.

        Raises:
            InvalidStatus: if the status isn't 101.
            InvalidUpgrade: if Connection or Upgrade doesn't switch to WebSocket.
            InvalidHeader: if another header is missing or wrong.
            NegotiationError: if the server chose an extension or a subprotocol that wasn't offered.
        """
        if response.status_code != 101:
            raise InvalidStatus(response)
        headers = response.headers
        check_upgrade(headers)
        self._check_accept(headers)
        self.settle(headers)

    def _check_accept(self, headers: Headers) -> None:
        accept = require_header(headers, "Sec-WebSocket-Accept")
        if accept != accept_key(self.key):
            raise InvalidHeaderValue("Sec-WebSocket-Accept", accept)

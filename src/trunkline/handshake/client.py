"""The client's side of the opening handshake (RFC 6455 section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

from ..datastructures import Headers
from ..exceptions import (
    InvalidHeader,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidProtocol,
    InvalidStatus,
    NegotiationError,
    SecurityError,
    StatusLineTooLong,
)
from ..extensions.base import ClientExtensionFactory, Extension
from ..http11 import Request, Response
from ..typing import ExtensionParameter, Origin, Subprotocol
from ..uri import WebSocketURI
from .head import ResponseReader
from .headers import (
    build_authorization_basic,
    build_extension,
    build_host,
    build_subprotocol,
    parse_extension,
    parse_subprotocol,
    validate_subprotocols,
)
from .upgrade import accept_key, check_upgrade, generate_key, require_header

__all__ = ["ClientHandshake"]

# More would only serve to keep the client busy
_MAX_INTERIM_RESPONSES = 16


class ClientHandshake:
    """Builds a request and checks the answer.

    Args:
        uri: where to connect.
        origin: value of the Origin header, if any.
        extensions: factories of the extensions to offer, in order of preference.
        subprotocols: names of the subprotocols to offer, in order of preference.

    Raises:
        TypeError, ValueError: if ``subprotocols`` isn't a list of tokens.

    Attributes:
        uri: where to connect.
        origin: value of the Origin header, or None.
        available_extensions, available_subprotocols: as given.
        key: the Sec-WebSocket-Key, fresh for each handshake.
        remaining: what followed the response. It belongs to the session.
        subprotocol: the subprotocol agreed on, or None.
        extensions: the extensions agreed on, in order.
    """

    def __init__(
        self,
        uri: WebSocketURI,
        *,
        origin: Origin | None = None,
        extensions: Sequence[ClientExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
    ) -> None:
        if subprotocols is not None:
            validate_subprotocols(subprotocols)
        self.uri = uri
        self.origin = origin
        self.available_extensions = extensions
        self.available_subprotocols = subprotocols
        self._reader = ResponseReader()
        self._num_interim_responses = 0
        self.key = generate_key()
        self.remaining = b""
        self.subprotocol: Subprotocol | None = None
        self.extensions: list[Extension] = []

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
        headers["Sec-WebSocket-Version"] = "13"
        if self.available_extensions:
            headers["Sec-WebSocket-Extensions"] = build_extension(
                [(factory.name, list(factory.get_request_params())) for factory in self.available_extensions]
            )
        if self.available_subprotocols:
            headers["Sec-WebSocket-Protocol"] = build_subprotocol(self.available_subprotocols)
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
        self._process_extensions(headers)
        self.subprotocol = self._process_subprotocol(headers)

    def _check_accept(self, headers: Headers) -> None:
        accept = require_header(headers, "Sec-WebSocket-Accept")
        if accept != accept_key(self.key):
            raise InvalidHeaderValue("Sec-WebSocket-Accept", accept)

    def _process_extensions(self, headers: Headers) -> None:
        for header in headers.get_all("Sec-WebSocket-Extensions"):
            if not self.available_extensions:
                raise NegotiationError("no extensions supported")
            for name, params in parse_extension(header):
                self.extensions.append(self._process_answer(name, params))

    def _process_answer(self, name: str, params: list[ExtensionParameter]) -> Extension:
        for factory in self.available_extensions or ():
            if factory.name == name:
                try:
                    return factory.process_response_params(params, self.extensions)
                except NegotiationError:
                    continue
        raise NegotiationError(f"Unsupported extension: name = {name}, params = {params}")

    def _process_subprotocol(self, headers: Headers) -> Subprotocol | None:
        values = headers.get_all("Sec-WebSocket-Protocol")
        if not values:
            return None
        if not self.available_subprotocols:
            raise NegotiationError("no subprotocols supported")
        subprotocols = [subprotocol for value in values for subprotocol in parse_subprotocol(value)]
        if len(subprotocols) > 1:
            raise InvalidHeader("Sec-WebSocket-Protocol", f"multiple values: {', '.join(subprotocols)}")
        if subprotocols[0] not in self.available_subprotocols:
            raise NegotiationError(f"unsupported subprotocol: {subprotocols[0]}")
        return subprotocols[0]

"""The terms that both sides of a connection agree on: origin, extensions, subprotocol. Nothing here is HTTP/1.1.

So the same rules serve every carrier of a request. That may be HTTP/1.1, which server.py and client.py add, an extended
CONNECT of HTTP/2 (RFC 8441), or an application server that has read the request already.
"""

from __future__ import annotations

import http
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..datastructures import Headers
from ..exceptions import (
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidHeader,
    InvalidHeaderValue,
    InvalidMethod,
    InvalidOrigin,
    InvalidProtocol,
    InvalidUpgrade,
    NegotiationError,
    RequestLineTooLong,
    TooManyHeaders,
)
from ..extensions.base import ClientExtensionFactory, Extension, ServerExtensionFactory
from ..typing import ExtensionHeader, ExtensionParameter, Origin, Subprotocol
from .headers import (
    build_extension,
    build_subprotocol,
    get_header,
    parse_extension,
    parse_subprotocol,
    validate_subprotocols,
)
from .log import explain

__all__ = ["VERSION", "ClientNegotiation", "Refusal", "ServerNegotiation"]

VERSION = "13"  # RFC 6455 section 4.1

_BROWSER_HINT = "\nYou cannot access a WebSocket server directly with a browser. You need a WebSocket client.\n"


class ServerNegotiation:
    """The terms that a server accepts of those that a client offers.

    Args:
        origins: the origins that may connect: strings, patterns that match the whole header, and None for requests
            without Origin, which don't come from browsers. The default admits all.
        extensions: factories of the extensions to accept.
        subprotocols: names of the subprotocols to accept, in order of preference.
        select_subprotocol: chooses a subprotocol, instead of the first of ``subprotocols`` that the client offers. It
            gets the negotiation and the client's offers, and returns one of them or None, or raises
            :exc:`~trunkline.exceptions.NegotiationError`.

    Raises:
        TypeError, ValueError: if ``subprotocols`` isn't a list of tokens.

    Attributes:
        origins, available_extensions, available_subprotocols: as given.
        origin: the value of the Origin header, or None.
        subprotocol: the subprotocol agreed on, or None.
        extensions: the extensions agreed on, in order.
    """

    def __init__(
        self,
        *,
        origins: Sequence[Origin | re.Pattern[str] | None] | None = None,
        extensions: Sequence[ServerExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
        select_subprotocol: Callable[[Any, Sequence[Subprotocol]], Subprotocol | None] | None = None,
    ) -> None:
        if subprotocols is not None:
            validate_subprotocols(subprotocols)
        self.origins = origins
        self.available_extensions = extensions
        self.available_subprotocols = subprotocols
        self._select_subprotocol = select_subprotocol
        self.origin: Origin | None = None
        self.subprotocol: Subprotocol | None = None
        self.extensions: list[Extension] = []

    def negotiate(self, headers: Headers, answer: Headers) -> None:
        """Agree on the terms that a request asks for, and add the headers that say so to ``answer``.

        Raises:
            InvalidHandshake: if a term can't be accepted; :meth:`Refusal.of` answers it.
        """
        self.origin = self._process_origin(headers)
        extensions = self._process_extensions(headers)
        self.subprotocol = self._process_subprotocol(headers)
        if extensions:
            answer.set_insecure("Sec-WebSocket-Extensions", build_extension(extensions))
        if self.subprotocol is not None:
            answer.set_insecure("Sec-WebSocket-Protocol", self.subprotocol)

    def _process_origin(self, headers: Headers) -> Origin | None:
        """Return the origin if it may connect (RFC 6455 section 10.2)."""
        value = get_header(headers, "Origin")
        origin = None if value is None else Origin(value)
        if self.origins is not None and not _is_admitted(origin, self.origins):
            raise InvalidOrigin(origin)
        return origin

    def _process_extensions(self, headers: Headers) -> list[ExtensionHeader]:
        """Accept offers in the client's order; return the answers (RFC 6455 section 9.1)."""
        answers = []
        if self.available_extensions:
            for header in headers.get_all("Sec-WebSocket-Extensions"):
                for name, params in parse_extension(header):
                    answer = self._process_offer(name, params)
                    if answer is not None:
                        answers.append((name, answer))
        return answers

    def _process_offer(self, name: str, params: list[ExtensionParameter]) -> list[ExtensionParameter] | None:
        for factory in self.available_extensions or ():
            if factory.name == name:
                try:
                    answer, extension = factory.process_request_params(params, self.extensions)
                except NegotiationError:
                    continue
                self.extensions.append(extension)
                return answer
        return None

    def _process_subprotocol(self, headers: Headers) -> Subprotocol | None:
        """Choose one of the subprotocols that the client offers (RFC 6455 section 4.2.2, item 5)."""
        offers = [
            subprotocol
            for header in headers.get_all("Sec-WebSocket-Protocol")
            for subprotocol in parse_subprotocol(header)
        ]
        if self._select_subprotocol is None:
            return self.prefer_subprotocol(offers)
        subprotocol = self._select_subprotocol(self, offers)
        if subprotocol is not None and subprotocol not in offers:
            raise ValueError(f"select_subprotocol returned {subprotocol!r}; the client offered {offers!r}")
        return subprotocol

    def prefer_subprotocol(self, offers: Sequence[Subprotocol]) -> Subprotocol | None:
        """Choose the first of ``subprotocols`` that the client offers.

        Raises:
            NegotiationError: if it offers none of them.
        """
        available = self.available_subprotocols
        if not available:
            return None
        if not offers:
            raise NegotiationError("missing subprotocol")
        for subprotocol in available:
            if subprotocol in offers:
                return subprotocol
        raise NegotiationError(f"invalid subprotocol; expected one of {', '.join(available)}")


class ClientNegotiation:
    """The terms that a client offers, and whether the server's answer keeps to them.

    Args:
        origin: value of the Origin header, if any.
        extensions: factories of the extensions to offer, in order of preference.
        subprotocols: names of the subprotocols to offer, in order of preference.

    Raises:
        TypeError, ValueError: if ``subprotocols`` isn't a list of tokens.

    Attributes:
        origin: value of the Origin header, or None.
        available_extensions, available_subprotocols: as given.
        subprotocol: the subprotocol agreed on, or None.
        extensions: the extensions agreed on, in order.
    """

    def __init__(
        self,
        *,
        origin: Origin | None = None,
        extensions: Sequence[ClientExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
    ) -> None:
        if subprotocols is not None:
            validate_subprotocols(subprotocols)
        self.origin = origin
        self.available_extensions = extensions
        self.available_subprotocols = subprotocols
        self.subprotocol: Subprotocol | None = None
        self.extensions: list[Extension] = []

    def offer(self, headers: Headers) -> None:
        """Add the headers of the offer to a request.

        Raises:
            ValueError: if an extension's parameter isn't a token.
        """
        if self.available_extensions:
            headers["Sec-WebSocket-Extensions"] = build_extension(
                [(factory.name, list(factory.get_request_params())) for factory in self.available_extensions]
            )
        if self.available_subprotocols:
            headers["Sec-WebSocket-Protocol"] = build_subprotocol(self.available_subprotocols)

    def settle(self, headers: Headers) -> None:
        """Take the server's answer; set ``extensions`` and ``subprotocol``.

        Raises:
            InvalidHeader: if a header is malformed.
            NegotiationError: if the server chose an extension or a subprotocol that wasn't offered.
        """
        self._process_extensions(headers)
        self.subprotocol = self._process_subprotocol(headers)

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


class Refusal(NamedTuple):
    """How a server answers a request that it refuses.

    Attributes:
        status: the HTTP status.
        headers: names and values that the status asks for.
        text: a text that tells the client what is wrong.
    """

    status: http.HTTPStatus
    headers: dict[str, str]
    text: str

    @classmethod
    def of(cls, error: InvalidHandshake) -> Refusal:
        """The answer to something that is wrong with a request."""
        text = f"Failed to open a WebSocket connection: {explain(error)}.\n"
        if isinstance(error, InvalidUpgrade):
            text += _BROWSER_HINT
        return cls(*_status(error), text)


def _status(exception: InvalidHandshake) -> tuple[http.HTTPStatus, dict[str, str]]:
    """Return the status, and the headers that go with it, for what is wrong with a request."""
    match exception:
        case InvalidOrigin():
            return http.HTTPStatus.FORBIDDEN, {}
        case InvalidMethod():
            return http.HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET"}  # RFC 9110 section 15.5.6
        case RequestLineTooLong():
            return http.HTTPStatus.REQUEST_URI_TOO_LONG, {}
        case InvalidUpgrade():
            return http.HTTPStatus.UPGRADE_REQUIRED, {"Upgrade": "websocket", "Sec-WebSocket-Version": VERSION}
        case InvalidHeaderValue(name="Sec-WebSocket-Version"):  # RFC 6455 section 4.4
            return http.HTTPStatus.UPGRADE_REQUIRED, {"Upgrade": "websocket", "Sec-WebSocket-Version": VERSION}
        case HeaderLineTooLong() | TooManyHeaders():
            return http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, {}  # RFC 6585 section 5
        case InvalidProtocol():
            return http.HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, {}
        case _:
            return http.HTTPStatus.BAD_REQUEST, {}


def _is_admitted(origin: Origin | None, origins: Sequence[Origin | re.Pattern[str] | None]) -> bool:
    if origin is None:
        return None in origins
    normalized = _normalize_origin(origin)
    for admitted in origins:
        if isinstance(admitted, re.Pattern):
            if admitted.fullmatch(origin):
                return True
        elif admitted is not None and _normalize_origin(admitted) == normalized:
            return True
    return False


def _normalize_origin(origin: str) -> str:
    """Write equal origins equally: scheme and host ignore case, and a default port may be left out (RFC 6454)."""
    origin = origin.lower()
    scheme, _, rest = origin.partition("://")
    default_port = {"http": ":80", "https": ":443"}.get(scheme)
    return f"{scheme}://{rest.removesuffix(default_port)}" if default_port is not None else origin

"""The server's side of the opening handshake (RFC 6455 section 4.2)."""

from __future__ import annotations

import binascii
import email.utils
import functools
import http
import re
import time
from collections.abc import Callable, Sequence

from ..datastructures import Headers
from ..exceptions import (
    HeaderLineTooLong,
    InvalidHandshake,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidMethod,
    InvalidOrigin,
    InvalidProtocol,
    InvalidUpgrade,
    NegotiationError,
    RequestLineTooLong,
    TooManyHeaders,
)
from ..extensions.base import Extension, ServerExtensionFactory
from ..http11 import Request, Response
from ..typing import ExtensionHeader, ExtensionParameter, Origin, StatusLike, Subprotocol
from .head import RequestReader
from .headers import (
    build_extension,
    parse_extension,
    parse_subprotocol,
    validate_subprotocols,
)
from .log import explain
from .upgrade import accept_key, check_upgrade, get_header, require_header

__all__ = ["ServerHandshake"]

_VERSION = "13"  # RFC 6455 section 4.1

_BROWSER_HINT = "\nYou cannot access a WebSocket server directly with a browser. You need a WebSocket client.\n"


class ServerHandshake:
    """Reads a request and answers it.

    Args:
        origins: the origins that may connect: strings, patterns that match the whole header, and None for requests
            without Origin, which don't come from browsers. The default admits all.
        extensions: factories of the extensions to accept.
        subprotocols: names of the subprotocols to accept, in order of preference.
        select_subprotocol: chooses a subprotocol, instead of the first of ``subprotocols`` that the client offers. It
            gets the handshake and the client's offers, and returns one of them or None, or raises
            :exc:`~trunkline.exceptions.NegotiationError`.

    Raises:
        TypeError, ValueError: if ``subprotocols`` isn't a list of tokens.

    Attributes:
        origins, available_extensions, available_subprotocols: as given.
        accept_called: whether a request got as far as :meth:`accept`.
        head: the bytes of the request.
        remaining: what followed the request. It belongs to the session.
        exception: why the request was refused, or None. What isn't an InvalidHandshake is a fault of the program.
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
        select_subprotocol: Callable[[ServerHandshake, Sequence[Subprotocol]], Subprotocol | None] | None = None,
    ) -> None:
        if subprotocols is not None:
            validate_subprotocols(subprotocols)
        self.origins = origins
        self.available_extensions = extensions
        self.available_subprotocols = subprotocols
        self._select_subprotocol = select_subprotocol
        self._reader: RequestReader | None = RequestReader()
        self._head_only = False
        self.accept_called = False
        self.head = b""
        self.remaining = b""
        self.exception: Exception | None = None
        self.origin: Origin | None = None
        self.subprotocol: Subprotocol | None = None
        self.extensions: list[Extension] = []

    def receive_data(self, data: bytes) -> Request | None:
        """Return the request once it is complete, else None; what comes after that is added to ``remaining``.

        Raises:
            InvalidHandshake: if the bytes aren't a request, or a limit is exceeded. Answer with :meth:`refuse`.
        """
        if self._reader is None:
            self.remaining += data
            return None
        try:
            request = self._reader.receive_data(data)
        finally:
            self._head_only = self._reader.asks_for_head()
        if request is None:
            return None
        self.head, self.remaining = self._reader.head, self._reader.remaining
        self._reader = None
        # RFC 6455 section 5.1: the second byte of a client's frame has the mask bit set. Text hasn't.
        if len(self.remaining) > 1 and not self.remaining[1] & 0x80:
            cause = ValueError("data that isn't a frame follows it")
            raise InvalidMessage("did not receive a valid HTTP request") from cause
        return request

    def receive_eof(self) -> None:
        """Take note that no more bytes come.

        Raises:
            InvalidMessage: caused by :exc:`EOFError`, if the request is incomplete.
        """
        if self._reader is not None:
            self._reader.receive_eof()

    def accept(self, request: Request) -> Response:
        """Answer a request: 101 if it is in order, else the refusal that tells what isn't.

        Never raises; read ``exception``, ``origin``, ``subprotocol`` and ``extensions`` after it. Add headers such as
        Server to the response before sending it.
        """
        self.accept_called = True
        self._head_only = request.method == "HEAD"
        try:
            headers = self._process_request(request)
        except InvalidHandshake as exc:
            return self.refuse(exc)
        except Exception as exc:
            # select_subprotocol or an extension is at fault, not the client
            self.exception = exc
            return self.reject(
                http.HTTPStatus.INTERNAL_SERVER_ERROR,
                "Failed to open a WebSocket connection.\nSee server log for more information.\n",
            )
        return Response(101, "Switching Protocols", headers)

    def refuse(self, exception: InvalidHandshake) -> Response:
        """Return the response that tells the client what is wrong with its request; set ``exception``.

        Args:
            exception: what :meth:`receive_data` raised.
        """
        self.exception = exception
        status, headers = _refusal(exception)
        text = f"Failed to open a WebSocket connection: {explain(exception)}.\n"
        if isinstance(exception, InvalidUpgrade):
            text += _BROWSER_HINT
        response = self.reject(status, text)
        response.headers.update(headers)
        if self._head_only and isinstance(exception, InvalidMethod):
            del response.headers["Content-Length"]  # RFC 9110 section 8.6: GET has another answer
        return response

    def reject(self, status: StatusLike, text: str) -> Response:
        """Return a response that refuses the request.

        Args:
            status: an HTTP status that isn't 101.
            text: the body.

        Raises:
            ValueError: if the status isn't registered (:class:`http.HTTPStatus`).
        """
        status = http.HTTPStatus(status)
        body = text.encode()
        headers = Headers()
        headers.set_insecure("Date", _date(int(time.time())))
        headers.set_insecure("Connection", "close")
        headers.set_insecure("Content-Length", str(len(body)))
        headers.set_insecure("Content-Type", "text/plain; charset=utf-8")
        return Response(status.value, status.phrase, headers, body)

    def serialize(self, response: Response) -> bytes:
        """Return a response as it goes on the wire; without its body, if the client asked for the head alone.

        Raises:
            TypeError, ValueError: if it can't be sent.
        """
        return response.serialize(head_only=self._head_only)  # RFC 9110 section 9.3.2

    def _process_request(self, request: Request) -> Headers:
        """Check a request (RFC 6455 section 4.2.1), and return the headers of the answer (section 4.2.2)."""
        _check_request_line(request)
        headers = request.headers
        check_upgrade(headers)
        key = _check_key(headers)
        _check_version(headers)
        require_header(headers, "Host")  # RFC 9112 section 3.2: exactly one
        self.origin = self._process_origin(headers)
        extensions = self._process_extensions(headers)
        self.subprotocol = self._process_subprotocol(headers)

        answer = Headers()
        answer.set_insecure("Date", _date(int(time.time())))
        answer.set_insecure("Upgrade", "websocket")
        answer.set_insecure("Connection", "Upgrade")
        answer.set_insecure("Sec-WebSocket-Accept", accept_key(key))
        if extensions:
            answer.set_insecure("Sec-WebSocket-Extensions", build_extension(extensions))
        if self.subprotocol is not None:
            answer.set_insecure("Sec-WebSocket-Protocol", self.subprotocol)
        return answer

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


@functools.lru_cache(maxsize=1)
def _date(seconds: int) -> str:
    """Value of a Date header (RFC 9110 section 5.6.7)."""
    return email.utils.formatdate(seconds, usegmt=True)


def _check_request_line(request: Request) -> None:
    """RFC 6455 section 4.2.1, item 1: "An HTTP/1.1 or higher GET request"; HTTP/2 has another handshake."""
    if request.method != "GET":
        raise InvalidMethod(request.method)
    if request.protocol == "HTTP/1.0" or not request.protocol.startswith("HTTP/1."):
        raise InvalidProtocol(request.protocol)


def _check_version(headers: Headers) -> None:
    """RFC 6455 section 4.2.1, item 6."""
    version = require_header(headers, "Sec-WebSocket-Version")
    if version != _VERSION:
        raise InvalidHeaderValue("Sec-WebSocket-Version", version)


def _check_key(headers: Headers) -> str:
    """RFC 6455 section 4.2.1, item 5: 16 bytes in base64."""
    key = require_header(headers, "Sec-WebSocket-Key")
    try:
        nonce = binascii.a2b_base64(key, strict_mode=True)
    except ValueError as exc:  # binascii.Error is one; characters outside ASCII raise it as such
        raise InvalidHeaderValue("Sec-WebSocket-Key", key) from exc
    if len(nonce) != 16:
        raise InvalidHeaderValue("Sec-WebSocket-Key", key)
    return key


def _refusal(exception: InvalidHandshake) -> tuple[http.HTTPStatus, dict[str, str]]:
    """Return the status, and the headers that go with it, for what is wrong with a request."""
    match exception:
        case InvalidOrigin():
            return http.HTTPStatus.FORBIDDEN, {}
        case InvalidMethod():
            return http.HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET"}  # RFC 9110 section 15.5.6
        case RequestLineTooLong():
            return http.HTTPStatus.REQUEST_URI_TOO_LONG, {}
        case InvalidUpgrade():
            return http.HTTPStatus.UPGRADE_REQUIRED, {"Upgrade": "websocket", "Sec-WebSocket-Version": _VERSION}
        case InvalidHeaderValue(name="Sec-WebSocket-Version"):  # RFC 6455 section 4.4
            return http.HTTPStatus.UPGRADE_REQUIRED, {"Upgrade": "websocket", "Sec-WebSocket-Version": _VERSION}
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

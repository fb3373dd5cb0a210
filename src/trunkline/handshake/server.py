"""The server's side of the opening handshake (RFC 6455 section 4.2)."""

from __future__ import annotations

import binascii
import email.utils
import functools
import http
import time
from typing import Any

from ..datastructures import Headers
from ..exceptions import (
    InvalidHandshake,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidMethod,
    InvalidProtocol,
)
from ..http11 import Request, Response
from ..typing import StatusLike
from .head import RequestReader
from .headers import require_header
from .negotiation import VERSION, Refusal, ServerNegotiation
from .upgrade import accept_key, check_upgrade

__all__ = ["ServerHandshake", "http_date", "text_response"]


class ServerHandshake(ServerNegotiation):
    """Reads a request in HTTP/1.1 and answers it. The arguments are those of `ServerNegotiation`.

    Attributes:
        accept_called: whether a request got as far as :meth:`accept`.
        head: the bytes of the request.
        remaining: what followed the request. It belongs to the session.
        exception: why the request was refused, or None. If it is no InvalidHandshake, the program is at fault.
    """

    def __init__(self, **terms: Any) -> None:
        super().__init__(**terms)
        self._reader: RequestReader | None = RequestReader()
        self._head_only = False
        self.accept_called = False
        self.head = b""
        self.remaining = b""
        self.exception: Exception | None = None

    def receive_data(self, data: bytes) -> Request | None:
        """Return the request once it is complete, else None; later bytes are added to ``remaining``.

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
        status, headers, text = Refusal.of(exception)
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
        return text_response(status, text)

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
        answer = Headers()
        answer.set_insecure("Date", http_date(int(time.time())))
        answer.set_insecure("Upgrade", "websocket")
        answer.set_insecure("Connection", "Upgrade")
        answer.set_insecure("Sec-WebSocket-Accept", accept_key(key))
        self.negotiate(headers, answer)
        return answer


def text_response(status: StatusLike, text: str) -> Response:
    """Return a response in plain text, after which the connection ends.

    Raises:
        ValueError: if the status isn't registered (:class:`http.HTTPStatus`).
    """
    status = http.HTTPStatus(status)
    body = text.encode()
    headers = Headers()
    headers.set_insecure("Date", http_date(int(time.time())))
    headers.set_insecure("Connection", "close")
    headers.set_insecure("Content-Length", str(len(body)))
    headers.set_insecure("Content-Type", "text/plain; charset=utf-8")
    return Response(status.value, status.phrase, headers, body)


@functools.lru_cache(maxsize=1)
def http_date(seconds: int) -> str:
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
    if version != VERSION:
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

"""HTTP/1.1 requests and responses as values (RFC 9112)."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Callable, Generator
from typing import Self

from .datastructures import Headers
from .exceptions import (
    HeaderLineTooLong,
    InvalidMethod,
    RequestLineTooLong,
    SecurityError,
    StatusLineTooLong,
    TooManyHeaders,
)
from .version import __version__

__all__ = ["SERVER", "USER_AGENT", "Request", "Response"]

_PRODUCT = f"Python/{sys.version_info.major}.{sys.version_info.minor} trunkline/{__version__}"

USER_AGENT = os.environ.get("WEBSOCKETS_USER_AGENT", _PRODUCT)
"""Value of the User-Agent header."""

SERVER = os.environ.get("WEBSOCKETS_SERVER", _PRODUCT)
"""Value of the Server header."""

MAX_NUM_HEADERS = int(os.environ.get("WEBSOCKETS_MAX_NUM_HEADERS", "128"))
"""Number of header lines that a request or a response may have."""

MAX_LINE_LENGTH = int(os.environ.get("WEBSOCKETS_MAX_LINE_LENGTH", "8192"))
"""Length of a line of a request or a response, in bytes, without CRLF."""

MAX_BODY_SIZE = int(os.environ.get("WEBSOCKETS_MAX_BODY_SIZE", str(2**20)))
"""Size of the body of a response, in bytes."""

ReadLine = Callable[[int, type[Exception]], Generator[None, None, bytes | bytearray]]
"""Generator-based coroutine that reads a line of at most so many bytes: `StreamReader.read_line`."""

ReadExact = Callable[[int], Generator[None, None, bytes | bytearray]]
"""Generator-based coroutine that reads so many bytes: `StreamReader.read_exact`."""

_is_method = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++").fullmatch  # RFC 9110 section 9.1: a token
_is_target = re.compile(r"[!-~]++").fullmatch  # RFC 9112 section 3.2: no whitespace
_is_reason_phrase = re.compile(r"[\t -~\x80-\xff]*+").fullmatch  # RFC 9112 section 4
_is_header_value = re.compile(r"[\t -~\x80-\xff]*+").fullmatch  # RFC 9110 section 5.5
_is_http_1 = re.compile(r"HTTP/1\.[0-9]").fullmatch  # RFC 9110 section 2.5: a later HTTP/1 is treated as HTTP/1.1
_is_status_code = re.compile(r"[0-9]++").fullmatch
is_content_length = re.compile(r"[0-9]{1,18}+").fullmatch  # RFC 9110 section 8.6
_is_chunk_size = re.compile(r"[0-9A-Fa-f]{1,15}+").fullmatch  # RFC 9112 section 7.1


class Message:
    """The parts that requests and responses have in common."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "headers" and not isinstance(value, Headers):
            value = Headers(value)  # type: ignore[arg-type]  # it raises what is to be raised
        super().__setattr__(name, value)


@dataclasses.dataclass
class Request(Message):
    """An HTTP request without a body.

    Args:
        path: the request target, a path with its query.
        headers: the headers; another value than `Headers` is made them.
        method: the method.
        protocol: the protocol's name and version.
    """

    path: str
    headers: Headers
    method: str = "GET"
    protocol: str = "HTTP/1.1"

    @classmethod
    def parse(cls, read_line: ReadLine) -> Generator[None, None, Self]:
        """Read a request from a stream.

        It is for programs that bring a parser of their own; trunkline's servers read with `trunkline.handshake.head`.

        Args:
            read_line: see `StreamReader.read_line`.

        Raises:
            EOFError: if the stream ends inside the request.
            SecurityError: if a limit is exceeded.
            InvalidMethod: if the method isn't a token.
            ValueError: if it isn't a request, or has a body.
            NotImplementedError: if it has a transfer coding.
        """
        try:
            line = _decode((yield from parse_line(read_line, RequestLineTooLong)))
            if not line:  # RFC 9112 section 2.2: a server should ignore an empty line before the request
                line = _decode((yield from parse_line(read_line, RequestLineTooLong)))
        except EOFError as error:
            raise EOFError("connection closed while reading HTTP request line") from error
        method, _, rest = line.partition(" ")
        path, _, protocol = rest.partition(" ")
        if not protocol:
            raise ValueError(f"invalid HTTP request line: {line}")
        if not _is_http_1(protocol):
            raise ValueError(f"unsupported protocol; expected HTTP/1.1 or HTTP/1.0: {line}")
        if not _is_method(method):
            raise InvalidMethod(method)
        if not _is_target(path):
            raise ValueError(f"invalid HTTP request target: {path}")
        headers = yield from parse_headers(read_line)
        if "Transfer-Encoding" in headers:
            raise NotImplementedError("transfer codings aren't supported")
        if any(length != "0" for length in headers.get_all("Content-Length")):
            raise ValueError("unsupported request body")
        return cls(path, headers, method, protocol)

    def serialize(self) -> bytes:
        """Return the request as it goes on the wire.

        Raises:
            ValueError: if the method or the path would break the request line.
        """
        if not _is_method(self.method):
            raise ValueError(f"invalid method {self.method!r}: use a token such as GET")
        if not _is_target(self.path):
            raise ValueError(f"invalid path {self.path!r}: percent-encode all but visible ASCII characters")
        return f"{self.method} {self.path} {self.protocol}\r\n".encode("ascii") + self.headers.serialize()


@dataclasses.dataclass
class Response(Message):
    """An HTTP response.

    Args:
        status_code: the status, for example 101.
        reason_phrase: the status in words.
        headers: the headers; another value than `Headers` is made them.
        body: the body.
    """

    status_code: int
    reason_phrase: str
    headers: Headers
    body: bytes | bytearray = b""

    @classmethod
    def parse(
        cls, read_line: ReadLine, read_exact: ReadExact, read_to_eof: ReadLine, proxy: bool = False
    ) -> Generator[None, None, Self]:
        """Read a response from a stream, with its body.

        It is for programs that bring a parser of their own; trunkline's clients read with `trunkline.handshake.head`.

        Args:
            read_line: see `StreamReader`.
            read_exact: the same.
            read_to_eof: the same.
            proxy: whether it is a proxy's answer to CONNECT, which may be in HTTP/1.0, and has no body if successful.

        Raises:
            EOFError: if the stream ends inside the response.
            SecurityError: if a limit is exceeded.
            ValueError: if it isn't a response.
            MultipleValuesError: if Content-Length is repeated.
            NotImplementedError: if it has a transfer coding other than chunked.
        """
        try:
            line = _decode((yield from parse_line(read_line, StatusLineTooLong)))
        except EOFError as error:
            raise EOFError("connection closed while reading HTTP status line") from error
        protocol, _, rest = line.partition(" ")
        status, space, reason_phrase = rest.partition(" ")
        if not space:
            raise ValueError(f"invalid HTTP status line: {line}")
        if protocol != "HTTP/1.1" and not (proxy and protocol == "HTTP/1.0"):
            raise ValueError(f"unsupported protocol; expected HTTP/1.1{' or HTTP/1.0' * proxy}: {line}")
        if not _is_status_code(status):
            raise ValueError(f"invalid status code; expected integer; got {status}")
        if not 100 <= int(status[:9]) < 600:
            raise ValueError(f"invalid status code; expected 100–599; got {status}")
        if not _is_reason_phrase(reason_phrase):
            raise ValueError(f"invalid HTTP reason phrase: {reason_phrase}")
        headers = yield from parse_headers(read_line)
        body: bytes | bytearray = b""
        if not (proxy and status.startswith("2")):  # RFC 9110 section 9.3.6
            body = yield from read_body(int(status), headers, read_line, read_exact, read_to_eof)
        return cls(int(status), reason_phrase, headers, body)

    def serialize(self, *, head_only: bool = False) -> bytes:
        """Return the response as it goes on the wire.

        Args:
            head_only: whether to leave the body out, as for an answer to HEAD (RFC 9110 section 9.3.2).

        Raises:
            TypeError: if the body isn't bytes.
            ValueError: if the status has not three digits, or the reason phrase would break the status line.
        """
        if not 100 <= self.status_code <= 999:
            raise ValueError(f"invalid status code {self.status_code!r}: use one of http.HTTPStatus")
        if not _is_reason_phrase(self.reason_phrase):
            raise ValueError(f"invalid reason phrase {self.reason_phrase!r}: use printable ISO-8859-1 characters")
        if not isinstance(self.body, bytes | bytearray | memoryview):
            raise TypeError(f"the body of a response must be bytes, and it is {type(self.body).__name__}: encode it")
        head = f"HTTP/1.1 {self.status_code:d} {self.reason_phrase}\r\n{self.headers}".encode("iso-8859-1")
        return head if head_only else head + self.body


def parse_line(
    read_line: ReadLine, too_long_exc_type: type[Exception] = SecurityError
) -> Generator[None, None, bytes | bytearray]:
    """Read a line; it is returned without the CRLF that ends it.

    Raises:
        EOFError: if the stream ends before, or the line ends without CR.
        SecurityError: of the type given, if it is longer than `MAX_LINE_LENGTH` bytes.
    """
    line = yield from read_line(MAX_LINE_LENGTH, too_long_exc_type)
    if not line.endswith(b"\r\n"):
        raise EOFError("line without CRLF")
    return line[:-2]


def parse_headers(read_line: ReadLine) -> Generator[None, None, Headers]:
    """Read headers, and the empty line behind them (RFC 9112 section 5).

    Raises:
        EOFError: if the stream ends before.
        SecurityError: if there are more than `MAX_NUM_HEADERS`, or a line is longer than `MAX_LINE_LENGTH` bytes.
        ValueError: if a line isn't a header.
    """
    headers = Headers()
    for _ in range(MAX_NUM_HEADERS + 1):
        try:
            line = _decode((yield from parse_line(read_line, HeaderLineTooLong)))
        except EOFError as error:
            raise EOFError("connection closed while reading HTTP headers") from error
        if not line:
            return headers
        name, colon, value = line.partition(":")
        value = value.strip(" \t")
        if not colon:
            raise ValueError(f"invalid HTTP header line: {line}")
        if not _is_method(name):  # a token, too
            raise ValueError(f"invalid HTTP header name: {name}")
        if not _is_header_value(value):
            raise ValueError(f"invalid HTTP header value: {value}")
        headers.set_insecure(name, value)
    raise TooManyHeaders(f"expected no more than {MAX_NUM_HEADERS} headers")


def read_body(
    status_code: int, headers: Headers, read_line: ReadLine, read_exact: ReadExact, read_to_eof: ReadLine
) -> Generator[None, None, bytes | bytearray]:
    """Read the body of a response (RFC 9112 section 6.3).

    Raises:
        EOFError: if the stream ends before.
        MultipleValuesError: if Content-Length is repeated.
        SecurityError: if it is larger than `MAX_BODY_SIZE` bytes, or its size isn't clear.
        NotImplementedError: if it has a transfer coding other than chunked.
    """
    if status_code < 200 or status_code in (204, 304):
        return b""
    coding = headers.get("Transfer-Encoding")
    if coding is not None:
        if coding.lower() != "chunked":
            raise NotImplementedError(f"transfer coding {coding} isn't supported")
        return (yield from _read_chunks(read_line, read_exact))
    length = headers.get("Content-Length")
    if length is None:
        return (yield from read_to_eof(MAX_BODY_SIZE, SecurityError))
    if not is_content_length(length):
        raise SecurityError(f"invalid content length: {length}")
    if int(length) > MAX_BODY_SIZE:
        raise SecurityError(f"body too large: {length} bytes")
    return (yield from read_exact(int(length)))


def _read_chunks(read_line: ReadLine, read_exact: ReadExact) -> Generator[None, None, bytes]:
    """RFC 9112 section 7.1; trailers are read, and dropped."""
    body = bytearray()
    while True:
        line = _decode((yield from parse_line(read_line)))
        size = line.partition(";")[0].rstrip(" \t")
        if not _is_chunk_size(size):
            raise SecurityError(f"invalid chunk size: {size}")
        if int(size, 16) == 0:
            yield from parse_headers(read_line)
            return bytes(body)
        if len(body) + int(size, 16) > MAX_BODY_SIZE:
            raise SecurityError(f"chunk too large: {int(size, 16)} bytes after {len(body)} bytes")
        body += yield from read_exact(int(size, 16))
        if (yield from read_exact(2)) != b"\r\n":
            raise ValueError("chunk without CRLF")


def _decode(line: bytes | bytearray) -> str:
    return line.decode("iso-8859-1")

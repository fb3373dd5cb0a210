"""Bytes of HTTP/1.1 in, requests and responses out: their heads, and the body of a refusal (RFC 9112).

llhttp, through httptools, parses the messages. It forgives more than a handshake should, and what one parser forgives
another reads differently, so that a proxy and a server disagree on where a request ends. Therefore the head of a
message is checked first: lines of printable characters, each ended by CRLF, none folded, limited in length and number.
The check is linear in the bytes, however they are split, and its result doesn't depend on the split.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import NoReturn

import httptools

from ..datastructures import Headers
from ..exceptions import (
    HeaderLineTooLong,
    InvalidMessage,
    InvalidMethod,
    InvalidProtocol,
    RequestLineTooLong,
    SecurityError,
    StatusLineTooLong,
    TooManyHeaders,
)
from ..http11 import MAX_BODY_SIZE, MAX_LINE_LENGTH, MAX_NUM_HEADERS, Request, Response
from ..streams import StreamReader

__all__ = ["RequestReader", "ResponseReader", "request_of", "response_of"]

# A whole line, not empty, and not one that continues the line before (obs-fold, RFC 9112 section 5.2)
_line = rb"(?:[!-~\x80-\xff][\t -~\x80-\xff]{0,%d}+\r\n)" % (MAX_LINE_LENGTH - 1)
_lines = re.compile(_line + rb"*+")
_whole_head = re.compile(_line + rb"{1,%d}+\r\n" % (1 + MAX_NUM_HEADERS))
_printable = re.compile(rb"[\t -~\x80-\xff]*+")

# RFC 9112 section 3; the target is in origin form
_request_line = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++ /[!-~]*+ HTTP/\d\.\d\r\n")
# RFC 9112 section 4, RFC 9110 section 15; servers leave out the last space
_status_line = re.compile(rb"(HTTP/1\.[01]) ([1-5]\d\d)(?: ([\t -~\x80-\xff]*+))?+\r\n")


LONGEST_FAULT = 200  # characters of what is said to be wrong


class _Head:
    """Collects the head of a message: its first line, header lines, and the empty line that ends it.

    Args:
        kind: ``"request"`` or ``"response"``.
        first_line: ``"request line"`` or ``"status line"``.
        pattern: what it looks like. What speaks another protocol is told so at once: it may wait for us to speak next.
        first_line_too_long: what to raise if it is.
    """

    def __init__(
        self, kind: str, first_line: str, pattern: re.Pattern[bytes], first_line_too_long: type[SecurityError]
    ) -> None:
        self._kind = kind
        self._first_line = first_line
        self._pattern = pattern
        self._first_line_too_long = first_line_too_long
        self._buffer = bytearray()
        self._num_lines = 0
        self._line_start = 0  # where the first line that isn't checked yet starts
        self._searched = 0  # what follows contains printable characters up to here

    def receive_data(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Return the head and what follows it once the head is complete, else None.

        Raises:
            InvalidMessage: if the bytes aren't a head.
            SecurityError: if a limit is exceeded.
        """
        if not self._buffer and (whole := _whole_head.match(data)) and self._pattern.match(data):  # almost always
            return whole[0], data[whole.end() :]
        self._buffer += data
        if b"\n" in data:
            self._check_lines()
            if self._buffer.startswith(b"\r\n", self._line_start):
                return self._split()
        self._check_unfinished_line()
        return None

    def _check_lines(self) -> None:
        end = _end(_lines, self._buffer, self._line_start)
        if self._line_start == 0 and (end > 0 or self._buffer.startswith(b"\r\n")):
            self._check_first_line()
        self._num_lines += self._buffer.count(b"\n", self._line_start, end)
        self._line_start = self._searched = end
        if self._num_lines > 1 + MAX_NUM_HEADERS:
            raise TooManyHeaders(f"expected no more than {MAX_NUM_HEADERS} headers")

    def _check_first_line(self) -> None:
        if not self._pattern.match(self._buffer):
            line = bytes(self._buffer[: min(self._buffer.index(b"\r"), 80)]).decode("iso-8859-1")
            raise self.invalid(f"the {self._first_line} is {line!r}", self._first_line_and(b""))

    def _check_unfinished_line(self) -> None:
        buffer, start = self._buffer, self._line_start
        if buffer.startswith((b" ", b"\t"), start):
            raise self.invalid("a line starts with whitespace")
        end = self._searched = _end(_printable, buffer, self._searched)
        if end - start > MAX_LINE_LENGTH:
            too_long = HeaderLineTooLong if self._num_lines else self._first_line_too_long
            raise too_long(f"line longer than {MAX_LINE_LENGTH} bytes")
        if bytes(buffer[end : end + 2]) not in (b"", b"\r"):
            detail = f"a line contains the control character {bytes(buffer[end : end + 1])!r}"
            raise self.invalid(detail, self._first_line_and(buffer[start : end + 1] + b"\r\n"))

    def _split(self) -> tuple[bytes, bytes]:
        end = self._line_start + 2
        return bytes(self._buffer[:end]), bytes(self._buffer[end:])

    def _first_line_and(self, line: bytes | bytearray) -> bytes:
        """Return a head of two lines at most, which doesn't depend on how much has come so far."""
        first_line = self._buffer[: self._buffer.index(b"\n") + 1] if self._line_start or not line else b""
        return bytes(first_line + line + b"\r\n")

    def invalid(self, detail: str, head: bytes = b"") -> InvalidMessage:
        """Return the exception for bytes that aren't a message; what is wrong with them is its cause.

        Args:
            detail: what is wrong.
            head: what the parsers of `http11` may find it in, too: they say it as websockets does.
        """
        error = InvalidMessage(f"did not receive a valid HTTP {self._kind}")
        error.__cause__ = _find_fault(self._kind, head) or ValueError(detail)
        return error

    def raise_incomplete(self, part: str | None = None) -> NoReturn:
        """Raise the exception for a message cut short, in the head unless ``part`` says where."""
        part = part or ("headers" if self._num_lines else self._first_line)
        cause = EOFError(f"connection closed while reading HTTP {part}")
        if part != "body":
            came = len(self._buffer) - self._line_start
            cause.__cause__ = EOFError(f"stream ends after {came} bytes, before end of line")
        raise InvalidMessage(f"did not receive a valid HTTP {self._kind}") from cause


class RequestReader:
    """Reads one request, which has no body; ``head`` holds its bytes then."""

    def __init__(self) -> None:
        self._head = _Head("request", "request line", _request_line, RequestLineTooLong)
        self.head = b""
        self.remaining = b""

    def receive_data(self, data: bytes) -> Request | None:
        """Return the request once it is complete, else None; ``remaining`` holds what follows it.

        Raises:
            InvalidMessage: if the bytes aren't a request in origin form, or it has a body.
            InvalidMethod: if the method is unknown.
            InvalidProtocol: if the version is unknown.
            SecurityError: if a limit is exceeded.
        """
        parts = self._head.receive_data(data)
        if parts is None:
            return None
        self.head, self.remaining = parts
        return self._parse(self.head)

    def receive_eof(self) -> NoReturn:
        """Take note that no more bytes come, before the request was complete.

        Raises:
            InvalidMessage: always, caused by :exc:`EOFError`.
        """
        self._head.raise_incomplete()

    def _parse(self, head: bytes) -> Request:
        request = request_of(head)
        try:
            httptools.HttpRequestParser(None).feed_data(head)
        except httptools.HttpParserUpgrade:
            pass  # how httptools says that what follows the head isn't HTTP
        except httptools.HttpParserInvalidMethodError as exc:
            raise InvalidMethod(request.method) from exc
        except httptools.HttpParserError as exc:
            if request.protocol not in ("HTTP/1.0", "HTTP/1.1"):
                raise InvalidProtocol(request.protocol) from exc
            raise self._head.invalid(str(exc), head)  # noqa: B904  # it has a better cause
        if _has_body(request.headers):
            raise self._head.invalid("unsupported request body", head)
        return request


class ResponseReader:
    """Reads one response, with its body.

    ``remaining`` holds what follows a response with status 1xx; ``protocol`` is the version in the status line.

    Args:
        head_only: whether the head is all that is read: a successful answer to CONNECT has no body, whatever its
            headers say (RFC 9110 section 9.3.6).
    """

    def __init__(self, *, head_only: bool = False) -> None:
        self._head_only = head_only
        self._head = _Head("response", "status line", _status_line, StatusLineTooLong)
        self._fields = _Fields()
        self._parser = httptools.HttpResponseParser(self._fields)
        self._response: Response | None = None  # waiting for its body
        self.remaining = b""
        self.protocol = ""

    def receive_data(self, data: bytes) -> Response | None:
        """Return the response once it is complete, else None.

        Raises:
            InvalidMessage: if the bytes aren't a response.
            SecurityError: if a limit is exceeded.
        """
        if self._response is not None:
            return self._receive_body(self._response, data)
        parts = self._head.receive_data(data)
        if parts is None:
            return None
        head, rest = parts
        response = self._parse(head)
        if self._head_only:
            self.remaining = rest
            return response
        if response.status_code < 200:  # RFC 9110 section 15.2: no body
            if _has_body(response.headers):
                raise self._head.invalid(f"it has a body, and the status {response.status_code}", head)
            self.remaining = rest
            return response
        for length in response.headers.get_all("Content-Length"):
            if response.status_code not in (204, 304) and length.isdecimal() and int(length) > MAX_BODY_SIZE:
                raise SecurityError(f"body too large: {length} bytes")
        self._response = response
        return self._receive_body(response, rest)

    def receive_eof(self) -> Response:
        """Return the response if its body lasts until the connection closes (RFC 9112 section 6.3).

        Raises:
            InvalidMessage: caused by :exc:`EOFError`, if the response is incomplete.
        """
        if self._response is None:
            self._head.raise_incomplete()
        if _is_delimited(self._response.headers):
            self._head.raise_incomplete("body")
        return self._complete(self._response)

    def _parse(self, head: bytes) -> Response:
        match = _status_line.match(head)
        assert match is not None, "the reader of the head has checked its first line"
        self.protocol = match[1].decode("ascii")
        self._feed(head, head)
        reason_phrase = (match[3] or b"").decode("iso-8859-1")
        return Response(int(match[2]), reason_phrase, self._fields.headers)

    def _receive_body(self, response: Response, data: bytes) -> Response | None:
        self._feed(data)
        if self._fields.body_size > MAX_BODY_SIZE:
            raise SecurityError(f"body too large: over {MAX_BODY_SIZE} bytes")
        return self._complete(response) if self._fields.complete else None

    def _feed(self, data: bytes, head: bytes = b"") -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # how httptools says that what follows the head isn't HTTP
        except httptools.HttpParserError as exc:
            if not self._fields.complete:  # what follows a complete response doesn't matter
                raise self._head.invalid(str(exc), head)  # noqa: B904  # it has a better cause

    def _complete(self, response: Response) -> Response:
        response.body = b"".join(self._fields.body)
        return response


def request_of(head: bytes) -> Request:
    """Return the request of which ``head`` is the serialization; httptools has found it valid, or is about to."""
    line, headers = _take_apart(head)
    method, path, protocol = line.split(" ")
    return Request(path, headers, method, protocol)


def response_of(head: bytes) -> Response:
    """Return the response of which ``head`` is the serialization; it has no body."""
    line, headers = _take_apart(head)
    _, status, reason_phrase = line.split(" ", 2)
    return Response(int(status), reason_phrase, headers)


def _take_apart(head: bytes) -> tuple[str, Headers]:
    line, *fields = head.decode("iso-8859-1").removesuffix("\r\n\r\n").split("\r\n")
    headers = Headers()
    for field in fields:
        name, _, value = field.partition(":")
        headers.set_insecure(name, value.strip(" \t"))
    return line, headers


class _Fields:
    """What httptools calls back with, of a response."""

    def __init__(self) -> None:
        self.headers = Headers()
        self.body: list[bytes] = []
        self.body_size = 0
        self.complete = False
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # fields after the body are trailers, of no use here
            self.headers.set_insecure(name.decode("ascii"), value.decode("iso-8859-1").rstrip(" \t"))

    def on_headers_complete(self) -> None:
        self._in_head = False

    def on_body(self, body: bytes) -> None:
        self.body_size += len(body)
        if self.body_size <= MAX_BODY_SIZE:
            self.body.append(body)

    def on_message_complete(self) -> None:
        self.complete = True


def _find_fault(kind: str, head: bytes | bytearray) -> Exception | None:
    """Return what the parsers of `http11` raise for a head, or None if they find no fault with it."""
    reader = StreamReader()
    reader.feed_data(head)
    parser: Generator[None, None, Request | Response] = (
        Request.parse(reader.read_line)
        if kind == "request"
        else Response.parse(reader.read_line, reader.read_exact, reader.read_to_eof)
    )
    try:
        next(parser)
    except (ValueError, NotImplementedError, SecurityError) as fault:
        # It may be shown in a log, and on a terminal.
        text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in str(fault))
        return type(fault)(text[:LONGEST_FAULT])
    except (EOFError, InvalidMethod, StopIteration):
        pass
    return None


def _end(pattern: re.Pattern[bytes], buffer: bytearray, pos: int) -> int:
    """Return the position after ``pattern``, which matches anywhere, at least nothing."""
    match = pattern.match(buffer, pos)
    assert match is not None
    return match.end()


def _has_body(headers: Headers) -> bool:
    return "Transfer-Encoding" in headers or not set(headers.get_all("Content-Length")) <= {"0"}


def _is_delimited(headers: Headers) -> bool:
    """Tell whether a response says where its body ends (RFC 9112 section 6.3)."""
    encodings = ",".join(headers.get_all("Transfer-Encoding")).lower()
    return "Content-Length" in headers or encodings.endswith("chunked")

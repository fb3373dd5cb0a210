"""Bytes of HTTP/1.1 in, requests and responses out: their heads, and the body of a refusal (RFC 9112).

llhttp, through httptools, parses the messages. It forgives more than a handshake should. A proxy and a server that
forgive differently disagree on where a request ends. Therefore the head of a message is checked first: lines of
printable characters, each ended by CRLF, none folded, limited in length and number.
The check is linear in the bytes, however they are split, and its result doesn't depend on the split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import NoReturn, TypeVar

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
from ..http11 import (
    MAX_BODY_SIZE,
    MAX_LINE_LENGTH,
    MAX_NUM_HEADERS,
    Request,
    Response,
    is_content_length,
    parse_headers,
)
from ..streams import StreamReader

__all__ = ["RequestReader", "ResponseReader", "path_of", "request_of", "response_of"]

Parsed = TypeVar("Parsed")

# A whole line, not empty, and not one that continues the line before (obs-fold, RFC 9112 section 5.2)
_line = rb"(?:[!-~\x80-\xff][\t -~\x80-\xff]{0,%d}+\r\n)" % (MAX_LINE_LENGTH - 1)
# Greedy, not possessive: before 3.11.5, Python forgets where a possessive group began that doesn't match.
_lines = re.compile(_line + rb"*")
_whole_head = re.compile(_line + rb"{1,%d}\r\n" % (1 + MAX_NUM_HEADERS))
_printable = re.compile(rb"[\t -~\x80-\xff]*+")

# RFC 9112 section 3.2.2: scheme, host and port, without user information (RFC 9110 section 4.2.4); path and query
_ABSOLUTE_FORM = (
    r"(?i:https?+|wss?+)://((?:\[[0-9A-Fa-f:.]++\]|[!$%&'()*+,;=\-._~0-9A-Za-z]++)(?::[0-9]*+)?)((?:[/?#][!-~]*+)?)"
)
_absolute_form = re.compile(_ABSOLUTE_FORM)
# RFC 9112 section 3; a resource is named in origin form or in absolute form, and two methods may do without one
_request_line = re.compile(
    rb"(?:[!#$%%&'*+\-.^_`|~0-9A-Za-z]++ (?:/[!-~]*+|%s)|OPTIONS \*|CONNECT [!-~]++) HTTP/\d\.\d\r\n"
    % _ABSOLUTE_FORM.encode()
)
# RFC 9112 section 4, RFC 9110 section 15; servers leave out the last space
_status_line = re.compile(rb"(HTTP/1\.\d) ([1-5]\d\d)(?: ([\t -~\x80-\xff]*+))?\r\n")

LONGEST_FAULT = 200  # characters of what is said to be wrong
MAX_EMPTY_LINES = 16  # before a request; more would only serve to keep the server busy


class _Head:
    """Collects the head of a message: its first line, header lines, and the empty line that ends it.

    Args:
        kind: ``"request"`` or ``"response"``.
        first_line: ``"request line"`` or ``"status line"``.
        pattern: what it looks like. A client of another protocol is told so at once, as it may wait for us.
        first_line_too_long: what to raise if it is.
        empty_lines: how many may stand before it.
    """

    def __init__(
        self,
        kind: str,
        first_line: str,
        pattern: re.Pattern[bytes],
        first_line_too_long: type[SecurityError],
        *,
        empty_lines: int = 0,
    ) -> None:
        self._kind = kind
        self._first_line = first_line
        self._pattern = pattern
        self._first_line_too_long = first_line_too_long
        self._empty_lines = empty_lines
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
            self._skip_empty_lines()
            self._check_lines()
            if self._buffer.startswith(b"\r\n", self._line_start):
                return self._split()
        self._check_unfinished_line()
        return None

    def starts_with(self, word: bytes) -> bool:
        """Tell whether the bytes of an unfinished head start with a word."""
        return self._buffer.startswith(word)

    def _skip_empty_lines(self) -> None:
        while self._empty_lines > 0 and self._buffer.startswith(b"\r\n"):
            del self._buffer[:2]
            self._empty_lines -= 1
            self._searched = 0

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

    def invalid(self, fault: str | Exception, head: bytes = b"") -> InvalidMessage:
        """Return the exception for bytes that aren't a message, with the fault as its cause.

        Args:
            fault: what is wrong.
            head: what the parsers of `http11` may find it in, too: they say it as websockets does.
        """
        error = InvalidMessage(f"did not receive a valid HTTP {self._kind}")
        known = ValueError(fault) if isinstance(fault, str) else fault
        error.__cause__ = _presentable(_find_fault(self._kind, head) or known)
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
        # RFC 9112 section 2.2: a server should ignore at least one empty line before the request
        self._head = _Head("request", "request line", _request_line, RequestLineTooLong, empty_lines=MAX_EMPTY_LINES)
        self.head = b""
        self.remaining = b""

    def receive_data(self, data: bytes) -> Request | None:
        """Return the request once it is complete, else None; ``remaining`` holds what follows it.

        Raises:
            InvalidMessage: if the bytes aren't a request, or it has a body.
            InvalidMethod: if the method is unknown, or the request is for no resource.
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

    def asks_for_head(self) -> bool:
        """Tell whether the method is HEAD, also that of an unfinished or invalid request."""
        return self.head.startswith(b"HEAD ") or self._head.starts_with(b"HEAD ")

    def _parse(self, head: bytes) -> Request:
        request = request_of(head)
        try:
            httptools.HttpRequestParser(None).feed_data(_in_known_version(head))
        except httptools.HttpParserUpgrade:
            pass  # how httptools says that what follows the head isn't HTTP
        except httptools.HttpParserInvalidMethodError as exc:
            raise InvalidMethod(request.method) from exc
        except httptools.HttpParserError as exc:
            if not request.protocol.startswith("HTTP/1."):
                raise InvalidProtocol(request.protocol) from exc
            raise self._head.invalid(str(exc), head)  # noqa: B904  # it has a better cause
        if _has_body(request.headers):
            raise self._head.invalid("unsupported request body", head)
        if not request.path.startswith("/") or request.method == "CONNECT":
            # It is about the server (RFC 9110 section 9.3.7), or asks for a tunnel (section 9.3.6): no answer of a
            # program may say that there is one.
            raise InvalidMethod(request.method)
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
        self._unfinished: tuple[Response, _Body] | None = None
        self.remaining = b""
        self.protocol = ""

    def receive_data(self, data: bytes) -> Response | None:
        """Return the response once it is complete, else None.

        Raises:
            InvalidMessage: if the bytes aren't a response.
            SecurityError: if a limit is exceeded.
        """
        if self._unfinished is None:
            parts = self._head.receive_data(data)
            if parts is None:
                return None
            head, data = parts
            response = self._parse(head)
            if self._head_only or response.status_code < 200:  # whatever the headers say (RFC 9112 section 6.3, item 1)
                self.remaining = data
                return response
            self._unfinished = response, _Body(self._find_end_of_body(response))
        return self._receive_body(*self._unfinished, data)

    def receive_eof(self) -> Response:
        """Return the response if its body lasts until the connection closes (RFC 9112 section 6.3).

        Raises:
            InvalidMessage: caused by :exc:`EOFError`, if the response is incomplete.
        """
        if self._unfinished is None:
            self._head.raise_incomplete()
        response, body = self._unfinished
        if body.has_end:
            self._head.raise_incomplete("body")
        return self._complete(response, body)

    def _parse(self, head: bytes) -> Response:
        match = _status_line.match(head)
        assert match is not None, "the reader of the head has checked its first line"
        self.protocol = match[1].decode("ascii")
        try:
            headers = _run(lambda reader: parse_headers(reader.read_line), head[match.end() :])
        except ValueError as error:
            raise self._head.invalid(error)  # noqa: B904  # it has a better cause
        assert headers is not None, "the head is whole"
        return Response(int(match[2]), (match[3] or b"").decode("iso-8859-1"), headers)

    def _find_end_of_body(self, response: Response) -> bytes:
        """Return the header that tells where the body ends, or nothing if it ends with the connection.

        RFC 9112 section 6.3. A response that says it in two ways is the last one of its connection: it is read.
        """
        headers = response.headers
        if response.status_code in (204, 304):
            return b"Content-Length: 0\r\n"
        if "Transfer-Encoding" in headers:  # it overrides Content-Length
            coding = headers.get_all("Transfer-Encoding")[-1].rpartition(",")[2].strip(" \t")
            return b"Transfer-Encoding: chunked\r\n" if coding.lower() == "chunked" else b""
        lengths = headers.get_all("Content-Length")
        if len(lengths) > 1:
            raise self._head.invalid(f"Content-Length is given {len(lengths)} times: {', '.join(lengths)}")
        if lengths and not is_content_length(lengths[0]):
            raise self._head.invalid(SecurityError(f"invalid content length: {lengths[0]}"))
        if lengths and int(lengths[0]) > MAX_BODY_SIZE:
            raise SecurityError(f"body too large: {lengths[0]} bytes")
        return f"Content-Length: {lengths[0]}\r\n".encode() if lengths else b""

    def _receive_body(self, response: Response, body: _Body, data: bytes) -> Response | None:
        try:
            body.receive_data(data)
        except httptools.HttpParserError as exc:
            raise self._head.invalid(str(exc))  # noqa: B904  # it has a better cause
        return self._complete(response, body) if body.complete else None

    def _complete(self, response: Response, body: _Body) -> Response:
        response.body = b"".join(body.parts)
        return response


class _Body:
    """Reads the body of a response; httptools is told where it ends, and nothing else.

    Args:
        end: the header that tells it, or nothing if the body ends with the connection.
    """

    def __init__(self, end: bytes) -> None:
        self.has_end = end != b""
        self.parts: list[bytes] = []
        self.complete = False
        self._size = 0
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(b"HTTP/1.1 200 OK\r\n" + end + b"\r\n")

    def receive_data(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if not self.complete:  # what follows a complete response doesn't matter
                raise
        if self._size > MAX_BODY_SIZE:
            raise SecurityError(f"body too large: over {MAX_BODY_SIZE} bytes")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= MAX_BODY_SIZE:
            self.parts.append(body)

    def on_message_complete(self) -> None:
        self.complete = True


def path_of(head: bytes) -> str:
    """Return the path of a request, with its query, without making its headers."""
    target = head.split(b" ", 2)[1].decode("iso-8859-1")
    return target if target.startswith("/") else request_of(head).path


def request_of(head: bytes) -> Request:
    """Return the request of which ``head`` is the serialization; httptools has found it valid, or is about to."""
    line, headers = _take_apart(head)
    method, target, protocol = line.split(" ")
    absolute = None if target.startswith("/") else _absolute_form.fullmatch(target)
    if absolute is None:
        return Request(target, headers, method, protocol)
    host, path = absolute.groups()
    if len(headers.get_all("Host")) == 1:  # others are refused (RFC 9112 section 3.2)
        # Section 3.2.2: the host in the target takes the place of the one in the header.
        del headers["Host"]
        headers.set_insecure("Host", host)
    return Request(path if path.startswith("/") else f"/{path}", headers, method, protocol)


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


def _in_known_version(head: bytes) -> bytes:
    """Return the head of a request in HTTP/1.1 for one in a later HTTP/1 (RFC 9110 section 2.5)."""
    end = head.index(b"\r\n")
    later = b"1.1" < head[end - 3 : end] <= b"1.9"
    return head[: end - 1] + b"1" + head[end:] if later else head


def _find_fault(kind: str, head: bytes | bytearray) -> Exception | None:
    """Return what the parsers of `http11` raise for a head, or None if they find no fault with it."""
    try:
        if kind == "request":
            _run(lambda reader: Request.parse(reader.read_line), head)
        else:
            _run(lambda reader: Response.parse(reader.read_line, reader.read_exact, reader.read_to_eof), head)
    except (ValueError, NotImplementedError, SecurityError) as fault:
        return fault
    except (EOFError, InvalidMethod):
        pass
    return None


def _presentable(fault: Exception) -> Exception:
    """Return a fault as it may be shown in a log, and on a terminal."""
    text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in str(fault))
    return type(fault)(text[:LONGEST_FAULT])


def _run(parse: Callable[[StreamReader], Generator[None, None, Parsed]], data: bytes | bytearray) -> Parsed | None:
    """Return what a parser makes of bytes, or None if it waits for more."""
    reader = StreamReader()
    reader.feed_data(data)
    try:
        next(parse(reader))
    except StopIteration as end:
        parsed: Parsed = end.value
        return parsed
    return None


def _end(pattern: re.Pattern[bytes], buffer: bytearray, pos: int) -> int:
    """Return the position after ``pattern``, which matches anywhere, at least nothing."""
    match = pattern.match(buffer, pos)
    assert match is not None
    return match.end()


def _has_body(headers: Headers) -> bool:
    return "Transfer-Encoding" in headers or not set(headers.get_all("Content-Length")) <= {"0"}

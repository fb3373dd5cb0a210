"""HTTP/1.1 requests and responses as values (RFC 9112)."""

from __future__ import annotations

import dataclasses
import os
import re
import sys

from .datastructures import Headers
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

_is_method = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++").fullmatch  # RFC 9110 section 9.1: a token
_is_target = re.compile(r"[!-~]++").fullmatch  # RFC 9112 section 3.2: no whitespace
_is_reason_phrase = re.compile(r"[\t -~\x80-\xff]*+").fullmatch  # RFC 9112 section 4


@dataclasses.dataclass
class Request:
    """An HTTP request without a body.

    Args:
        path: the request target, a path with its query.
        headers: the headers.
        method: the method.
        protocol: the protocol's name and version.
    """

    path: str
    headers: Headers
    method: str = "GET"
    protocol: str = "HTTP/1.1"

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
class Response:
    """An HTTP response.

    Args:
        status_code: the status, for example 101.
        reason_phrase: the status in words.
        headers: the headers.
        body: the body.
    """

    status_code: int
    reason_phrase: str
    headers: Headers
    body: bytes | bytearray = b""

    def serialize(self) -> bytes:
        """Return the response as it goes on the wire.

        Raises:
            ValueError: if the reason phrase would break the status line.
        """
        if not _is_reason_phrase(self.reason_phrase):
            raise ValueError(f"invalid reason phrase {self.reason_phrase!r}: use printable ISO-8859-1 characters")
        head = f"HTTP/1.1 {self.status_code:d} {self.reason_phrase}\r\n{self.headers}"
        return head.encode("iso-8859-1") + self.body

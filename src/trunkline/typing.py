"""Types that appear in signatures of the public API."""

from __future__ import annotations

import http
import logging
import os
from typing import Any, NewType

__all__ = [
    "BytesLike",
    "Data",
    "DataLike",
    "ExtensionName",
    "ExtensionParameter",
    "LoggerLike",
    "Origin",
    "PathLike",
    "StatusLike",
    "Subprotocol",
]

Data = str | bytes
"""What ``recv()`` returns: :class:`str` for a Text message, :class:`bytes` for a Binary message."""

BytesLike = bytes | bytearray | memoryview
"""A payload of a Binary message."""

DataLike = str | bytes | bytearray | memoryview
"""What ``send()`` takes: :class:`str` for a Text message, bytes-like for a Binary message."""

LoggerLike = logging.Logger | logging.LoggerAdapter[Any]
"""A logger, or an adapter around one."""

StatusLike = http.HTTPStatus | int
"""An HTTP status code."""

PathLike = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""Path of a Unix socket."""

Origin = NewType("Origin", str)
"""Value of an Origin header (RFC 6454)."""

Subprotocol = NewType("Subprotocol", str)
"""Name of a subprotocol (RFC 6455 section 1.9)."""

ExtensionName = NewType("ExtensionName", str)
"""Name of an extension (RFC 6455 section 9)."""

ExtensionParameter = tuple[str, str | None]
"""Name and value of a parameter of an extension; the value is None for a flag."""

ExtensionHeader = tuple[ExtensionName, list[ExtensionParameter]]
"""One item of Sec-WebSocket-Extensions (RFC 6455 section 9.1)."""

ConnectionOption = NewType("ConnectionOption", str)
"""One item of Connection (RFC 9110 section 7.6.1)."""

UpgradeProtocol = NewType("UpgradeProtocol", str)
"""One item of Upgrade (RFC 9110 section 7.8)."""

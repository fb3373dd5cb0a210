"""The upgrade that both sides of the opening handshake look at, and the key that proves it (RFC 6455 section 1.3)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os

from ..datastructures import Headers
from ..exceptions import InvalidUpgrade
from .headers import parse_connection, parse_upgrade

__all__ = ["accept_key", "check_upgrade", "generate_key"]

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def generate_key() -> str:
    """Return a fresh Sec-WebSocket-Key (RFC 6455 section 4.1)."""
    return base64.b64encode(os.urandom(16)).decode("ascii")


def accept_key(key: str) -> str:
    """Return the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 section 4.2.2)."""
    # usedforsecurity: SHA-1 protects nothing here, and builds of OpenSSL that follow FIPS must allow it
    digest = hashlib.sha1((key + GUID).encode("ascii"), usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False).decode("ascii")


def check_upgrade(headers: Headers) -> None:
    """Check that the message upgrades the connection to WebSocket (RFC 6455 sections 4.1 and 4.2.1).

    Raises:
        InvalidUpgrade: if Connection or Upgrade is missing or doesn't.
        InvalidHeaderFormat: if one of them doesn't follow its grammar.
    """
    connection, upgrade = headers.get_all("Connection"), headers.get_all("Upgrade")
    if connection == ["Upgrade"] and upgrade == ["websocket"]:  # almost always
        return
    options = [option for header in connection for option in parse_connection(header)]
    if "upgrade" not in [option.lower() for option in options]:
        raise InvalidUpgrade("Connection", ", ".join(options) if connection else None)
    protocols = [protocol for header in upgrade for protocol in parse_upgrade(header)]
    if len(protocols) != 1 or protocols[0].lower() != "websocket":
        raise InvalidUpgrade("Upgrade", ", ".join(protocols) if upgrade else None)

"""Codes of the Centrifuge client protocol: why a command failed, a connection was closed, a subscription ended.

Client libraries act by code alone, as these tables say; texts are for people.
"""

from __future__ import annotations

import json
from typing import Final

from trunkline.core.session import shorten
from trunkline.exceptions import WebSocketException
from trunkline.frames import EXTERNAL_CLOSE_CODES
from trunkline.realtime.publication import as_text

__all__ = [
    "DISCONNECTS",
    "ERRORS",
    "UNSUBSCRIBES",
    "Disconnected",
    "Refused",
    "reason_for",
    "reconnects",
    "resubscribes",
]

#: Errors of commands: code -> (text, whether the same command may succeed later). Applications have 400 to 1999.
ERRORS: Final[dict[int, tuple[str, bool]]] = {
    100: ("internal server error", True),
    101: ("unauthorized", False),
    102: ("unknown channel", False),
    103: ("permission denied", False),
    104: ("method not found", False),
    105: ("already subscribed", False),
    106: ("limit exceeded", False),
    107: ("bad request", False),
    108: ("not available", False),
    109: ("token expired", False),
    110: ("expired", False),
    111: ("too many requests", True),
    112: ("unrecoverable position", False),
    113: ("concurrent pagination", True),
}

INTERNAL, UNAUTHORIZED, UNKNOWN_CHANNEL, PERMISSION_DENIED, METHOD_NOT_FOUND = range(100, 105)
ALREADY_SUBSCRIBED, LIMIT_EXCEEDED, BAD_REQUEST, NOT_AVAILABLE, TOKEN_EXPIRED = range(105, 110)
EXPIRED, TOO_MANY_REQUESTS, UNRECOVERABLE_POSITION = range(110, 113)

#: Close codes of connections: code -> text. Applications have 4000 to 4999.
DISCONNECTS: Final[dict[int, str]] = {
    3000: "connection closed",
    3001: "shutdown",
    3004: "internal server error",
    3005: "connection expired",
    3006: "subscription expired",
    3008: "slow",
    3009: "write error",
    3010: "insufficient state",
    3011: "force reconnect",
    3012: "no pong",
    3013: "too many requests",
    3014: "state invalidated",
    3500: "invalid token",
    3501: "bad request",
    3502: "stale",
    3503: "force disconnect",
    3504: "connection limit",
    3505: "channel limit",
    3506: "inappropriate protocol",
    3507: "permission denied",
    3508: "not available",
    3509: "too many errors",
}

SHUTDOWN, SERVER_ERROR, CONNECTION_EXPIRED, SUBSCRIPTION_LAPSED = 3001, 3004, 3005, 3006
SLOW, INSUFFICIENT_STATE, FORCE_RECONNECT, NO_PONG, FLOOD = 3008, 3010, 3011, 3012, 3013
INVALID_TOKEN, INVALID_REQUEST, STALE, FORCE_DISCONNECT = 3500, 3501, 3502, 3503
CHANNEL_LIMIT, INAPPROPRIATE_PROTOCOL, NO_MESSAGES, TOO_MANY_ERRORS = 3505, 3506, 3508, 3509

#: Codes with which the server ends a subscription: code -> text.
UNSUBSCRIBES: Final[dict[int, str]] = {
    2000: "server unsubscribed",
    2500: "insufficient state",
    2501: "subscription expired",
    2502: "state invalidated",
}

UNSUBSCRIBED, POSITION_LOST, SUBSCRIPTION_EXPIRED = 2000, 2500, 2501


def reason_for(code: int, reason: str | None = None) -> str:
    """The reason that a client is told with a close code, as a close frame can have it.

    Where the client is to stay away there always is one: without, the official client library for JavaScript comes
    back after any code. It isn't JSON by chance, such as a number: that library takes JSON for an object that says
    whether to come back, and then doesn't.

    Args:
        reason: what the program says; None or "": what the code means.

    Raises:
        TypeError: if `code` isn't a number, or `reason` isn't text.
        ValueError: if the code can't be sent (RFC 6455 section 7.4), or the text can't.
    """
    if isinstance(code, bool) or not isinstance(code, int):
        raise TypeError(f"code is {code!r}: it must be a number")
    if code not in EXTERNAL_CLOSE_CODES and not 3000 <= code <= 4999:
        raise ValueError(f"code is {code!r}: it must be one of DISCONNECTS, or one of yours, 4000 to 4999")
    reason = None if reason is None else as_text("reason", reason)
    known = DISCONNECTS.get(code, "disconnected")
    said = shorten(reason or ("" if code not in DISCONNECTS and reconnects(code) else known))
    return shorten(f"{known}: {said}") if _is_json(said) else said


def _is_json(text: str) -> bool:
    """Whether it is JSON, but for an object that says on purpose whether to come back."""
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return not (isinstance(value, dict) and "reconnect" in value)


def reconnects(code: int) -> bool:
    """Whether client libraries connect again after this close code."""
    return not (3500 <= code <= 3999 or 4500 <= code <= 4999)


def resubscribes(code: int) -> bool:
    """Whether client libraries subscribe again after this code of an unsubscribe push."""
    return code >= 2500


class Refused(WebSocketException):  # the answer to a command, no error of the server
    """Raise it in a hook to refuse a command: the client gets the code and the text, and stays connected.

    Args:
        code: one of `ERRORS`, or a code of yours, 400 to 1999.
        message: text for the log of the client; by default that of `ERRORS`.
        temporary: whether the same command may succeed later, so that client libraries try again; by default as in
            `ERRORS`.

    Raises:
        TypeError: if `code` isn't a number, or `message` isn't text.
        ValueError: if the code is below 100, where client libraries have codes of their own, or above 32 bits; if the
            text can't be sent.
    """

    def __init__(
        self, code: int = PERMISSION_DENIED, message: str | None = None, temporary: bool | None = None
    ) -> None:
        if isinstance(code, bool) or not isinstance(code, int):
            raise TypeError(f"code is {code!r}: it must be a number")
        if not 100 <= code < 1 << 32:
            raise ValueError(f"code is {code!r}: it must be one of ERRORS, or one of yours, 400 to 1999")
        known, again = ERRORS.get(code, ("refused", False))
        self.code = int(code)
        self.message = known if message is None else as_text("message", message)
        self.temporary = again if temporary is None else temporary
        super().__init__(f"{self.code}: {self.message}")


class Disconnected(WebSocketException):  # a decision, no error
    """Raise it in a hook to close the client's connection.

    Args:
        code: one of `DISCONNECTS`, or a code of yours: 4000 to 4499 if the client may connect again, else 4500 to 4999.
        reason: at most 123 bytes in UTF-8; by default that of `DISCONNECTS`. See `reason_for`.

    Raises:
        TypeError, ValueError: if the code or the reason can't be sent.
    """

    def __init__(self, code: int = FORCE_DISCONNECT, reason: str | None = None) -> None:
        self.code = code
        self.reason = reason_for(code, reason)
        super().__init__(f"{self.code}: {self.reason}")

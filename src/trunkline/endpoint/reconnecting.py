"""Whether and when a client connects again."""

from __future__ import annotations

import os
import random
from collections.abc import Generator

from trunkline.exceptions import InvalidMessage, InvalidProxyStatus, InvalidStatus

__all__ = [
    "BACKOFF_FACTOR",
    "BACKOFF_INITIAL_DELAY",
    "BACKOFF_MAX_DELAY",
    "BACKOFF_MIN_DELAY",
    "backoff",
    "process_exception",
]

BACKOFF_INITIAL_DELAY = float(os.environ.get("WEBSOCKETS_BACKOFF_INITIAL_DELAY", "5"))
BACKOFF_MIN_DELAY = float(os.environ.get("WEBSOCKETS_BACKOFF_MIN_DELAY", "3.1"))
BACKOFF_MAX_DELAY = float(os.environ.get("WEBSOCKETS_BACKOFF_MAX_DELAY", "90.0"))
BACKOFF_FACTOR = float(os.environ.get("WEBSOCKETS_BACKOFF_FACTOR", "1.618"))


def process_exception(exc: Exception) -> Exception | None:
    """Whether reconnecting makes sense: None for an error that may pass, else the error, to be raised.

    Network errors, timeouts and a stream that ends during the handshake may pass. So may HTTP 500, 502, 503 and 504, of
    the server or of a proxy.
    """
    if isinstance(exc, OSError):  # TimeoutError is one
        return None
    if isinstance(exc, InvalidMessage) and isinstance(exc.__cause__, EOFError):
        return None
    if isinstance(exc, InvalidStatus | InvalidProxyStatus) and exc.response.status_code in (500, 502, 503, 504):
        return None
    return exc


def backoff(
    initial_delay: float = BACKOFF_INITIAL_DELAY,
    min_delay: float = BACKOFF_MIN_DELAY,
    max_delay: float = BACKOFF_MAX_DELAY,
    factor: float = BACKOFF_FACTOR,
) -> Generator[float]:
    """Seconds between attempts to connect: random first, so that clients don't come back all at once, then growing."""
    yield random.random() * initial_delay
    delay = min_delay
    while delay < max_delay:
        yield delay
        delay *= factor
    while True:
        yield max_delay

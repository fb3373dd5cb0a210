"""What the opening handshake leaves in a log, the same for every driver."""

from __future__ import annotations

from ..http11 import Request, Response
from ..typing import LoggerLike

__all__ = ["log_head"]


def log_head(logger: LoggerLike, direction: str, head: Request | Response) -> None:
    """Log a request or response line by line, ">" for sent, "<" for received."""
    if isinstance(head, Request):
        logger.debug("%s %s %s %s", direction, head.method, head.path, head.protocol)
    else:
        logger.debug("%s HTTP/1.1 %d %s", direction, head.status_code, head.reason_phrase)
    for name, value in head.headers.raw_items():
        logger.debug("%s %s: %s", direction, name, value)
    if isinstance(head, Response) and head.body:
        logger.debug("%s [body] (%d bytes)", direction, len(head.body))

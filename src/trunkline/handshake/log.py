"""The records that the opening handshake leaves in a log, the same for every driver."""

from __future__ import annotations

from ..exceptions import (
    HeaderLineTooLong,
    InvalidMessage,
    InvalidMethod,
    InvalidOrigin,
    InvalidProtocol,
    InvalidUpgrade,
    RequestLineTooLong,
    TooManyHeaders,
)
from ..http11 import Request, Response
from ..typing import LoggerLike

__all__ = ["explain", "log_fault", "log_head"]

_FAULTS: tuple[tuple[type[Exception], str], ...] = (
    (InvalidOrigin, "invalid origin"),
    (InvalidMethod, "invalid method"),
    (InvalidProtocol, "invalid protocol"),
    (InvalidUpgrade, "invalid upgrade"),
    (RequestLineTooLong, "request line too long"),
    (HeaderLineTooLong, "header fields too large"),
    (TooManyHeaders, "header fields too large"),
    (InvalidMessage, "no valid HTTP request"),
    (Exception, "invalid handshake"),
)


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


def log_fault(logger: LoggerLike, fault: Exception) -> None:
    """Log what is wrong with a request."""
    what = next(text for kind, text in _FAULTS if isinstance(fault, kind))
    logger.debug("! %s", what, exc_info=fault)


def explain(exception: BaseException) -> str:
    """Return the text of an exception and those of its causes."""
    texts = [str(exception)]
    while exception.__cause__ is not None:
        exception = exception.__cause__
        texts.append(str(exception))
    return "; ".join(texts)

"""One message to many connections."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from trunkline.core.writer import PreparedMessage
from trunkline.endpoint.connection import BaseConnection
from trunkline.exceptions import ConcurrencyError
from trunkline.typing import DataLike

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

if cython.compiled:
    from cython.cimports.trunkline.core.phases import OPEN
else:
    from trunkline.core.phases import OPEN

__all__ = ["broadcast"]

# typing.get_type_hints() looks for these here, and Cython keeps them to itself.
globals().update(BaseConnection=BaseConnection, PreparedMessage=PreparedMessage)


def broadcast(
    connections: Iterable[BaseConnection],
    message: DataLike | PreparedMessage,
    *,
    text: bool | None = None,
    raise_exceptions: bool = False,
) -> None:
    """Send one message to many connections, encoded and compressed once, waiting for none of them.

    Connections that aren't open are passed over in silence. A connection misses the message while it sends another one
    in fragments, and when it is more than 1 MiB behind. That is logged as a warning, or raised, and counted in its
    `skipped_broadcasts`.

    Args:
        connections: any iterable of connections, also of those that `trunkline.asgi.connection` gives.
        message: str, bytes-like, or a `PreparedMessage`.
        text: True sends bytes-like data as text, False sends str as binary.
        raise_exceptions: raise what went wrong, after sending to all, instead of logging it.

    Raises:
        TypeError: if `message` is neither str nor bytes-like.
        ExceptionGroup: with `raise_exceptions`, of what went wrong.
    """
    prepared: PreparedMessage = message if isinstance(message, PreparedMessage) else PreparedMessage(message, text=text)
    exceptions: list[Exception] = []
    connection: BaseConnection
    for member in connections:
        try:
            if isinstance(member, BaseConnection):
                connection = member
                problem: Any = None if connection.session.phase != OPEN else connection.deliver(prepared)
            else:  # one that another server carries; it is silent if it isn't open
                problem = member.broadcast(prepared)
        except Exception as exception:
            problem = exception
        if problem is None:
            continue
        if raise_exceptions:
            exceptions.append(not_sent(problem))
        else:
            member.logger.warning("skipped broadcast: %s", in_words(problem))
    if exceptions:
        raise ExceptionGroup("skipped broadcast", exceptions)


def not_sent(problem: str | Exception) -> RuntimeError:
    """The exception for a connection that missed a broadcast, by what `BaseConnection.broadcast` says of it."""
    if isinstance(problem, str):
        return ConcurrencyError(problem)
    error = RuntimeError("failed to write message")
    error.__cause__ = problem
    return error


def in_words(problem: str | Exception) -> str:
    """The same for a log."""
    if isinstance(problem, str):
        return problem
    return "failed to write message: " + "".join(traceback.format_exception_only(problem)).strip()

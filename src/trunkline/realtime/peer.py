"""The contract between rooms and the doors through which clients come in: a peer carries the messages of one client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from trunkline.core.writer import PreparedMessage
from trunkline.http11 import Request

__all__ = ["Backlog", "Peer"]


class Backlog(NamedTuple):
    """Data that is under way between a client and its node.

    Attributes:
        unsent: bytes that the node sent and the client's side hasn't taken yet.
        unread: messages that the client sent and no command has carried out yet.
        stopped: whether the node reads no more until it has carried out some of them, so that more may be behind.
    """

    unsent: int
    unread: int
    stopped: bool


class Peer(Protocol):
    """The far end of one client's connection, whatever carries it: a WebSocket, a stream of events, memory in a test.

    Rooms use nothing else of a connection. Every implementation promises:

    Order:
        Messages leave in the order in which `send_nowait` took them, when the event loop turns at the latest.
    No queue:
        A message that isn't taken isn't kept. The hub keeps it, or drops it, as the channel says.
    Nothing raised:
        All of this can be called at any time, also when the connection is gone. Then messages aren't taken, and
        closing has no effect.
    One thread:
        All calls, in both directions, happen in the thread of the node's event loop. A call in one direction may
        cause one in the other before it returns.

    Attributes:
        connection: the connection itself, for the program; rooms don't look into it.
        request: the HTTP request with which the client came: its path with the query, its headers.
        open: whether messages may still be taken.
        on_writable: called without arguments when messages may be taken again after one was not; None by default.
        on_closing: called without arguments, once, when the connection begins to close, or is lost. Messages that came
            before may still wait to be carried out. None by default.
        on_server_closing: called without arguments when the server of the connection is about to close it, also if it
            is gone and only its handler still runs. None by default.
    """

    connection: Any
    on_writable: Callable[[], None] | None
    on_closing: Callable[[], None] | None
    on_server_closing: Callable[[], None] | None

    @property
    def request(self) -> Request: ...

    @property
    def open(self) -> bool: ...

    @property
    def send_nowait(self) -> Callable[[PreparedMessage], bool]:
        """A function that takes a message, and returns True, or returns False: the client reads too slowly, or is gone.

        It is asked for once for each room, and called for each message: this is the path that every delivery takes.
        """

    def start_closing(self, code: int, reason: str) -> None:
        """Begin to close the connection with a close code and a reason (RFC 6455 section 7.1). It returns at once."""

    def backlog(self) -> Backlog:
        """The data that is under way, to tell a client that is slow from one that is gone."""

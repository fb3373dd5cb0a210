"""A socket that a server has accepted, until it is a WebSocket (RFC 6455 section 4.2)."""

from __future__ import annotations

import contextlib
import threading
from time import monotonic
from typing import Any

from trunkline.endpoint.server import run_now
from trunkline.exceptions import InvalidHandshake
from trunkline.http11 import Request, Response
from trunkline.sync.stream import Deadline, Stream, here, push_all, read_some, shut_down

__all__ = ["ServerOpening"]


class ServerOpening:
    """Reads the request, and sends the answer, in the thread of the client. `shutdown` may refuse it in another one.

    Args:
        stream: the stream of the socket.
        server: the `Server`.

    Attributes:
        handshake: the `ServerHandshake` that reads the request.
        request: the request, None until it is complete.
    """

    def __init__(self, stream: Stream, server: Any) -> None:
        self.stream = stream
        self.server = server
        self.handshake = server.new_handshake(self)
        self.request: Request | None = None
        self.mutex = threading.Lock()
        self.changed = here.waits.Condition(self.mutex)
        self.answered = False
        self.over = False
        self.made: Any = None

    @property
    def connection(self) -> Any:
        """Without `mutex`: the connection that comes of it, made when it opens, or earlier for a hook or the log."""
        with self.mutex:
            if self.made is None:
                self.made = self.server.new_connection(self.stream)
                self.made.request = self.request
            return self.made

    def run(self, deadline: Deadline) -> Any:
        """Read the request and answer it; returns the connection, or None if it isn't opened.

        Raises:
            OSError: if the connection is lost.
            TimeoutError: if it takes too long.
        """
        response = self._receive_and_answer(deadline)
        if response is None:
            return None
        if self.server.is_closing() and self._is_asking():  # whatever the hooks say
            response = self.server.unavailable()
        connection = self.connection if self.server.opens(self, response) else None
        if not self._is_first_answer(connection):
            return None
        self.server.tell_answer(self, response)
        if connection is None:
            self._reject(response, deadline)
        else:
            self._open(connection, response, deadline)
        return connection

    def _receive_and_answer(self, deadline: Deadline) -> Response | None:
        """The answer to the request; None if the client goes away before it has sent one."""
        try:
            while self.request is None:
                data = read_some(self.stream, deadline)
                if not data:
                    return None
                self.request = self.handshake.receive_data(data)
        except InvalidHandshake as error:
            refusal: Response = self.server.refuse(self, error)
            return refusal
        response: Response = run_now(self.server.answer(self, self.request))
        return response

    def _is_first_answer(self, connection: Any) -> bool:
        """Whether `shutdown` hasn't answered; if so, it finds the connection among those of the server."""
        with self.mutex:
            if self.answered:
                return False
            self.answered = True
            if connection is not None:
                self.server.opened(connection)
            self.changed.notify_all()
        return True

    def _open(self, connection: Any, response: Response, deadline: Deadline) -> None:
        handshake = self.handshake
        self.stream.write([handshake.serialize(response)])
        push_all(self.stream, deadline)
        connection.log_info("connection open")
        connection.start(handshake.subprotocol, handshake.extensions, handshake.remaining)

    def _reject(self, response: Response, deadline: Deadline) -> None:
        """Send an HTTP response instead of opening a connection, and let the client close it."""
        self.server.tell_refusal(self, response)
        self.stream.write([self.handshake.serialize(response)])
        push_all(self.stream, deadline)
        # Closing with unread data resets the connection, and the client may never see the response: end our half only.
        self.stream.end_writing()
        patience = Deadline(self.server.options.close_timeout or 10)
        while read_some(self.stream, patience):
            pass

    def end(self) -> None:
        """The handshake is over, whatever came of it."""
        with self.mutex:
            self.over = True
            self.changed.notify_all()

    def close(self) -> None:
        """No connection was opened: close the socket, and tell a program that waits for that in a hook, and the log."""
        try:
            if self.made is not None or self.server.logs_info():
                self.server.end(self.connection)
        finally:
            self.stream.sock.close()

    # For `shutdown`, in another thread

    def finish(self, deadline: float) -> None:
        """Wait until the handshake has finished, unless that is up to a hook.

        Args:
            deadline: when the client is refused, on the monotonic clock.
        """
        with self.mutex:
            while not (self.answered or self.over or self._is_asking()) and (remaining := deadline - monotonic()) > 0:
                self.changed.wait(remaining)
        self.refuse_unavailable()

    def _is_asking(self) -> bool:
        """Whether it may wait for `process_request` or `process_response`."""
        return self.request is not None and bool(self.server.has_hooks)

    def refuse_unavailable(self) -> None:
        """The server closes, and the handshake hasn't finished."""
        with self.mutex:
            if self.answered or self.over:
                return
            self.answered = True
        response = self.server.unavailable()
        if self.made is not None or self.server.logs_info():
            self.connection.response = response
            self.connection.log_refusal(response, None)
        with contextlib.suppress(OSError):  # the client went away
            self.stream.write([self.handshake.serialize(response)])
            self.stream.push()
        shut_down(self.stream.sock)  # the client's own thread closes it

    def wait_until_over(self) -> None:
        """Wait for the end of the handshake."""
        with self.mutex:
            while not self.over:
                self.changed.wait()

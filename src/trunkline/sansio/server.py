"""The server's side of a connection without I/O."""

from __future__ import annotations

import re
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Self

from trunkline.exceptions import InvalidHandshake, InvalidState
from trunkline.extensions.base import ServerExtensionFactory
from trunkline.handshake.log import log_fault, log_head
from trunkline.handshake.server import ServerHandshake
from trunkline.http11 import Request, Response
from trunkline.options import Limit
from trunkline.sansio.protocol import CLOSED, CONNECTING, OPEN, Protocol, Side, State
from trunkline.typing import LoggerLike, Origin, StatusLike, Subprotocol

__all__ = ["ServerConnection", "ServerProtocol"]


class ServerProtocol(Protocol):
    """The server's side of a connection without I/O.

    The first event is the request: ``send_response(accept(request))`` answers it, or
    ``send_response(reject(status, text))``.

    Args:
        origins: origins that may connect: strings, patterns for the whole header, None for requests without one.
        extensions: factories of extensions to accept.
        subprotocols: names of subprotocols to accept, in order of preference.
        select_subprotocol: ``(protocol, offered) -> subprotocol or None``, to choose another one than the first of
            ``subprotocols`` that the client offers.
        state: ``State.OPEN`` if the response is sent by other means.
        max_size: limit of a received message in bytes, or (message, frame); None for none.
        logger: logger, by default ``websockets.server``.

    Raises:
        TypeError, ValueError: if ``subprotocols`` isn't a list of tokens.
    """

    def __init__(
        self,
        *,
        origins: Sequence[Origin | re.Pattern[str] | None] | None = None,
        extensions: Sequence[ServerExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
        select_subprotocol: Callable[[ServerProtocol, Sequence[Subprotocol]], Subprotocol | None] | None = None,
        state: State = CONNECTING,
        max_size: Limit = 2**20,
        logger: LoggerLike | None = None,
    ) -> None:
        super().__init__(Side.SERVER, state=state, max_size=max_size, logger=logger)
        self._choose_subprotocol = select_subprotocol
        self._handshake = ServerHandshake(
            origins=origins,
            extensions=extensions,
            subprotocols=subprotocols,
            select_subprotocol=_asking(weakref.ref(self)),
        )

    @property
    def origins(self) -> Sequence[Origin | re.Pattern[str] | None] | None:
        """Origins that may connect, as given."""
        return self._handshake.origins

    @property
    def available_extensions(self) -> Sequence[ServerExtensionFactory] | None:
        """Factories of extensions to accept, as given."""
        return self._handshake.available_extensions

    @property
    def available_subprotocols(self) -> Sequence[Subprotocol] | None:
        """Names of subprotocols to accept, as given."""
        return self._handshake.available_subprotocols

    @classmethod
    def of(cls, connection: Any) -> Self:
        """The protocol of a connection that moves its bytes itself, to look at, and to make a refusal with."""
        protocol = super().of(connection)
        server = getattr(connection, "server", None)
        rules_of = getattr(server, "handshake_rules", None)  # an application server has none
        protocol._handshake = ServerHandshake(**({} if rules_of is None else rules_of(weakref.ref(connection))))
        if connection.request is not None and len(origins := connection.request.headers.get_all("Origin")) == 1:
            protocol.origin = Origin(origins[0])
        return protocol

    def accept(self, request: Request) -> Response:
        """The answer to a request: 101 if it is in order, else a refusal, with the reason in ``handshake_exc``.

        Change the response if need be, then give it to ``send_response``.
        """
        handshake = self._handshake
        response = handshake.accept(request)
        self.handshake_exc = handshake.exception
        self.origin = handshake.origin
        self.subprotocol = handshake.subprotocol
        self.extensions = handshake.extensions
        if self.handshake_exc is None:
            return response
        if not isinstance(self.handshake_exc, InvalidHandshake):
            self.logger.error("opening handshake failed", exc_info=self.handshake_exc)
        elif self.debug:
            log_fault(self.logger, self.handshake_exc)
        return response

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """Choose a subprotocol; subclasses may override it.

        Args:
            subprotocols: what the client offers.

        Raises:
            NegotiationError: to refuse the connection.
        """
        if self._choose_subprotocol is not None:
            return self._choose_subprotocol(self, subprotocols)
        return self._handshake.prefer_subprotocol(subprotocols)

    def reject(self, status: StatusLike, text: str) -> Response:
        """A response that refuses the request.

        Args:
            status: HTTP status.
            text: body of the response.
        """
        return self._handshake.reject(status, text)

    def send_response(self, response: Response) -> None:
        """Answer the request: 101 opens the connection, anything else ends it. A client that is gone gets no answer.

        Raises:
            InvalidState: if the request was answered before.
            TypeError, ValueError: if the response can't be sent.
        """
        data = self._handshake.serialize(response)
        if self.state is CLOSED:
            return
        self._check_state(CONNECTING)
        if self._session.eof_wanted:
            raise InvalidState("the request is answered already")
        if self.debug:
            log_head(self.logger, ">", response)
        self._session.outgoing.append(data)
        if response.status_code == 101:
            self.state = OPEN
            self.logger.info("connection open")
            self._receive_frames(self._handshake.remaining)
        else:
            attempted = self._handshake.accept_called or self.handshake_exc is not None
            what = "connection rejected" if attempted else "HTTP response sent"
            self.logger.info("%s (%d %s)", what, response.status_code, response.reason_phrase)
            self._end_handshake()

    def _receive_handshake(self, data: bytes) -> None:
        if self._session.eof_wanted:
            return
        try:
            request = self._handshake.receive_data(data)
        except InvalidHandshake as error:
            self.handshake_exc = error
            if self.debug:
                log_fault(self.logger, error)
            self.send_response(self._handshake.refuse(error))
            return
        if request is not None:
            if self.debug:
                log_head(self.logger, "<", request)
            self._events.append(request)

    def _receive_handshake_eof(self) -> None:
        try:
            self._handshake.receive_eof()
        except InvalidHandshake as error:
            self.handshake_exc = error


class ServerConnection(ServerProtocol):
    """The old name of `ServerProtocol`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn("ServerConnection was renamed to ServerProtocol", DeprecationWarning, stacklevel=2)
        super().__init__(*args, **kwargs)


def _asking(
    reference: weakref.ref[ServerProtocol],
) -> Callable[[ServerHandshake, Sequence[Subprotocol]], Subprotocol | None]:
    """`select_subprotocol` for the handshake of a protocol, without a reference cycle."""

    def select(handshake: ServerHandshake, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        protocol = reference()
        assert protocol is not None, "its accept() is running"
        return protocol.select_subprotocol(offered)

    return select

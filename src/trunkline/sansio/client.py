"""The client's side of a connection without I/O."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Self

from trunkline.exceptions import InvalidHandshake
from trunkline.extensions.base import ClientExtensionFactory
from trunkline.handshake.client import ClientHandshake
from trunkline.handshake.log import log_head
from trunkline.http11 import Request, Response
from trunkline.options import Limit
from trunkline.sansio.protocol import CONNECTING, OPEN, Protocol, Side, State
from trunkline.typing import LoggerLike, Origin, Subprotocol
from trunkline.uri import WebSocketURI

__all__ = ["ClientConnection", "ClientProtocol"]


class ClientProtocol(Protocol):
    """The client's side of a connection without I/O.

    Start with ``send_request(connect())``. The first event is the response; ``handshake_exc`` tells whether it is a
    refusal.

    Args:
        uri: where to connect; see :func:`trunkline.uri.parse_uri`.
        origin: value of the Origin header.
        extensions: factories of extensions to offer.
        subprotocols: names of subprotocols to offer, in order of preference.
        state: ``State.OPEN`` if the opening handshake is done by other means.
        max_size: limit of a received message in bytes, or (message, frame); None for none.
        logger: logger, by default ``websockets.client``.

    Raises:
        TypeError, ValueError: if ``subprotocols`` isn't a list of tokens.
    """

    def __init__(
        self,
        uri: WebSocketURI,
        *,
        origin: Origin | None = None,
        extensions: Sequence[ClientExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
        state: State = CONNECTING,
        max_size: Limit = 2**20,
        logger: LoggerLike | None = None,
    ) -> None:
        super().__init__(Side.CLIENT, state=state, max_size=max_size, logger=logger)
        self.uri = uri
        self.origin = origin
        self.handshake = ClientHandshake(uri, origin=origin, extensions=extensions, subprotocols=subprotocols)

    @property
    def key(self) -> str:
        """Value of the Sec-WebSocket-Key header."""
        return self.handshake.key

    @property
    def available_extensions(self) -> Sequence[ClientExtensionFactory] | None:
        """Factories of extensions to offer, as given."""
        return self.handshake.available_extensions

    @property
    def available_subprotocols(self) -> Sequence[Subprotocol] | None:
        """Names of subprotocols to offer, as given."""
        return self.handshake.available_subprotocols

    @classmethod
    def of(cls, connection: Any) -> Self:
        """The protocol of a connection that moves its bytes itself, to look at."""
        protocol = super().of(connection)
        protocol.handshake = connection.negotiation
        protocol.uri = protocol.handshake.uri
        protocol.origin = protocol.handshake.origin
        return protocol

    def connect(self) -> Request:
        """The request that opens the connection. Add headers if need be, then give it to ``send_request``.

        Raises:
            InvalidHeaderValue: if ``origin`` or the URI's host contains control characters.
            ValueError: if the username contains a colon.
        """
        return self.handshake.request()

    def send_request(self, request: Request) -> None:
        """Send the request."""
        if self.debug:
            log_head(self.logger, ">", request)
        self._session.outgoing.append(request.serialize())

    def _receive_handshake(self, data: bytes) -> None:
        if self._session.eof_wanted:
            return
        try:
            response = self.handshake.receive_data(data)
            if response is not None:
                self._receive_response(response)
        except InvalidHandshake as error:
            self._fail_handshake(error)

    def _receive_handshake_eof(self) -> None:
        try:
            self._receive_response(self.handshake.receive_eof())
        except InvalidHandshake as error:
            self._fail_handshake(error)

    def _receive_response(self, response: Response) -> None:
        if self.debug:
            log_head(self.logger, "<", response)
        self._events.append(response)
        self.handshake.process_response(response)
        self.subprotocol = self.handshake.subprotocol
        self.extensions = self.handshake.extensions
        self.state = OPEN
        self._receive_frames(self.handshake.remaining)

    def _fail_handshake(self, error: InvalidHandshake) -> None:
        self.handshake_exc = error
        self._end_handshake()


class ClientConnection(ClientProtocol):
    """The old name of `ClientProtocol`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn("ClientConnection was renamed to ClientProtocol", DeprecationWarning, stacklevel=2)
        super().__init__(*args, **kwargs)

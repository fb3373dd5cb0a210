"""How the two sides agree on permessage-deflate, the compression of messages (RFC 7692); core/deflate.py does it."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..core.deflate import NAME, PerMessageDeflate, check_window_bits
from ..exceptions import DuplicateParameter, InvalidParameterName, InvalidParameterValue, NegotiationError
from ..typing import ExtensionParameter
from .base import ClientExtensionFactory, Extension, ServerExtensionFactory

__all__ = [
    "ClientPerMessageDeflateFactory",
    "PerMessageDeflate",
    "ServerPerMessageDeflateFactory",
    "enable_client_permessage_deflate",
    "enable_server_permessage_deflate",
]

# The value of `compress_all` where a factory gets none. `trunkline.compat` makes it True, as it is with websockets.
COMPRESS_ALL = False

# Of what `compression="deflate"` enables: 4 KiB of window and as much memory as makes sense with it.
WINDOW_BITS = 12
COMPRESS_SETTINGS = {"memLevel": 5}

# A value between 8 and 15, without leading zeros (RFC 7692 section 7.1.2).
_WINDOW_BITS = {str(bits): bits for bits in range(8, 16)}


class ClientPerMessageDeflateFactory(ClientExtensionFactory):
    """Negotiates permessage-deflate for a client.

    Args:
        server_no_context_takeover: ask the server to compress each message without reference to those before it.
        client_no_context_takeover: do so on this side.
        server_max_window_bits: ask the server for a window of at most this size, as its logarithm: 8 to 15.
        client_max_window_bits: largest window of this side, 9 to 15. True lets the server choose; None tells it that it
            can't.
        compress_settings: arguments for :func:`zlib.compressobj`, ``wbits`` excepted.
        compress_all: True compresses every message, also one that is short or becomes longer. Some peers take no other
            once compression is agreed on. None means False, or True behind :mod:`trunkline.compat`.

    Raises:
        ValueError: if a window size is outside its range, or ``compress_settings`` can't be used.
    """

    name = NAME

    def __init__(
        self,
        server_no_context_takeover: bool = False,
        client_no_context_takeover: bool = False,
        server_max_window_bits: int | None = None,
        client_max_window_bits: int | Literal[True] | None = True,
        compress_settings: Mapping[str, Any] | None = None,
        *,
        compress_all: bool | None = None,
    ) -> None:
        if server_max_window_bits is not None:
            check_window_bits("server_max_window_bits", server_max_window_bits, 8)
        if client_max_window_bits is not None and client_max_window_bits is not True:
            check_window_bits("client_max_window_bits", client_max_window_bits, 9)
        _check_settings(compress_settings, "client_max_window_bits")
        self.server_no_context_takeover = server_no_context_takeover
        self.client_no_context_takeover = client_no_context_takeover
        self.server_max_window_bits = server_max_window_bits
        self.client_max_window_bits = client_max_window_bits
        self.compress_settings = compress_settings
        self.compress_all = COMPRESS_ALL if compress_all is None else compress_all

    def get_request_params(self) -> list[ExtensionParameter]:
        """Return the parameters to offer."""
        return _Parameters(
            self.server_no_context_takeover,
            self.client_no_context_takeover,
            self.server_max_window_bits,
            self.client_max_window_bits,
        ).build()

    def process_response_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> PerMessageDeflate:
        """Return the extension that the server's answer describes.

        Args:
            params: the parameters in the answer.
            accepted_extensions: the extensions accepted before this one.

        Raises:
            NegotiationError: if the answer isn't one to what was offered (RFC 7692 section 7.1).
        """
        if any(extension.name == self.name for extension in accepted_extensions):
            raise NegotiationError(f"received duplicate {self.name}")
        answer = _Parameters.parse(params)
        if self.server_no_context_takeover and not answer.server_no_context_takeover:
            raise NegotiationError("expected server_no_context_takeover")
        return PerMessageDeflate(
            answer.server_no_context_takeover,
            self.client_no_context_takeover or answer.client_no_context_takeover,
            self._server_window_bits(answer.server_max_window_bits),
            self._client_window_bits(answer.client_max_window_bits),
            self.compress_settings,
            self.compress_all,
        )

    def _server_window_bits(self, answer: int | bool | None) -> int:
        """Section 7.1.2.1: the server may choose a smaller window than it was asked for, and may offer one unasked."""
        if answer is True:
            raise InvalidParameterValue("server_max_window_bits", None)
        if self.server_max_window_bits is None:
            return answer or 15
        if not answer:
            raise NegotiationError("expected server_max_window_bits")
        if answer > self.server_max_window_bits:
            raise NegotiationError("unsupported server_max_window_bits")
        return answer

    def _client_window_bits(self, answer: int | bool | None) -> int:
        """Section 7.1.2.2: the server may ask for a smaller window if it was told that it can."""
        if answer is True:
            raise InvalidParameterValue("client_max_window_bits", None)
        offered = self.client_max_window_bits
        largest = 15 if offered is None or offered is True else offered
        if not answer:
            return largest
        if offered is None:
            raise NegotiationError("unexpected client_max_window_bits")
        if answer == 8:
            raise NegotiationError("unsupported client_max_window_bits = 8, use 9")  # zlib can't
        if answer > largest:
            raise NegotiationError("unsupported client_max_window_bits")
        return answer


class ServerPerMessageDeflateFactory(ServerExtensionFactory):
    """Negotiates permessage-deflate for a server.

    Args:
        server_no_context_takeover: compress each message without reference to those before it.
        client_no_context_takeover: ask the client to do so.
        server_max_window_bits: largest window of this side, as its logarithm: 9 to 15.
        client_max_window_bits: ask the client for a window of at most this size, 8 to 15, if it can.
        compress_settings: arguments for :func:`zlib.compressobj`, ``wbits`` excepted.
        require_client_max_window_bits: decline clients that can't.
        compress_all: True compresses every message, also one that is short or becomes longer. Some peers take no other
            once compression is agreed on. None means False, or True behind :mod:`trunkline.compat`.

    Raises:
        ValueError: if a window size is outside its range, or ``compress_settings`` can't be used.
    """

    name = NAME

    def __init__(
        self,
        server_no_context_takeover: bool = False,
        client_no_context_takeover: bool = False,
        server_max_window_bits: int | None = None,
        client_max_window_bits: int | None = None,
        compress_settings: Mapping[str, Any] | None = None,
        require_client_max_window_bits: bool = False,
        *,
        compress_all: bool | None = None,
    ) -> None:
        if server_max_window_bits is not None:
            check_window_bits("server_max_window_bits", server_max_window_bits, 9)
        if client_max_window_bits is not None:
            check_window_bits("client_max_window_bits", client_max_window_bits, 8)
        elif require_client_max_window_bits:
            raise ValueError(
                "require_client_max_window_bits is enabled, but client_max_window_bits isn't configured",
            )
        _check_settings(compress_settings, "server_max_window_bits")
        self.server_no_context_takeover = server_no_context_takeover
        self.client_no_context_takeover = client_no_context_takeover
        self.server_max_window_bits = server_max_window_bits
        self.client_max_window_bits = client_max_window_bits
        self.compress_settings = compress_settings
        self.compress_all = COMPRESS_ALL if compress_all is None else compress_all
        self.require_client_max_window_bits = require_client_max_window_bits

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        """Return the parameters to answer with, and the extension that they describe.

        Args:
            params: the parameters in the client's offer.
            accepted_extensions: the extensions accepted before this one.

        Raises:
            NegotiationError: to decline the offer (RFC 7692 section 7.1).
        """
        if any(extension.name == self.name for extension in accepted_extensions):
            raise NegotiationError(f"skipped duplicate {self.name}")
        offer = _Parameters.parse(params)
        answer = _Parameters(
            self.server_no_context_takeover or offer.server_no_context_takeover,
            self.client_no_context_takeover or offer.client_no_context_takeover,
            self._server_window_bits(offer.server_max_window_bits),
            self._client_window_bits(offer.client_max_window_bits),
        )
        extension = PerMessageDeflate(
            answer.client_no_context_takeover,
            answer.server_no_context_takeover,
            answer.client_max_window_bits or 15,
            answer.server_max_window_bits or 15,
            self.compress_settings,
            self.compress_all,
        )
        return answer.build(), extension

    def _server_window_bits(self, offer: int | bool | None) -> int | None:
        """Section 7.1.2.1: at most what the client asks for."""
        if offer is True:
            raise InvalidParameterValue("server_max_window_bits", None)
        if offer == 8:
            raise NegotiationError("unsupported server_max_window_bits = 8, use 9")  # zlib can't
        return min(filter(None, (offer, self.server_max_window_bits)), default=None)

    def _client_window_bits(self, offer: int | bool | None) -> int | None:
        """Section 7.1.2.2: nothing may be asked of a client that doesn't offer the parameter."""
        if not offer:
            if self.require_client_max_window_bits:
                raise NegotiationError("required client_max_window_bits")
            return None
        sizes = (None if offer is True else offer, self.client_max_window_bits)
        return min(filter(None, sizes), default=None)


@dataclasses.dataclass
class _Parameters:
    """The parameters of an offer or an answer (RFC 7692 section 7.1); a window size of True is one without a value."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None

    @classmethod
    def parse(cls, params: Sequence[ExtensionParameter]) -> _Parameters:
        """Read parameters.

        Raises:
            NegotiationError: if one is unknown, given twice, or has a value that it can't have.
        """
        settings: dict[str, Any] = {}
        for name, value in params:
            if name in settings:
                raise DuplicateParameter(name)
            if name in ("server_no_context_takeover", "client_no_context_takeover"):
                valid = value is None
            elif name in ("server_max_window_bits", "client_max_window_bits"):
                valid = value is None or value in _WINDOW_BITS
            else:
                raise InvalidParameterName(name)
            if not valid:
                raise InvalidParameterValue(name, value)
            settings[name] = True if value is None else _WINDOW_BITS[value]
        return cls(**settings)

    def build(self) -> list[ExtensionParameter]:
        """Write parameters, those that are set."""
        return [
            (name, None if value is True else str(value))
            for name, value in vars(self).items()
            if value is not None and value is not False
        ]


def enable_client_permessage_deflate(
    extensions: Sequence[ClientExtensionFactory] | None, compress_all: bool | None = None
) -> Sequence[ClientExtensionFactory]:
    """Offer permessage-deflate with the default settings, unless it is among `extensions` already."""
    extensions = extensions or []
    if any(factory.name == NAME for factory in extensions):
        return extensions
    factory = ClientPerMessageDeflateFactory(compress_settings=COMPRESS_SETTINGS, compress_all=compress_all)
    return [*extensions, factory]


def enable_server_permessage_deflate(
    extensions: Sequence[ServerExtensionFactory] | None, compress_all: bool | None = None
) -> Sequence[ServerExtensionFactory]:
    """Accept permessage-deflate with the default settings, unless it is among `extensions` already."""
    extensions = extensions or []
    if any(factory.name == NAME for factory in extensions):
        return extensions
    factory = ServerPerMessageDeflateFactory(
        False, False, WINDOW_BITS, WINDOW_BITS, COMPRESS_SETTINGS, compress_all=compress_all
    )
    return [*extensions, factory]


def _check_settings(settings: Mapping[str, Any] | None, window_bits: str) -> None:
    if settings is None:
        return
    if "wbits" in settings:
        raise ValueError(f"compress_settings must not include wbits, set {window_bits} instead")
    if "zdict" in settings:
        raise ValueError("compress_settings must not include zdict: the peer doesn't have it")
    try:
        zlib.compressobj(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"compress_settings is {settings!r}: zlib.compressobj() doesn't take it: {error}") from error

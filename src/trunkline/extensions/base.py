"""The classes from which an extension derives."""

from __future__ import annotations

from collections.abc import Sequence

from ..frames import Frame
from ..typing import ExtensionName, ExtensionParameter

__all__ = ["ClientExtensionFactory", "Extension", "ServerExtensionFactory"]


class Extension:
    """An extension at work on one connection."""

    name: ExtensionName
    """Name of the extension (RFC 6455 section 9.1)."""

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Return what a received frame means.

        Args:
            frame: the frame as it arrived, or as the previous extension decoded it.
            max_size: limit of the payload after decoding, in bytes; None for no limit.

        Raises:
            PayloadTooBig: if the payload exceeds ``max_size``.
        """
        raise NotImplementedError

    def encode(self, frame: Frame) -> Frame:
        """Return the frame to send for ``frame``."""
        raise NotImplementedError


class ClientExtensionFactory:
    """Negotiates an extension for a client."""

    name: ExtensionName
    """Name of the extension (RFC 6455 section 9.1)."""

    def get_request_params(self) -> Sequence[ExtensionParameter]:
        """Return the parameters to offer."""
        raise NotImplementedError

    def process_response_params(
        self,
        params: Sequence[ExtensionParameter],
        accepted_extensions: Sequence[Extension],
    ) -> Extension:
        """Return the extension that the server's answer describes.

        Args:
            params: the parameters in the answer.
            accepted_extensions: the extensions accepted before this one.

        Raises:
            NegotiationError: if the answer can't be accepted.
        """
        raise NotImplementedError


class ServerExtensionFactory:
    """Negotiates an extension for a server."""

    name: ExtensionName
    """Name of the extension (RFC 6455 section 9.1)."""

    def process_request_params(
        self,
        params: Sequence[ExtensionParameter],
        accepted_extensions: Sequence[Extension],
    ) -> tuple[list[ExtensionParameter], Extension]:
        """Return the parameters to answer with, and the extension that they describe.

        Args:
            params: the parameters in the client's offer.
            accepted_extensions: the extensions accepted before this one.

        Raises:
            NegotiationError: to decline the offer; the client's next one is tried.
        """
        raise NotImplementedError

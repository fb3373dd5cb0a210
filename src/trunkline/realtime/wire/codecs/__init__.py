"""The two encodings of the client protocol, and how a client says which one it speaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qs, urlsplit

from trunkline.realtime.wire.codecs.base import Codec, InvalidFrame, InvalidPayload
from trunkline.realtime.wire.codecs.json import JSONCodec
from trunkline.realtime.wire.codecs.protobuf import ProtobufCodec
from trunkline.typing import Subprotocol

__all__ = ["CODECS", "Codec", "InvalidFrame", "InvalidPayload", "codec_for", "select_subprotocol"]

JSON, PROTOBUF = Subprotocol("centrifuge-json"), Subprotocol("centrifuge-protobuf")


def select_subprotocol(connection: object, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Choose the encoding in the opening handshake; an argument of `trunkline.serve`.

    A client that offers none speaks JSON.
    """
    return next((each for each in offered if each in (JSON, PROTOBUF)), None)


#: By name.
CODECS: Final[dict[str, Codec]] = {each.name: each for each in (JSONCodec(), ProtobufCodec())}


def codec_for(subprotocol: str | None, path: str) -> Codec:
    """The encoding that a client wants.

    Args:
        subprotocol: what the opening handshake agreed on.
        path: of the request, with its query: `?format=protobuf` and `?cf_protocol=protobuf` ask for Protobuf, too.
    """
    query = parse_qs(urlsplit(path).query) if "?" in path else {}
    asked = [*query.get("format", ()), *query.get("cf_protocol", ())]
    return CODECS["protobuf" if subprotocol == PROTOBUF or "protobuf" in asked else "json"]

"""Publications, joins and leaves as bytes that nodes send to each other: arrays of MessagePack.

Nodes of different versions talk to each other during a deploy: elements are only ever added at the end, with a default.
"""

from __future__ import annotations

from typing import Final

import msgspec

from trunkline.realtime.publication import ClientInfo, Publication

__all__ = ["CUT", "JOIN", "LEAVE", "PUBLICATION", "Envelope", "open_envelope", "seal", "seal_publication"]

PUBLICATION: Final = 0
JOIN: Final = 1
LEAVE: Final = 2
CUT: Final = 3  # the history was removed


class Envelope(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One event of a channel.

    Attributes:
        kind: `PUBLICATION`, `JOIN`, `LEAVE` or `CUT`.
        data, info, tags, key: those of the publication; `info` of a join or leave.
        size: publications to keep.
        ttl: milliseconds to keep them.
        time: of the publication, where the broker doesn't know it by itself.
        previous: offset of the newest publication that was removed, where the removal has an offset of its own.
    """

    kind: int
    data: bytes = b""
    info: ClientInfo | None = None
    tags: dict[str, str] | None = None
    key: str = ""
    size: int = 0
    ttl: int = 0
    time: int = 0
    previous: int = 0

    def publication(self, offset: int, time: int) -> Publication:
        """The publication, with what the broker adds to it."""
        return Publication(self.data, offset, time, self.info, self.tags, self.key)


seal: Final = msgspec.msgpack.Encoder().encode
open_envelope: Final = msgspec.msgpack.Decoder(Envelope).decode


def seal_publication(publication: Publication, size: int = 0, ttl: int = 0, time: int = 0) -> bytes:
    """A publication in its envelope. `ttl`, `time`: milliseconds."""
    data, info, tags, key = publication.data, publication.info, publication.tags, publication.key
    return seal(Envelope(PUBLICATION, data, info, tags, key, size, ttl, time))

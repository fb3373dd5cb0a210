"""Publications of the history as replies have them, so that the clients that come back together share them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

from trunkline.realtime import codes
from trunkline.realtime.codes import Refused
from trunkline.realtime.publication import Publication
from trunkline.realtime.wire.codecs.base import Codec, InvalidPayload

__all__ = ["Told"]

MOST: Final = 1 << 21  # bytes
OVERHEAD: Final = 512  # bytes that each takes besides its own


class Told:
    """Encodes publications, and keeps the newest results, each for one encoding.

    A broker that keeps its publications in memory gives the same objects to each client. Those of others are encoded
    each time.

    Args:
        most: bytes to keep.

    Attributes:
        size: bytes that are kept.
    """

    def __init__(self, most: int = MOST) -> None:
        self.size = 0
        self._most = most
        # The publication stays, so that no other one can have its id.
        self._kept: OrderedDict[tuple[int, str], tuple[Publication, Any, int]] = OrderedDict()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def tell(self, codec: Codec, publications: Iterable[Publication]) -> list[Any]:
        """Publications as they go into a reply.

        Raises:
            Refused: if one can't be said in this encoding. The client library would try again for ever after an error
                that is temporary.
        """
        try:
            return [self._tell(codec, each) for each in publications]
        except InvalidPayload as error:
            raise Refused(codes.NOT_AVAILABLE, str(error)) from None

    def _tell(self, codec: Codec, publication: Publication) -> Any:
        kept = self._kept.get((id(publication), codec.name))
        if kept is not None:
            return kept[1]
        encoded, size = codec.told(publication)
        self._keep((id(publication), codec.name), publication, encoded, size + OVERHEAD + len(publication.data))
        return encoded

    def _keep(self, key: tuple[int, str], publication: Publication, encoded: Any, size: int) -> None:
        if size > self._most // 4:
            return
        self._kept[key] = publication, encoded, size
        self.size += size
        while self.size > self._most:
            _, (_, _, oldest) = self._kept.popitem(last=False)
            self.size -= oldest

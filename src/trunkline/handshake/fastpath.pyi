from typing import Any

from trunkline.datastructures import Headers
from trunkline.extensions.base import Extension
from trunkline.typing import Subprotocol

MOST_TERMS: int

class Upgrade:
    head: bytes
    response: bytes
    remaining: bytes
    subprotocol: Subprotocol | None
    extensions: list[Extension]

class FastPath:
    def __init__(self, headers: Headers, **rules: Any) -> None: ...
    def __len__(self) -> int: ...
    def answer(self, data: bytes) -> Upgrade | None: ...

"""A drawing board for many. A late client sees it all, and a client that was away gets what was drawn meanwhile."""

from typing import Annotated

from msgspec import Meta, Struct
from website import run

from trunkline.realtime import Client, Limits, Realtime

STROKES = 2000  # kept on each board

Coordinate = Annotated[int, Meta(ge=0, le=1000)]


class Stroke(Struct):
    """A line through some points. The server refuses other data before any client sees it."""

    color: Annotated[str, Meta(pattern="^#[0-9a-f]{6}$")]
    points: Annotated[list[tuple[Coordinate, Coordinate]], Meta(min_length=1, max_length=500)]


rt = Realtime(limits=Limits(history=STROKES))
board = rt.channel("board:{name}", history=STROKES, ttl=24 * 3600, publish="subscribers")


@board.on_publish
def draw(client: Client, stroke: Stroke, name: str) -> Stroke:
    """Pass on what is a stroke, and nothing besides."""
    return stroke


if __name__ == "__main__":
    run(rt, "board.html")

"""Finds the publications that a client missed, and whether these are all. Pure functions.

A subscription begins between two publications, while others are under way. So it goes like this: from now on keep what
is delivered (`buffered`); then read the history, at whose `position` both meet. Everything up to it is in the history,
and everything after it is delivered (see `Broker`).
"""

from __future__ import annotations

from typing import NamedTuple

from trunkline.realtime.brokers.base import History
from trunkline.realtime.publication import Publication, StreamPosition

__all__ = ["Recovery", "begin", "recover", "recover_newest"]


class Recovery(NamedTuple):
    """Where a subscription begins.

    Attributes:
        publications: what the reply carries, oldest first.
        position: where the client stands before them.
        recovered: whether they are all that it missed.
        top: offset of the newest publication that it knows, or needn't know, afterwards: what is delivered up to here
            isn't for this client.
    """

    publications: list[Publication]
    position: StreamPosition
    recovered: bool
    top: int


def begin(position: StreamPosition) -> Recovery:
    """A client that wants nothing of the past: it gets what comes behind `position`."""
    return Recovery([], position, False, position.offset)


def recover(since: StreamPosition, history: History, buffered: list[Publication], limit: int) -> Recovery:
    """A client that was here before.

    Args:
        since: where it stood.
        history: what is kept after `since`, at least `limit` + 1 publications if there are so many.
        buffered: what was delivered since before the history was read.
        limit: publications that it may recover.
    """
    missed = _joined(history, buffered)
    if not history.complete or len(missed) > limit:
        return begin(history.position)
    top = missed[-1].offset if missed else history.position.offset
    return Recovery(missed, StreamPosition(since.offset, history.position.epoch), True, top)


def recover_newest(since: StreamPosition | None, history: History, buffered: list[Publication]) -> Recovery:
    """A client that only wants to know the newest publication, unless it does already.

    Args:
        since: where it stood; None if it comes for the first time.
        history: the newest publication.
        buffered: what was delivered since before the history was read.
    """
    newest = _joined(history, buffered)[-1:]
    position = StreamPosition(newest[0].offset if newest else history.position.offset, history.position.epoch)
    recovered = since is not None and bool(newest)  # an empty cache can't tell whether the client has what was in it
    return Recovery([] if since == position else newest, position, recovered, position.offset)


def _joined(history: History, buffered: list[Publication]) -> list[Publication]:
    """The publications in the history, and those that were delivered behind it."""
    return history.publications + [each for each in buffered if each.offset > history.position.offset]

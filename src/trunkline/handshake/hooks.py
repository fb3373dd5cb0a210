"""Functions of a program promise something about opening handshakes, and the server asks them less often.

A server gives ordinary handshakes to `FastPath` where no function has a say in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["by_offer", "for_pages", "goes_by_offer", "is_for_pages"]

Hook = TypeVar("Hook", bound=Callable[..., Any])


def for_pages(process_request: Hook) -> Hook:
    """Promise that a `process_request` returns None for each request that has an Upgrade header."""
    process_request.for_pages = True  # type: ignore[attr-defined]
    return process_request


def by_offer(select_subprotocol: Hook) -> Hook:
    """Promise that a `select_subprotocol` looks at nothing but the offer: its choice is kept for the next client."""
    select_subprotocol.by_offer = True  # type: ignore[attr-defined]
    return select_subprotocol


def is_for_pages(process_request: Callable[..., Any]) -> bool:
    return getattr(process_request, "for_pages", None) is True


def goes_by_offer(select_subprotocol: Callable[..., Any]) -> bool:
    return getattr(select_subprotocol, "by_offer", None) is True

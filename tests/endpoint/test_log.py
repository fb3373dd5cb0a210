"""The words for connections in a log."""

from __future__ import annotations

from typing import Any

import pytest

from trunkline.datastructures import Headers
from trunkline.endpoint.log import address_in_words, describe_end, describe_origin
from trunkline.http11 import Request


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        ("/run/chat.sock", "/run/chat.sock"),
        ("", "a Unix socket"),
        (b"", "a Unix socket"),
        (None, "an unknown peer"),
    ],
)
def test_addresses(address: Any, words: str) -> None:
    assert address_in_words(address) == words


@pytest.mark.parametrize(
    ("path", "words"), [(None, "127.0.0.1:80"), ("/", "127.0.0.1:80 /"), ("/a?token=b?c", "127.0.0.1:80 /a")]
)
def test_origins(path: str | None, words: str) -> None:
    request = None if path is None else Request(path, Headers())
    assert describe_origin(("127.0.0.1", 80), request) == words


@pytest.mark.parametrize(
    ("code", "words"), [(1000, "1000 (OK) after 2.0 s"), (None, "1006 (abnormal closure [internal]) after 2.0 s")]
)
def test_ends(code: int | None, words: str) -> None:
    assert describe_end(code, 1.96) == words

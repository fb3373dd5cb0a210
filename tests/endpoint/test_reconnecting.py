"""Whether and when a client connects again."""

import itertools

from trunkline.endpoint.reconnecting import backoff


def test_backoff() -> None:
    first, *delays = itertools.islice(backoff(5, 3, 10, 2), 5)
    assert 0 <= first < 5
    assert delays == [3, 6, 10, 10]

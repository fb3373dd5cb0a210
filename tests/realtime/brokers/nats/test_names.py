"""Any text is one part of a subject."""

import pytest

from trunkline.realtime.brokers.nats.names import Names, token, untoken


@pytest.mark.parametrize("name", ["", "a", "a.b", "*", ">", "%", "%41", "a b", "ä\n\x7f", "🙂", "$", "-"])
def test_names_come_back(name: str) -> None:
    part = token(name)
    assert untoken(part) == name
    assert not set(part) & set(b" .*>\r\n\t")
    assert Names("tl").kept(name) != Names("tl").anchor

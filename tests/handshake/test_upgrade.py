"""handshake.upgrade: the key, and what both sides check."""

import base64

import pytest

from trunkline.datastructures import Headers
from trunkline.exceptions import InvalidHeader, InvalidHeaderFormat, InvalidUpgrade
from trunkline.handshake.headers import get_header, require_header
from trunkline.handshake.upgrade import accept_key, check_upgrade, generate_key


def test_accept_key_of_the_rfc():
    # RFC 6455 section 1.3
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_keys_are_fresh():
    keys = {generate_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(base64.b64decode(key)) for key in keys} == {16}


@pytest.mark.parametrize(
    ("connection", "upgrade"),
    [(["Upgrade"], ["websocket"]), (["keep-alive, UPGRADE"], ["WebSocket"]), (["close", "upgrade"], ["websocket"])],
)
def test_upgrade(connection, upgrade):
    check_upgrade(Headers([*(("Connection", v) for v in connection), *(("Upgrade", v) for v in upgrade)]))


@pytest.mark.parametrize(
    ("connection", "upgrade", "error"),
    [
        ([], ["websocket"], "missing Connection header"),
        (["Upgrade"], [], "missing Upgrade header"),
        (["close"], ["websocket"], "invalid Connection header: close"),
        (["Upgrade"], ["h2c"], "invalid Upgrade header: h2c"),
        (["Upgrade"], ["websocket/13"], "invalid Upgrade header: websocket/13"),
        (["Upgrade"], ["websocket", "websocket"], "invalid Upgrade header: websocket, websocket"),
    ],
)
def test_no_upgrade(connection, upgrade, error):
    headers = Headers([*(("Connection", v) for v in connection), *(("Upgrade", v) for v in upgrade)])
    with pytest.raises(InvalidUpgrade) as info:
        check_upgrade(headers)
    assert str(info.value) == error


def test_upgrade_that_breaks_its_grammar():
    with pytest.raises(InvalidHeaderFormat):
        check_upgrade(Headers({"Connection": "Upgrade", "Upgrade": "web socket"}))


def test_get_and_require():
    headers = Headers([("A", "1"), ("B", "1"), ("b", "2")])
    assert get_header(headers, "a") == require_header(headers, "a") == "1"
    assert get_header(headers, "c") is None
    with pytest.raises(InvalidHeader, match="missing c header"):
        require_header(headers, "c")
    with pytest.raises(InvalidHeader, match="invalid B header: multiple values"):
        get_header(headers, "B")

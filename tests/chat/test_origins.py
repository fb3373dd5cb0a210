import socket

import pytest

from trunkline.chat.origins import is_welcome


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "localhost:8765"),
        (None, ""),
        ("http://localhost:8765", "localhost:8765"),
        ("http://LOCALHOST:8765", "localhost:8765"),
        ("http://127.0.0.1:8765", "127.0.0.1:8765"),
        ("http://192.168.1.20:8765", "192.168.1.20:8765"),
        ("http://[::1]:8765", "[::1]:8765"),
        ("https://127.0.0.1", "127.0.0.1:443"),
        ("http://localhost", "localhost"),
        (f"http://{socket.gethostname()}:8765", f"{socket.gethostname()}:8765"),
    ],
)
def test_our_own_page_and_what_is_no_page_are_welcome(origin: str | None, host: str) -> None:
    assert is_welcome(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "localhost:8765"),
        ("http://localhost:9999", "localhost:8765"),
        ("http://localhost.evil.example:8765", "localhost:8765"),
        ("null", "localhost:8765"),
        ("", "localhost:8765"),
        ("http://localhost:port", "localhost:8765"),
        ("http://[::1:8765", "[::1:8765"),
        ("", ""),
        ("file://", ""),
        # DNS rebinding: the page's own name points here
        ("http://evil.example:8765", "evil.example:8765"),
    ],
)
def test_foreign_pages_are_refused(origin: str, host: str) -> None:
    assert not is_welcome(origin, host)


def test_more_origins_can_be_welcome() -> None:
    allowed = ["https://Chat.example.com/"]
    assert is_welcome("https://chat.example.com", "10.0.0.7:8765", allowed)
    assert not is_welcome("http://chat.example.com", "10.0.0.7:8765", allowed)

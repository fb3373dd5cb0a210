"""Functions promise something only where the program says so."""

from unittest.mock import MagicMock

from trunkline.handshake.hooks import by_offer, for_pages, goes_by_offer, is_for_pages


def test_a_function_promises_what_it_is_marked_with() -> None:
    def page(connection: object, request: object) -> None: ...

    def select(connection: object, offered: object) -> None: ...

    assert not is_for_pages(page)
    assert not goes_by_offer(select)
    assert for_pages(page) is page
    assert by_offer(select) is select
    assert is_for_pages(page)
    assert goes_by_offer(select)
    assert not goes_by_offer(page)
    assert not is_for_pages(select)


def test_a_mock_promises_nothing() -> None:
    assert not is_for_pages(MagicMock())
    assert not goes_by_offer(MagicMock())

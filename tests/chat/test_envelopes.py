import pytest

from trunkline.chat.envelopes import Hello, Say, decode


def test_the_type_tells_envelopes_apart() -> None:
    assert decode('{"type": "hello", "name": "Ada"}') == Hello("Ada")
    assert decode('{"type": "message", "id": "1", "text": "hi"}') == Say("1", "hi")


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "hello",
        "[]",
        "{}",
        '{"type": "welcome"}',
        '{"type": "hello"}',
        '{"type": "hello", "name": 7}',
        '{"type": "message", "id": "", "text": "hi"}',
        '{"type": "message", "id": "1", "text": ""}',
        '{"type": "message", "id": "' + 65 * "x" + '", "text": "hi"}',
        '{"type": "hello", "name": "\\ud800"}',
        b'{"type": "hello", "name": "Ada"}',
        "[" * 5000,
    ],
)
def test_what_is_no_envelope_is_a_value_error(bad: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(bad)

import http
from typing import Any

import pytest

from trunkline.frames import Close
from trunkline.realtime import codes
from trunkline.realtime.codes import DISCONNECTS, ERRORS, UNSUBSCRIBES, Disconnected, Refused


def test_client_libraries_come_back_unless_the_code_says_otherwise() -> None:
    assert all(codes.reconnects(code) for code in (1001, 3000, 3008, 3499, 4000, 4499))
    assert not any(codes.reconnects(code) for code in (3500, 3503, 3999, 4500, 4999))
    assert codes.resubscribes(2500)
    assert not codes.resubscribes(2000)


@pytest.mark.parametrize("code", DISCONNECTS)
def test_every_disconnect_can_be_sent(code: int) -> None:
    Close(code, DISCONNECTS[code]).serialize()
    assert Disconnected(code).reason == DISCONNECTS[code]


@pytest.mark.parametrize("code", ERRORS)
def test_errors_have_their_text_and_say_whether_to_try_again(code: int) -> None:
    refused = Refused(code)
    assert (refused.message, refused.temporary) == ERRORS[code]
    assert str(refused) == f"{code}: {refused.message}"


def test_own_codes() -> None:
    assert (Refused(1234, "no", True).message, Refused(1234, "no", True).temporary) == ("no", True)
    assert Refused(1234).message == "refused"
    assert Disconnected(4001, "bye").reason == "bye"
    assert (Refused(http.HTTPStatus.FORBIDDEN).code, type(Refused(http.HTTPStatus.FORBIDDEN).code)) == (403, int)
    assert set(UNSUBSCRIBES) == {2000, 2500, 2501, 2502}


@pytest.mark.parametrize(
    ("code", "message", "error"),
    [
        (0, None, ValueError),
        (99, None, ValueError),
        (-1, None, ValueError),
        (1 << 32, None, ValueError),
        ("103", None, TypeError),
        (True, None, TypeError),
        (403, 5, TypeError),
        (403, b"no", TypeError),
        (403, "half an emoji: \ud83d", ValueError),
    ],
)
def test_errors_that_clients_cannot_be_told(code: Any, message: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Refused(code, message)


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (5000, None, ValueError),
        (999, None, ValueError),
        (0, None, ValueError),
        (-1, None, ValueError),
        (1004, None, ValueError),
        (1005, None, ValueError),
        (1006, None, ValueError),
        (1015, None, ValueError),
        (2999, None, ValueError),
        (1 << 16, None, ValueError),
        ("3503", None, TypeError),
        (3503.0, None, TypeError),
        (None, None, TypeError),
        (True, None, TypeError),
        (3503, b"no", TypeError),
        (3503, "half an emoji: \ud83d", ValueError),
    ],
)
def test_closes_that_cannot_be_sent(code: Any, reason: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        codes.reason_for(code, reason)
    with pytest.raises(error):
        Disconnected(code, reason)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 3999, 4000, 4999, http.HTTPStatus.OK * 20])
def test_closes_that_can_be_sent(code: int) -> None:
    Close(code, Disconnected(code).reason).serialize()


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [
        (4501, None, "disconnected"),
        (4501, "", "disconnected"),
        (3999, None, "disconnected"),
        (4001, None, ""),
        (3503, None, "force disconnect"),
        (3503, "", "force disconnect"),
        (4501, "bye", "bye"),
        (4001, "7", "disconnected: 7"),
        (3011, "7", "force reconnect: 7"),
        (4001, '"bye"', 'disconnected: "bye"'),
        (4001, "null", "disconnected: null"),
        (4001, " [] ", "disconnected:  [] "),
        (4001, '{"why": "x"}', 'disconnected: {"why": "x"}'),
        (4001, '{"reason": "x", "reconnect": false}', '{"reason": "x", "reconnect": false}'),
        (4001, "7 days", "7 days"),
        (4001, "1" * 124, "disconnected: " + "1" * 109),
        (4001, "é" * 100, "é" * 61),
    ],
)
def test_reasons_by_which_client_libraries_do_what_the_code_says(code: int, reason: str | None, told: str) -> None:
    assert codes.reason_for(code, reason) == told

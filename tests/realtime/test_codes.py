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
    assert set(UNSUBSCRIBES) == {2000, 2500, 2501, 2502}

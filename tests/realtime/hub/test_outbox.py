from hypothesis import given
from hypothesis import strategies as st

from trunkline.core.writer import PreparedMessage
from trunkline.realtime.hub.outbox import Outbox


def message(text: str) -> PreparedMessage:
    return PreparedMessage(text)


def drain(outbox: Outbox, most: int = 1000) -> list[str]:
    sent: list[str] = []

    def send(message: PreparedMessage) -> bool:
        if len(sent) == most:
            return False
        sent.append(message.payload.decode())
        return True

    outbox.flush(send)
    return sent


def test_messages_leave_in_order_as_far_as_they_are_taken() -> None:
    outbox = Outbox(100)
    for text in "abc":
        outbox.append(message(text))
    assert (outbox.size, len(outbox)) == (3, 3)
    assert drain(outbox, 2) == ["a", "b"]
    assert (outbox.size, len(outbox)) == (1, 1)
    assert drain(outbox) == ["c"]
    assert outbox.size == 0


def test_what_left_is_told_and_what_was_dropped_is_not() -> None:
    outbox, left = Outbox(3), []
    outbox.append(message("a"), lambda: left.append("a"))
    for text in "bcde":
        outbox.append_droppable(message(text), "room", sent=lambda text=text: left.append(text))  # type: ignore[misc]
    outbox.append_droppable(message("x"), "room", "key", lambda: left.append("x"))
    outbox.append_droppable(message("y"), "room", "key", lambda: left.append("y"))
    outbox.append_answer(message("answer"))
    assert left == []
    assert drain(outbox, 1) == ["a"]
    assert left == ["a"]
    assert drain(outbox) == ["e", "y", "answer"]
    assert left == ["a", "e", "y"]


def test_full_is_what_is_more_than_the_limit() -> None:
    outbox = Outbox(4)
    outbox.append(message("1234"))
    assert not outbox.full
    outbox.append(message("5"))
    assert outbox.full


def test_the_oldest_of_the_channel_is_dropped_and_nothing_else() -> None:
    outbox = Outbox(6)
    outbox.append(message("r1"))
    assert outbox.append_droppable(message("a1"), "a") == 0
    assert outbox.append_droppable(message("b1"), "b") == 0
    assert outbox.append_droppable(message("a2"), "a") == 1
    assert drain(outbox) == ["r1", "b1", "a2"]


def test_what_is_too_large_itself_is_dropped() -> None:
    outbox = Outbox(3)
    assert outbox.append_droppable(message("a1"), "a") == 0
    assert outbox.append_droppable(message("12345"), "a") == 2
    assert len(outbox) == outbox.size == 0


def test_only_the_latest_of_a_key_waits_and_stands_last() -> None:
    outbox = Outbox(100)
    assert outbox.append_droppable(message("x1"), "a", "x") == 0
    assert outbox.append_droppable(message("y1"), "a", "y") == 0
    assert outbox.append_droppable(message("x1 of b"), "b", "x") == 0
    assert outbox.append_droppable(message("x2"), "a", "x") == 1
    assert drain(outbox) == ["y1", "x1 of b", "x2"]
    assert outbox.append_droppable(message("x3"), "a", "x") == 0  # what was sent can't be replaced


@given(
    st.lists(
        st.tuples(st.sampled_from(["reply", "a", "b", "flush"]), st.integers(1, 9), st.sampled_from(["", "x", "y"]))
    )
)
def test_nothing_is_lost_uncounted_or_reordered_and_droppable_messages_keep_the_limit(
    steps: list[tuple[str, int, str]],
) -> None:
    outbox = Outbox(20)
    put: list[str] = []
    sent: list[str] = []
    dropped = 0
    for number, (kind, size, key) in enumerate(steps):
        text = f"{kind}{number}".ljust(size, ".")
        if kind == "flush":
            sent += drain(outbox, size)
            continue
        put.append(text)
        if kind == "reply":
            outbox.append(message(text))
            if outbox.full:
                return  # then the client is disconnected
        else:
            dropped += outbox.append_droppable(message(text), kind, key)
        assert not outbox.full
    sent += drain(outbox)
    assert len(sent) + dropped == len(put)
    assert sent == [each for each in put if each in set(sent)]
    assert all(each in sent for each in put if each.startswith("reply"))
    assert outbox.size == len(outbox) == 0

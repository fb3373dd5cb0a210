from hypothesis import given
from hypothesis import strategies as st

from trunkline.realtime.brokers import History
from trunkline.realtime.hub.recovery import begin, recover, recover_newest
from trunkline.realtime.publication import Publication, StreamPosition


def publications(*offsets: int) -> list[Publication]:
    return [Publication(b"%d" % offset, offset) for offset in offsets]


def history(*offsets: int, top: int, complete: bool = True) -> History:
    return History(publications(*offsets), StreamPosition(top, "e"), complete)


def test_who_wants_nothing_of_the_past_begins_at_the_top() -> None:
    assert begin(StreamPosition(5, "e")) == ([], (5, "e"), False, 5)


def test_what_was_missed_comes_from_the_history_and_from_what_was_delivered_meanwhile() -> None:
    recovery = recover(StreamPosition(2, "e"), history(3, 4, top=4), publications(4, 5, 6), 300)
    assert [each.offset for each in recovery.publications] == [3, 4, 5, 6]
    assert recovery.recovered
    assert recovery.position == (2, "e")  # the client advances through the publications
    assert recovery.top == 6


def test_nothing_missed() -> None:
    assert recover(StreamPosition(4, "e"), history(top=4), [], 300) == ([], (4, "e"), True, 4)


def test_what_isnt_complete_isnt_recovered_and_begins_at_the_top() -> None:
    recovery = recover(StreamPosition(2, "e"), history(8, 9, top=9, complete=False), publications(10), 300)
    assert recovery == ([], (9, "e"), False, 9)


def test_too_much_isnt_recovered() -> None:
    assert recover(StreamPosition(0, "e"), history(1, 2, top=2), [], 2).recovered
    assert not recover(StreamPosition(0, "e"), history(1, 2, 3, top=3), [], 2).recovered
    assert not recover(StreamPosition(0, "e"), history(1, 2, top=2), publications(3), 2).recovered


def test_publications_without_history_are_no_part_of_it() -> None:
    recovery = recover(StreamPosition(1, "e"), history(2, top=2), publications(0, 3, 0), 300)
    assert [each.offset for each in recovery.publications] == [2, 3]


def test_the_newest_is_enough_where_only_that_matters() -> None:
    first = recover_newest(None, history(4, top=4), [])
    assert [each.offset for each in first.publications] == [4]
    assert not first.recovered
    again = recover_newest(StreamPosition(2, "e"), history(4, top=4), publications(5))
    assert [each.offset for each in again.publications] == [5]
    assert again.recovered
    assert again.position == (5, "e")
    known = recover_newest(StreamPosition(4, "e"), history(4, top=4), [])
    assert known == ([], (4, "e"), True, 4)


def test_an_empty_cache_has_nothing_to_recover() -> None:
    assert recover_newest(StreamPosition(2, "old"), history(top=0), []) == ([], (0, "e"), False, 0)
    assert recover_newest(StreamPosition(0, "e"), history(top=0), []) == ([], (0, "e"), False, 0)
    assert recover_newest(StreamPosition(4, "e"), history(top=4), []) == ([], (4, "e"), False, 4)


@given(
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(0, 5),
    st.integers(1, 30),
)
def test_all_is_there_once_and_in_order_or_it_isnt_recovered(
    since: int, oldest: int, read_at: int, now: int, overlap: int, limit: int
) -> None:
    """A stream of 1..now, of which 1..oldest are forgotten; the history was read when `read_at` was the newest, and
    buffering had begun `overlap` publications before.
    """
    now = max(now, read_at)
    oldest = min(oldest, read_at)
    since = min(since, read_at)
    kept = range(max(since, oldest) + 1, read_at + 1)
    recovery = recover(
        StreamPosition(since, "e"),
        history(*kept[: limit + 1], top=read_at, complete=since >= oldest),
        publications(*range(max(read_at - overlap, 0) + 1, now + 1)),
        limit,
    )
    if recovery.recovered:
        assert [each.offset for each in recovery.publications] == list(range(since + 1, now + 1))
        assert recovery.top == now
    else:
        assert not recovery.publications
        assert since < oldest or now - since > limit
        assert recovery.top == read_at

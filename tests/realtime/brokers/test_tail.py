"""A node delivers in order and without holes, and reads the publications that it missed."""

import pytest

from trunkline.realtime.brokers.tail import RING, WAITING, Arrival, Slice, Tail
from trunkline.realtime.publication import Publication, StreamPosition

LONG = 10**9


def publication(offset: int, time: int = 0) -> Publication:
    return Publication(b"%d" % offset, offset, time)


def arrival(offset: int, epoch: str = "e", size: int = 100, ttl: int = LONG) -> Arrival:
    return Arrival(epoch, offset - 1, offset, publication(offset), size, ttl)


def cut(offset: int, epoch: str = "e") -> Arrival:
    return Arrival(epoch, offset, offset, None, 0, 0)


def read(first: int, top: int, *, base: int = 0, epoch: str = "e") -> Slice:
    """A slice with the publications from the first to the newest; those up to `base` are forgotten."""
    return Slice(
        [publication(each) for each in range(max(first, base + 1), top + 1)],
        StreamPosition(top, epoch),
        base,
        100,
        LONG,
    )


def tail(top: int, epoch: str = "e") -> Tail:
    return Tail(StreamPosition(top, epoch))


def offsets(publications: list[Publication]) -> list[int]:
    return [each.offset for each in publications]


def since(tail: Tail, offset: int, epoch: str = "e", now: int = 1) -> tuple[list[int], bool] | None:
    """Offsets that memory has after a position, and whether they are complete; None if it can't say."""
    answer = tail.history(StreamPosition(offset, epoch), None, False, now)
    return None if answer is None else (offsets(answer.publications), answer.complete)


def test_what_follows_is_delivered_once() -> None:
    node = tail(4)
    assert [node.take(arrival(offset)) is not None for offset in (4, 5, 6, 6, 5)] == [False, True, True, False, False]
    assert node.position == (6, "e")
    assert not node.healing


def test_what_was_missed_is_read_and_comes_before_what_waited() -> None:
    node = tail(4)
    assert node.take(arrival(7)) is None
    assert node.healing
    assert node.take(arrival(8)) is None
    lost, new = node.healed(read(5, 7))
    assert (lost, offsets(new), node.healing) == (False, [5, 6, 7, 8], False)


def test_a_hole_behind_what_was_read_is_read_again() -> None:
    node = tail(4)
    node.take(arrival(7))
    node.take(arrival(9))
    lost, new = node.healed(read(5, 7))
    assert (lost, offsets(new), node.healing) == (False, [5, 6, 7], True)
    lost, new = node.healed(read(8, 9))
    assert (lost, offsets(new), node.healing) == (False, [8, 9], False)


def test_more_than_may_wait_is_read_again() -> None:
    node = tail(0)
    last = WAITING + 10
    for offset in range(2, last):
        assert node.take(arrival(offset)) is None
    lost, new = node.healed(read(1, 5))
    assert (lost, offsets(new), node.healing) == (False, [1, 2, 3, 4, 5], True)
    lost, new = node.healed(read(6, last))
    assert (lost, len(new), node.healing) == (False, last - 5, False)


def test_what_is_kept_no_more_is_lost_and_the_rest_delivered() -> None:
    node = tail(4)
    node.take(arrival(9))
    lost, new = node.healed(read(5, 9, base=7))
    assert (lost, offsets(new), node.position) == (True, [8, 9], (9, "e"))
    assert since(node, 7) == ([8, 9], True)
    assert since(node, 4) == ([8, 9], False)


@pytest.mark.parametrize("offset", [1, 5, 6, 9])
def test_another_epoch_is_a_loss_and_all_of_it_is_new(offset: int) -> None:
    node = tail(5)
    assert node.take(arrival(offset, "new")) is None
    assert node.take(arrival(offset + 1, "new")) is None
    lost, new = node.healed(read(6, offset, epoch="new"))
    assert (lost, new, node.healing) == (True, [], True)
    lost, new = node.healed(read(1, offset, epoch="new"))
    assert (lost, offsets(new), node.position) == (False, [*range(1, offset + 2)], (offset + 1, "new"))
    assert since(node, 5, "e") == ([], False)


def test_latecomers_of_an_old_epoch_change_nothing() -> None:
    node = tail(5)
    node.take(arrival(1, "new"))
    node.take(arrival(6))
    node.healed(read(6, 1, epoch="new"))
    assert offsets(node.healed(read(1, 1, epoch="new"))[1]) == [1]
    assert node.healing  # it may have been of a newer one
    assert node.healed(read(2, 1, base=0, epoch="new")) == (False, [])
    assert not node.healing


def test_a_position_that_went_back_is_a_loss() -> None:
    node = tail(5)
    node.healing = True
    lost, new = node.healed(read(1, 3))
    assert (lost, new, node.position) == (True, [], (3, "e"))
    assert offsets([publication for each in [arrival(4)] if (publication := node.take(each))]) == [4]


def test_after_a_break_without_news_nothing_is_lost() -> None:
    node = tail(5)
    node.healing = True
    assert node.healed(Slice([], StreamPosition(5, "e"), 5, 100, LONG)) == (False, [])
    assert not node.healing


@pytest.mark.parametrize(("position", "lost"), [((0, ""), False), ((0, "e"), False), ((3, "e"), True)])
def test_one_that_never_saw_any_has_lost_what_there_is(position: tuple[int, str], lost: bool) -> None:
    node = Tail(StreamPosition())
    node.healing = True
    assert node.healed(Slice([], StreamPosition(*position), position[0], 0, 0)) == (lost, [])
    assert node.position == position


def test_one_that_never_saw_any_delivers_what_came_since() -> None:
    node = Tail(StreamPosition())
    node.healing = True
    node.take(arrival(3))
    node.take(arrival(4))
    lost, new = node.healed(read(1, 4))
    assert (lost, offsets(new), node.position) == (True, [3, 4], (4, "e"))
    first = Tail(StreamPosition())
    first.healing = True
    first.take(arrival(1))
    assert first.healed(read(1, 1))[0] is False


# Memory


def test_memory_answers_what_it_covers() -> None:
    node = tail(4)
    for offset in range(5, 8):
        node.take(arrival(offset))
    assert since(node, 4) == ([5, 6, 7], True)
    assert since(node, 6) == ([7], True)
    assert since(node, 7) == ([], True)
    assert since(node, 8) is None  # another node may know more
    assert since(node, 5, "other") == ([], False)
    assert since(node, 3) is None
    assert node.history(None, None, False, 1) is None
    answer = node.history(None, 0, False, 1)
    assert answer is not None
    assert answer.position == (7, "e")


def test_memory_says_nothing_while_something_is_missing_or_on_its_way() -> None:
    node = tail(4)
    node.known = 5
    assert since(node, 4) is None
    node.take(arrival(5))
    assert since(node, 4) == ([5], True)
    node.take(arrival(7))
    assert since(node, 4) is None


def test_older_publications_are_loaded() -> None:
    node = tail(4)
    for offset in (5, 6):
        node.take(arrival(offset))
    node.ring.load(read(2, 6, base=0), 5)
    assert since(node, 1) == ([2, 3, 4, 5, 6], True)
    assert since(node, 0) is None
    node.ring.load(read(1, 6), 7)
    assert since(node, 0) == ([1, 2, 3, 4, 5, 6], True)


def test_when_memory_has_all_it_says_what_is_incomplete() -> None:
    node = tail(9)
    node.ring.load(read(8, 9, base=7), RING)
    assert node.ring.whole
    assert since(node, 6) == ([8, 9], False)
    answer = node.history(StreamPosition(9, "e"), None, True, 1)
    assert answer is not None
    assert offsets(answer.publications) == [8]


def test_offsets_may_have_gaps() -> None:
    node = tail(4)
    for previous, offset in ((0, 10), (10, 30)):
        assert node.take(Arrival("e", previous, offset, publication(offset), 100, LONG)) is not None
    node.ring.load(Slice([publication(each) for each in (2, 10)], StreamPosition(10, "e"), 1, 100, LONG), RING)
    assert node.ring.whole
    assert since(node, 1) == ([2, 10, 30], True)
    assert since(node, 7) == ([10, 30], True)
    assert since(node, 0) == ([2, 10, 30], False)
    assert node.take(Arrival("e", 30, 50, None, 0, 0)) is None  # the history was removed
    assert node.position == (50, "e")
    assert since(node, 29) == ([], False)
    assert since(node, 30) == ([], True)
    assert node.take(Arrival("e", 50, 60, publication(60), 100, LONG)) is not None


def test_a_place_that_was_read_is_where_the_node_goes_on() -> None:
    node = tail(4)
    node.healing = True
    assert node.healed(Slice([], StreamPosition(9, "e"), 0, 100, LONG)) == (False, [])
    assert node.position == (9, "e")


def test_what_was_read_before_a_jump_is_of_no_use() -> None:
    node = tail(20)
    node.ring.load(read(1, 9), RING)
    assert since(node, 5) is None


def test_memory_forgets_with_size_time_and_removal() -> None:
    node = tail(0)
    for offset in range(1, 6):
        node.take(arrival(offset, size=3))
    assert since(node, 1) == ([3, 4, 5], False)
    node.take(arrival(6, size=2))
    assert since(node, 4) == ([5, 6], True)
    node.take(arrival(7, size=10, ttl=5))
    assert since(node, 6, now=4) == ([7], True)
    assert since(node, 6, now=5) == ([], False)
    node.take(arrival(8))
    node.take(cut(8))
    assert since(node, 7) == ([], False)
    assert since(node, 8) == ([], True)


def test_what_was_removed_during_a_break_is_forgotten() -> None:
    node = tail(0)
    node.take(arrival(1))
    node.take(arrival(2))
    node.healing = True
    node.healed(Slice([], StreamPosition(2, "e"), 2, 100, LONG))
    assert since(node, 1) == ([], False)
    assert since(node, 2) == ([], True)


def test_memory_is_bounded() -> None:
    node = tail(0)
    for offset in range(1, 3 * RING):
        node.take(arrival(offset, size=10**6))
    answer = since(node, 2 * RING - 1)
    assert answer is not None
    assert len(answer[0]) == RING
    assert since(node, 2 * RING - 2) is None

from trunkline.realtime.hub.bell import Bell


def test_each_that_listens_is_called_once() -> None:
    bell, calls = Bell(), list[str]()

    def first() -> None:
        calls.append("first")
        bell.listen(first)  # to look again; not in this turn

    def second() -> None:
        calls.append("second")

    bell.ring()
    bell.listen(first)
    bell.ring()
    assert calls == ["first"]
    bell.listen(second)
    bell.ignore(second)
    bell.ignore(second)
    bell.ring()
    assert calls == ["first", "first"]

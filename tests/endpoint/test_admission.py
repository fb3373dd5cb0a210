"""endpoint.admission: limits hold, and nothing of a refused or ended connection stays."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.datastructures import Headers
from trunkline.endpoint.admission import FULL, GREEDY, Admission, TooMany

HERE, THERE = ("192.0.2.1", 1000), ("192.0.2.2", 1000)


class Comer:
    """A connection, as far as its address goes."""

    def __init__(self, address: Any) -> None:
        self.remote_address = address


def enter(admission: Admission, comer: Comer, headers: Any = ()) -> TooMany | None:
    return admission.enter(comer, Headers(headers))


def test_as_many_connections_as_a_server_takes() -> None:
    admission = Admission(max_connections=2)
    first, second, third = (Comer(HERE) for _ in range(3))
    assert enter(admission, first) is enter(admission, second) is None
    assert enter(admission, third) is FULL
    admission.leave(third)
    assert admission.count == 2
    admission.leave(first)
    admission.leave(first)
    assert enter(admission, third) is None
    assert admission.count == 2


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (("192.0.2.1", 1), ("192.0.2.1", 2), True),
        (("192.0.2.1", 1), ("192.0.2.2", 1), False),
        (("2001:db8::1", 1, 0, 0), ("2001:db8::ffff:1", 2, 0, 0), True),  # one network of a customer
        (("2001:db8::1", 1, 0, 0), ("2001:db8:0:1::1", 2, 0, 0), False),
        (("::ffff:192.0.2.1", 1, 0, 0), ("192.0.2.1", 2), True),
        (("fe80::1%eth0", 1, 0, 2), ("fe80::2%eth0", 1, 0, 2), True),
        (("unknown", 0), ("unknown", 1), True),
        ("", "", False),  # a Unix socket: each peer may be another person
        (None, None, False),
    ],
)
def test_addresses_that_count_as_one(first: Any, second: Any, same: bool) -> None:
    admission = Admission(max_per_ip=1)
    former, later = Comer(first), Comer(second)
    assert enter(admission, former) is None
    assert enter(admission, later) is (GREEDY if same else None)
    admission.leave(former)
    admission.leave(later)
    assert enter(admission, Comer(second)) is None


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([HERE, THERE, ("2001:db8::1", 1, 0, 0), ""]))))
def test_the_count_is_that_of_a_list(steps: list[tuple[bool, Any]]) -> None:
    admission = Admission(5, 2)
    inside: list[Comer] = []
    for comes, address in steps:
        comer = Comer(address)
        same = [each for each in inside if each.remote_address == address]
        if comes:
            full, greedy = len(inside) >= 5, address != "" and len(same) >= 2
            assert enter(admission, comer) is (FULL if full else GREEDY if greedy else None)
            if not full and not greedy:
                inside.append(comer)
        elif same:
            inside.remove(same[0])
            admission.leave(same[0])
        assert admission.count == len(inside)
    for comer in inside:
        admission.leave(comer)
    assert admission.count == 0
    assert admission._by_network == {}


def test_a_client_behind_a_proxy() -> None:
    admission = Admission(max_per_ip=1, trusted_proxies=["127.0.0.1"])
    headers = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
    first, second = Comer(("127.0.0.1", 1)), Comer(("127.0.0.1", 2))
    assert enter(admission, first, headers) is None
    assert admission.clients[first] == (("192.0.2.1", 0), "https")
    assert enter(admission, second, headers) is GREEDY
    stranger = Comer(THERE)
    assert enter(admission, stranger, headers) is None
    assert stranger not in admission.clients


def test_connections_are_not_kept() -> None:
    admission = Admission(trusted_proxies=["127.0.0.1"])
    comer = Comer(("127.0.0.1", 1))
    assert enter(admission, comer, {"X-Forwarded-For": "192.0.2.1"}) is None
    admission.leave(comer)
    del comer
    gc.collect()
    assert len(admission.clients) == 0


@pytest.mark.parametrize("name", ["max_connections", "max_per_ip"])
def test_limits_that_make_no_sense(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0: it must be at least 1"):
        Admission(**{name: 0})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=rf"{name} is 1\.5: it must be an int"):
        Admission(**{name: 1.5})  # type: ignore[arg-type]

"""endpoint.admission: limits hold, and nothing of a refused or ended connection stays."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.datastructures import Headers
from trunkline.endpoint.admission import FULL, GREEDY, Admission

HERE, THERE = ("192.0.2.1", 1000), ("192.0.2.2", 1000)


def test_as_many_connections_as_a_server_takes() -> None:
    admission = Admission(max_connections=2)
    assert admission.enter(HERE) is None
    assert admission.enter(HERE) is None
    assert admission.enter(THERE) is FULL
    admission.leave(HERE)
    assert admission.enter(THERE) is None
    assert admission.count == 2


def test_as_many_connections_as_an_address_may_have() -> None:
    admission = Admission(max_per_ip=1)
    assert admission.enter(HERE) is None
    assert admission.enter(("192.0.2.1", 2000)) is GREEDY
    assert admission.enter(THERE) is None
    admission.leave(HERE)
    assert admission.enter(("192.0.2.1", 2000)) is None


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
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
    assert admission.enter(first) is None
    assert admission.enter(second) is (GREEDY if same else None)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([HERE, THERE, ("2001:db8::1", 1, 0, 0), ""]))))
def test_the_count_is_that_of_a_list(steps: list[tuple[bool, Any]]) -> None:
    admission = Admission(5, 2)
    inside: list[Any] = []
    for comes, address in steps:
        if comes:
            full, greedy = len(inside) >= 5, address != "" and inside.count(address) >= 2
            assert admission.enter(address) is (FULL if full else GREEDY if greedy else None)
            if not full and not greedy:
                inside.append(address)
        elif address in inside:
            inside.remove(address)
            admission.leave(address)
        assert admission.count == len(inside)
    for address in inside:
        admission.leave(address)
    assert admission.count == 0
    assert admission._by_network == {}


def test_a_client_behind_a_proxy() -> None:
    admission = Admission(trusted_proxies=["127.0.0.1"])
    headers = Headers({"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"})
    assert admission.find_client(("127.0.0.1", 1), headers) == (("192.0.2.1", 0), "https")
    assert admission.find_client(THERE, headers) == (THERE, None)


@pytest.mark.parametrize("name", ["max_connections", "max_per_ip"])
def test_limits_that_make_no_sense(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0: it must be at least 1"):
        Admission(**{name: 0})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=f"{name} is 1.5: it must be an int"):
        Admission(**{name: 1.5})  # type: ignore[arg-type]

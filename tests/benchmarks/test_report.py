import pytest

from benchmarks.report import markdown
from benchmarks.workloads import choose
from tests.benchmarks.samples import ENVIRONMENT, result

[ECHO] = choose(["echo-64x1-32"])


def test_bars_say_the_ratio_and_whether_it_is_enough() -> None:
    echo = result(ECHO.name, floor__epoll=[4], picows__uvloop=[5], trunkline__asyncio=[5], trunkline__uvloop=[8])
    page = markdown([(ECHO, echo)])
    assert "| `echo-64x1-32` | floor/epoll | 1.5 | 1.25 pass | 2.00 **fail** |" in page
    assert "| `echo-64x1-32` | picows/uvloop | 0.87 | 1.00 **fail** | 1.60 **fail** |" in page
    assert "| `echo-64x1-32` | websockets/uvloop | 0.28 | not measured | not measured |" in page


def test_peers_are_listed_from_the_cheapest_with_range_ratio_and_rate() -> None:
    echo = result(ECHO.name, websockets__uvloop=[30, 25, 40], trunkline__asyncio=[6], floor__epoll=[0.4])
    rows = [line for line in markdown([(ECHO, echo)]).splitlines() if " to " in line and line.startswith("|")]
    assert rows == [
        "| floor/epoll | 0.400 | 0.400 to 0.400 | 0.067 x | 2,500,000 |",
        "| **trunkline/asyncio** | 6.00 | 6.00 to 6.00 | 1.00 x | 166,667 |",
        "| websockets/uvloop | 30.0 | 25.0 to 40.0 | 5.00 x | 33,333 |",
    ]


def test_failures_are_told_with_their_reason() -> None:
    echo = result(ECHO.name, floor__epoll=[4])
    echo.failures["trunkline/asyncio"] = "No module named 'trunkline'"
    assert "trunkline/asyncio failed: `No module named 'trunkline'`" in markdown([(ECHO, echo)])


def test_page_says_where_it_was_measured() -> None:
    page = markdown([(ECHO, result(ECHO.name, floor__epoll=[4]))])
    assert (
        "2026-01-02T03:04:05+00:00, CPython 3.11.7, trunkline 1.0, websockets 17.4 (trunkline at commit abc1234, "
        in page
    )
    assert "its core compiled), Linux 6.1, 2 x a processor, load average 0.25 before the session." in page


def test_page_does_not_pass_off_rows_of_two_sessions_as_one() -> None:
    [other_row] = choose(["client-1"])
    other = result(other_row.name, floor__epoll=[4])
    other.environment = {**ENVIRONMENT, "commit": "def5678"}
    page = markdown([(ECHO, result(ECHO.name, floor__epoll=[4])), (other_row, other)])
    first, second = [line for line in page.splitlines() if "CPython" in line]
    assert "commit abc1234" in first
    assert first.endswith("before the session: `echo-64x1-32`.")
    assert "commit def5678" in second
    assert second.endswith("before the session: `client-1`.")


def test_there_is_no_page_without_results() -> None:
    with pytest.raises(ValueError, match="run `python -m benchmarks` first"):
        markdown([])

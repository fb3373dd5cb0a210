from benchmarks.report import markdown
from benchmarks.workloads import choose
from tests.benchmarks.samples import result

[ECHO] = choose(["echo-64x1-32"])


def test_bars_say_the_ratio_and_whether_it_is_enough() -> None:
    echo = result(ECHO.name, floor__epoll=[4], picows__uvloop=[5], trunkline__asyncio=[5], trunkline__uvloop=[8])
    page = markdown([(ECHO, echo)], "plots")
    assert "| `echo-64x1-32` | floor/epoll | 1.5 | 1.25 pass | 2.00 **miss** |  |  |" in page
    assert "| `echo-64x1-32` | picows/uvloop | 0.87 | 1.00 **miss** | 1.60 **miss** |  |  |" in page
    assert "| `echo-64x1-32` | websockets/uvloop | 0.28 | not measured | not measured |  |  |" in page


def test_peers_are_listed_from_the_cheapest_with_range_ratio_and_rate() -> None:
    echo = result(ECHO.name, websockets__uvloop=[30, 25, 40], trunkline__asyncio=[6], floor__epoll=[0.4])
    rows = [line for line in markdown([(ECHO, echo)], "plots").splitlines() if " to " in line and line.startswith("|")]
    assert rows == [
        "| floor/epoll | 0.400 | 0.400 to 0.400 | 0.067 x | 2,500,000 |",
        "| **trunkline/asyncio** | 6.00 | 6.00 to 6.00 | 1.00 x | 166,667 |",
        "| websockets/uvloop | 30.0 | 25.0 to 40.0 | 5.00 x | 33,333 |",
    ]


def test_failures_are_told_with_their_reason() -> None:
    echo = result(ECHO.name, floor__epoll=[4])
    echo.failures["trunkline/asyncio"] = "No module named 'trunkline'"
    assert "trunkline/asyncio failed: `No module named 'trunkline'`" in markdown([(ECHO, echo)], "plots")


def test_page_says_where_it_was_measured() -> None:
    page = markdown([(ECHO, result(ECHO.name, floor__epoll=[4]))], "plots")
    assert "`python -m benchmarks` on 2026-01-02T03:04:05+00:00, CPython 3.11.7, trunkline 1.0, websockets 17.4" in page
    assert ". trunkline was at commit abc1234, its core compiled. The machine had Linux 6.1, 2 x a processor" in page

"""tools/check_english.py, on texts with one fault each, and on texts without any."""

from pathlib import Path

import pytest

from tools import check_english

LONG = "The client " + "sends " * 24 + "data."
FINE = "The client " + "sends " * 22 + "data."


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.py", f"# {LONG}\n", "27 words, at most 25"),
        ("a.py", f'"""{LONG}"""\n', "27 words, at most 25"),
        ("a.py", f'def f():\n    """Do it.\n\n    {LONG}\n    """\n', "a.py:4: 27 words"),
        ("a.py", "x = 1  # Who waits is told.\n", "name the thing that acts"),
        ("a.py", "# The caller\n# waits. Somebody wakes it.\n", "a.py:1: name the thing that acts: Somebody wakes it."),
        ("a.py", "# This wakes up whoever waits.\n", "name the client, the caller, the task"),
        ("a.pyx", f"cdef int x  # {LONG}\n", "27 words"),
        ("a.pyx", 'cdef f():\n    """What it does."""\n', "a.pyx:2: name the thing that acts"),
        ("a.md", f"# Title\n\n- item\n- {LONG}\n", "a.md:4: 27 words"),
        ("a.sh", "#!/bin/sh\n# Nobody waits.\n", "a.sh:2: name the thing that acts"),
        ("a.c", "int x; /* Nobody waits. */\n", "name the thing that acts"),
        ("a.js", "/**\n * Nobody waits.\n * @param {string} name\n */\n", "name the thing that acts"),
        ("a.js", "f(); // Nobody waits.\n", "name the thing that acts"),
        ("a.py", "# The task waits; who wakes it is told.\n", "name the thing that acts"),
        ("a.py", "# Nobody reads.\n", "name the thing that acts"),
        ("a.py", f"# A name or two: {LONG}\n", "31 words"),
        ("a.py", f"# The client and the server agree: {FINE}\n", "31 words"),
        ("a.py", "x = 1\nfound = x\n", "a.py:2: name the thing, not what happened to it: found"),
        ("a.py", "def f(late): ...\n", "name the thing, not what happened to it: late"),
        ("a.md", "先写服务器,再写客户端。\n", "Chinese has full-width punctuation"),
    ],
)
def test_a_text_that_is_hard_to_read(tmp_path: Path, name: str, text: str, expected: str) -> None:
    tmp_path.joinpath(name).write_text(text, encoding="utf-8")
    [complaint] = check_english.check([tmp_path])
    assert expected in complaint


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", f"# {FINE} {FINE}\n"),
        ("a.py", "# What now?\n"),
        ("a.py", f"x = '# {LONG}'\n"),
        ("a.py", "from a import found\n\nprint(found, x.late)\n"),
        ("a.py", '# A task reads. "nobody" is a value.\n'),
        ("a.py", f"x = 1  # {FINE[:-1]}\ny = 2  # {FINE[:-1]}\n"),
        ("a.md", f"```\n{LONG}\n```\n\n| {LONG} |\n"),
        ("a.md", "A call of `" + "word " * 30 + "` is one word.\n"),
        ("a.py", f'"""A table:\n\n| {LONG} |\n"""\n'),
        ("a.pxd", f'cdef extern from *:\n    """\n    {LONG}\n    """\n'),
        ("a.md", "先写服务器，再写客户端（英文）：用 `make run`。\n"),
        ("a.js", 'connect("ws://localhost"); // The client connects.\n'),
        ("a.txt", LONG),
    ],
)
def test_a_text_that_is_easy_to_read(tmp_path: Path, name: str, text: str) -> None:
    tmp_path.joinpath(name).write_text(text, encoding="utf-8")
    assert check_english.check([tmp_path]) == []

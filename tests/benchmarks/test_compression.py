"""The tables of compression, with the shortest of runs."""

from __future__ import annotations

import pytest

from benchmarks import compression


def test_all_tables_have_their_rows(capsys: pytest.CaptureFixture[str]) -> None:
    compression.main(0)
    printed = capsys.readouterr().out
    for name in ("compress 400 bytes of JSON", "decompress 64 KiB of text", "1.5 KiB of chat", "512", "2 KiB of text"):
        assert f"| {name} | " in printed

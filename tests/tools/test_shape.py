"""tools/shape.py, on a small tree."""

from pathlib import Path

from tools import shape

SAME = "".join(f"    step_number_{n}()\n" for n in range(shape.SAME_LINES))


def test_the_shape_of_a_tree(tmp_path: Path) -> None:
    (tmp_path / "sync").mkdir()
    body = "".join(f"        a{n} = {n}\n" for n in range(shape.LONG_FUNCTION))
    tmp_path.joinpath("sync", "one.py").write_text(f"class A:\n    def long(self):\n{body}\n\ndef f():\n{SAME}")
    tmp_path.joinpath("two.pyx").write_text(
        f"from trunkline.three cimport x\n\ncdef class B:\n  cdef int g(self):\n{SAME}"
    )
    tmp_path.joinpath("three.py").write_text("from trunkline.two import B\n")
    report = "\n".join(shape.report(tmp_path))
    assert "lines in sync/" in report
    assert "1 functions over 40 lines: sync.one:long 41" in report
    assert "longest classes: sync.one:A 42, two:B 8" in report
    assert "three <-> two" in report
    assert "1 runs of 6 lines stand in several files" in report

"""The names of the `cython` module that pure-mode modules use when they run uncompiled without Cython.

Modules are written once, in Cython's pure-Python mode. Compiled, `cython` is the compiler's own name space; uncompiled,
only decorators and the flag `compiled` are evaluated, because annotations of local variables never are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")

compiled = False


def _same(decorated: _T) -> _T:
    return decorated


cclass = ccall = cfunc = final = inline = _same


def _configured(*_args: Any, **_options: Any) -> Callable[[_T], _T]:
    return _same


def cast(_type: Any, value: _T) -> _T:
    return value


annotation_typing = exceptval = returns = locals = freelist = no_gc_clear = _configured


def __getattr__(name: str) -> Any:
    """C types (`int`, `p_uchar`, ...) stand only in annotations, where any object will do."""
    if name.startswith("__"):
        raise AttributeError(name)
    return object

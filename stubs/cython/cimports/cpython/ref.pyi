def Py_INCREF(o: object) -> None: ...  # noqa: N802
def Py_REFCNT(o: object) -> int: ...  # noqa: N802

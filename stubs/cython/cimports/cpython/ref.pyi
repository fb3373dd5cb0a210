def Py_INCREF(o: object) -> None: ...  # noqa: N802

def PyThread_get_thread_ident() -> int: ...  # noqa: N802

from contextvars import Context

def PyContext_Enter(context: Context) -> int: ...  # noqa: N802
def PyContext_Exit(context: Context) -> int: ...  # noqa: N802

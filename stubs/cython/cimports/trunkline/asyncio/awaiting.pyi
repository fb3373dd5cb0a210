from typing import Any

PYGEN_RETURN: int
PYGEN_NEXT: int

def install(type: object, send: object, next: object) -> None: ...
def stop(value: object) -> memoryview[Any]: ...

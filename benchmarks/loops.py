"""The event loops that peers run on; with `threads`, one that only waits for the end."""

import asyncio
from collections.abc import Callable, Coroutine

LOOPS = ("asyncio", "uvloop", "aiofastnet", "threads")


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What `asyncio.Runner` needs to run on the loop with this name."""
    if name in ("asyncio", "threads"):
        return None
    if name == "aiofastnet":
        import aiofastnet

        return aiofastnet.loop_factory()
    import uvloop

    return uvloop.new_event_loop


def run(main: Coroutine[object, object, None], loop: str) -> None:
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(main)

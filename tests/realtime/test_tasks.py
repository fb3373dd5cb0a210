import asyncio

import pytest

from trunkline.realtime.tasks import STUBBORN, Tasks
from trunkline.testing import memory


def test_waits_for_those_that_begin_meanwhile_too() -> None:
    async def main() -> None:
        tasks, done = Tasks(), []

        async def work(number: int) -> None:
            await asyncio.sleep(1)
            done.append(number)
            if number < 3:
                tasks.spawn(work(number + 1))

        tasks.spawn(work(0))
        assert len(tasks) == 1
        assert await tasks.settle() == 0
        assert done == [0, 1, 2, 3]
        assert len(tasks) == 0

    memory.run(main())


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_limit_in_time(stubborn: bool) -> None:
    async def main() -> None:
        tasks, ended, loop = Tasks(), [], asyncio.get_running_loop()

        async def hang() -> None:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                ended.append(loop.time())
                if stubborn:
                    await asyncio.sleep(1000)
                raise

        async def work() -> None:
            await asyncio.sleep(3)

        for function in (hang, work, hang):
            tasks.spawn(function())
        assert await tasks.settle(5) == 2
        assert ended == [5, 5]
        assert loop.time() == (5 + STUBBORN if stubborn else 5)

    memory.run(main())


def test_a_task_does_not_wait_for_itself() -> None:
    async def main() -> None:
        tasks, done = Tasks(), []

        async def last() -> None:
            done.append(await tasks.settle(5))

        async def hang() -> None:
            await asyncio.sleep(1000)

        tasks.spawn(hang())
        await tasks.spawn(last())
        assert done == [1]

    memory.run(main())


def test_a_closed_loop_leaves_nothing_to_wait_for() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    tasks, loop = Tasks(), asyncio.new_event_loop()
    coroutine = hang()

    async def begin() -> None:
        tasks.spawn(coroutine)

    loop.run_until_complete(begin())
    loop.close()
    tasks.forget()
    assert len(tasks) == 0
    assert asyncio.run(tasks.settle()) == 0

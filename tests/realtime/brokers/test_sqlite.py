"""The broker on SQLite does what every broker must, and outlives what happens to processes and disks."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.process import environment
from trunkline.realtime.brokers import BrokerError
from trunkline.realtime.brokers.sqlite import RING, WAITING, SQLiteBroker
from trunkline.realtime.publication import Publication, StreamPosition
from trunkline.testing.brokers import Clock, Events, Scenario, broker_scenarios, check_broker


@asynccontextmanager
async def opened(path: Path, events: Events | None = None, **options) -> AsyncIterator[SQLiteBroker]:
    broker = SQLiteBroker(path, **{"patience": 0.05, **options})
    await broker.start(events or Events())
    try:
        yield broker
    finally:
        await broker.close()


async def publish(broker: SQLiteBroker, channel: str, *data: bytes, size: int = 10, ttl: float = 60):
    return [await broker.publish(channel, Publication(each), size=size, ttl=ttl) for each in data]


@pytest.mark.parametrize("scenario", broker_scenarios(durable=True), ids=str)
@pytest.mark.parametrize("synchronous", ["full", "normal"])
def test_conforms(scenario: Scenario, synchronous: str, tmp_path: Path) -> None:
    check_broker(
        scenario,
        lambda clock: SQLiteBroker(tmp_path / "store.db", synchronous=synchronous, clock=clock),
    )


# Crashes

PUBLISHER = """
import asyncio, sys
from trunkline.realtime.brokers.sqlite import SQLiteBroker
from trunkline.realtime.publication import Publication
from trunkline.testing.brokers import Events

async def main(path, synchronous):
    broker = SQLiteBroker(path, synchronous=synchronous)
    await broker.start(Events())

    async def publish(channel):
        number = 0
        while True:
            number += 1
            position = await broker.publish(
                channel, Publication(b"%s %d" % (channel.encode(), number)), size=10**6, ttl=10**6, id=str(number)
            )
            print(channel, number, position.offset, position.epoch, flush=True)

    await asyncio.gather(*(publish(channel) for channel in "abcdef"))

asyncio.run(main(*sys.argv[1:]))
"""


def killed(path: Path, synchronous: str, lines: int) -> list[tuple[str, int, int, str]]:
    """Publish in another process, kill it after so many lines; returns what it was promised."""
    with subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(path), synchronous], stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        promised = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        promised += process.stdout.readlines()
    return [
        (channel, int(number), int(offset), epoch)
        for channel, number, offset, epoch in (line.split() for line in promised if line.endswith("\n"))
    ]


def test_a_killed_process_leaves_all_that_it_promised(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    seen: dict[str, int] = {}
    for lines in (50, 101, 200):
        for channel, number, _, _ in killed(path, "full", lines):
            seen[channel] = max(seen.get(channel, 0), number)

        async def check() -> None:
            async with opened(path) as broker:
                for channel, newest in seen.items():
                    history = await broker.history(channel)
                    offsets = [each.offset for each in history.publications]
                    assert offsets == list(range(1, len(offsets) + 1)), "offsets without holes"
                    assert history.position.offset == len(offsets)
                    # Each run counts from 1, and repeats the ids of the run before.
                    numbers = [int(each.data.split()[1]) for each in history.publications]
                    assert numbers == list(range(1, len(numbers) + 1)), "no id twice"
                    assert len(numbers) >= newest, "all that was promised"

        asyncio.run(check())


@pytest.mark.parametrize(("synchronous", "same"), [("full", True), ("normal", False)])
def test_the_epoch_survives_a_crash_if_nothing_can_be_lost(synchronous: str, same: bool, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    *_, (channel, _, offset, epoch) = killed(path, synchronous, 20)

    async def check() -> None:
        for _ in range(2):
            async with opened(path) as broker:
                history = await broker.history(channel, since=StreamPosition(offset, epoch))
                assert history.complete is same
                assert (history.position.epoch == epoch) is same
                assert history.position.offset >= offset, "the publications are there all the same"

    asyncio.run(check())


def test_normal_keeps_the_epoch_if_it_was_closed(tmp_path: Path) -> None:
    async def main() -> None:
        epochs = set()
        for synchronous in ("normal", "normal", "full", "normal"):
            async with opened(tmp_path / "store.db", synchronous=synchronous) as broker:
                epochs.add((await broker.history("room")).position.epoch)
        assert len(epochs) == 1

    asyncio.run(main())


# Faults of files


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    child = "import sys; exec(sys.stdin.read())"
    program = (
        "import asyncio\n"
        "from trunkline.realtime.brokers.sqlite import SQLiteBroker\n"
        "from trunkline.testing.brokers import Events\n"
        f"asyncio.run(SQLiteBroker({str(path)!r}, patience=0.05).start(Events()))\n"
    )

    async def main() -> None:
        async with opened(path) as broker:
            done = await asyncio.to_thread(
                subprocess.run, [sys.executable, "-c", child], input=program, capture_output=True, text=True,
                env=environment(), check=False,
            )  # fmt: skip
            assert done.returncode == 1
            last = done.stderr.strip().splitlines()[-1]
            assert str(path) in last
            assert last.endswith(
                "another process uses it, and only one may; stop that one, or give each a store of its own"
            )
            await publish(broker, "room", b"1")
        async with opened(path) as broker:
            assert (await broker.history("room")).position.offset == 1

    asyncio.run(main())


def test_waits_for_the_process_before(tmp_path: Path) -> None:
    async def main() -> None:
        first = SQLiteBroker(tmp_path / "store.db")
        await first.start(Events())
        second = SQLiteBroker(tmp_path / "store.db", patience=60)
        starting = asyncio.create_task(second.start(Events()))
        await publish(first, "room", b"1")
        await first.close()
        await starting
        assert (await second.history("room")).position.offset == 1
        await second.close()

    asyncio.run(main())


def refused(path: Path) -> str:
    """Try to open a store; returns the error."""

    async def main() -> str:
        broker = SQLiteBroker(path, patience=0.05)
        with pytest.raises(BrokerError) as caught:
            await broker.start(Events())
        with pytest.raises(BrokerError, match="isn't started"):
            await publish(broker, "room", b"1")
        await broker.close()
        return str(caught.value)

    return asyncio.run(main())


def test_no_directory(tmp_path: Path) -> None:
    assert "look whether its directory exists" in refused(tmp_path / "missing" / "store.db")


def test_no_database(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"something else, and long enough to be told apart" * 100)
    assert "no SQLite database" in refused(tmp_path / "store.db")
    assert (tmp_path / "store.db").read_bytes().startswith(b"something else"), "left alone"


def test_database_of_another_program(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "store.db")
    db.execute("CREATE TABLE users (name)")
    db.commit()
    db.close()
    assert "belongs to another program" in refused(tmp_path / "store.db")


def test_format_of_the_future(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store.db"):
            pass

    asyncio.run(main())
    db = sqlite3.connect(tmp_path / "store.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    assert "has format 99" in refused(tmp_path / "store.db")


PERMISSIONS = """
import asyncio, os, sys
from trunkline.realtime.brokers.sqlite import SQLiteBroker
from trunkline.testing.brokers import Events

if os.geteuid() == 0:  # who may write everywhere
    os.seteuid(65534)
asyncio.run(SQLiteBroker(sys.argv[1], patience=0.05).start(Events()))
"""


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize(("file", "directory"), [(0o444, 0o555), (0o000, 0o755), (0o444, 0o777)])
def test_no_permission(file: int, directory: int) -> None:
    with tempfile.TemporaryDirectory() as name:  # not tmp_path, into which no other user may look
        path = Path(name) / "store.db"

        async def main() -> None:
            async with opened(path):
                pass

        asyncio.run(main())
        path.chmod(file)
        path.parent.chmod(directory)
        command = [sys.executable, "-c", PERMISSIONS, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
        path.parent.chmod(0o755)
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        assert "BrokerError" in last
        assert "look at the permissions of" in last or "at the permissions of both" in last


def test_read_only(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store.db") as broker:
            await publish(broker, "room", b"1")
            await broker._do(lambda store: store._db.execute("PRAGMA query_only = 1"))
            with pytest.raises(BrokerError, match="may not be written; look at the permissions"):
                await publish(broker, "room", b"2")
            assert [each.data for each in (await broker.history("room")).publications] == [b"1"]

    asyncio.run(main())


def test_a_full_disk_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    async def main() -> None:
        events = Events()
        async with opened(tmp_path / "store.db", events) as broker:
            await broker.subscribe("room")

            def limit(pages: int) -> None:
                return broker._do(lambda store: store._db.execute(f"PRAGMA max_page_count = {pages}").fetchall())

            await publish(broker, "room", b"1")
            await limit(30)
            big = [broker.publish("room", Publication(b"x" * 8000), size=100, ttl=60) for _ in range(40)]
            results = await asyncio.gather(*big, return_exceptions=True)
            failed = [result for result in results if isinstance(result, BrokerError)]
            assert failed
            assert "the disk is full; make room" in str(failed[0])
            accepted = [result.offset for result in results if isinstance(result, StreamPosition)]
            assert [each.offset for each in events.publications["room"]] == [1, *accepted]

            await limit(10**6)
            [after] = await publish(broker, "room", b"2", size=100)
            assert after.offset == 2 + len(accepted), "no offset was spent on what failed"
            history = await broker.history("room")
            assert history.publications == events.publications["room"]

    asyncio.run(main())


def test_one_bad_publication_does_not_spoil_the_others(tmp_path: Path) -> None:
    async def main() -> None:
        events = Events()
        async with opened(tmp_path / "store.db", events) as broker:
            await broker.subscribe("room")
            data = [b"1", 2, b"3"]  # the second is no bytes, and can't be NULL either
            calls = [
                broker.publish("room", Publication(None if each == 2 else each), size=10, ttl=60)  # type: ignore[arg-type]
                for each in data
            ]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result) for result in results] == [StreamPosition, BrokerError, StreamPosition]
            assert [(each.offset, each.data) for each in events.publications["room"]] == [(1, b"1"), (2, b"3")]

    asyncio.run(main())


# Load and memory


def test_what_is_stored_together_is_delivered_together(tmp_path: Path) -> None:
    class Batches(Events):
        def on_publications(self, channel, publications):
            super().on_publications(channel, publications)
            batches.append((channel, [int(each.data) for each in publications]))

    batches: list[tuple[str, list[int]]] = []

    async def main() -> None:
        async with opened(tmp_path / "store.db", Batches()) as broker:
            for channel in "ab":
                await broker.subscribe(channel)
            hold = threading.Event()
            held = asyncio.create_task(broker._do(lambda store: hold.wait()))
            await asyncio.sleep(0)
            calls = [publish(broker, "ab"[number % 2], b"%d" % number) for number in range(10)]
            published = asyncio.gather(*calls)
            await asyncio.sleep(0)
            hold.set()
            await held
            await published
        assert batches == [("a", [0, 2, 4, 6, 8]), ("b", [1, 3, 5, 7, 9])]

    asyncio.run(main())


def test_an_id_is_known_within_a_transaction(tmp_path: Path) -> None:
    async def main() -> None:
        events = Events()
        async with opened(tmp_path / "store.db", events) as broker:
            await broker.subscribe("a")
            calls = [
                broker.publish(channel, Publication(b"%d" % number), size=10, ttl=60, id=id)
                for number, (channel, id) in enumerate([("a", "x"), ("b", "x"), ("a", "y"), ("a", "x"), ("a", "y")])
            ]
            positions = await asyncio.gather(*calls)
            assert [position.offset for position in positions] == [1, 1, 2, 1, 2]
            assert [each.data for each in events.publications["a"]] == [b"0", b"2"]

    asyncio.run(main())


def test_publishers_wait_for_a_place(tmp_path: Path) -> None:
    async def main() -> None:
        events = Events()
        async with opened(tmp_path / "store.db", events) as broker:
            await broker.subscribe("room")
            calls = [
                asyncio.create_task(broker.publish("room", Publication(b"%d" % number), size=9999, ttl=60))
                for number in range(3 * WAITING)
            ]
            await asyncio.sleep(0)
            assert broker._writer._jobs.qsize() <= WAITING
            assert broker._places.locked()
            await asyncio.gather(*calls)
            delivered = [each.data for each in events.publications["room"]]
            assert delivered == [b"%d" % number for number in range(3 * WAITING)], "first come, first served"

    asyncio.run(main())


def test_those_who_gave_up_leave_their_place(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store.db") as broker:
            calls = [asyncio.create_task(publish(broker, "room", b"1")) for _ in range(2 * WAITING)]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            await broker.history("room")  # comes after all others
            assert broker._places._value == WAITING

    asyncio.run(main())


def test_those_who_wait_for_a_place_learn_of_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store.db") as broker:
            calls = [asyncio.create_task(publish(broker, "room", b"1", size=9999)) for _ in range(2 * WAITING)]
            await asyncio.sleep(0)
            await broker.close()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(result, BrokerError) for result in results[WAITING:])
        async with opened(tmp_path / "store.db") as broker:
            accepted = sum(isinstance(result, list) for result in results)
            assert len((await broker.history("room")).publications) == accepted >= 1

    asyncio.run(main())


def test_long_histories_are_read_from_memory_and_disk(tmp_path: Path) -> None:
    """The same answers, wherever they come from: at hand, from the disk, and after a restart."""

    async def answers(broker: SQLiteBroker, epoch: str, top: int):
        results = []
        for offset in [None, 0, 1, top - RING - 1, top - RING, top - RING + 1, top - 1, top, top + 1]:
            since = None if offset is None else StreamPosition(offset, epoch)
            for limit in (None, 0, 1, 5, RING, RING + 1):
                for reverse in (False, True):
                    results.append(await broker.history("room", since=since, limit=limit, reverse=reverse))
        return results

    async def main() -> None:
        data, size = [b"%d" % number for number in range(RING * 3)], RING * 2
        async with opened(tmp_path / "store.db") as broker:
            await broker.subscribe("room")
            positions = await asyncio.gather(
                *(broker.publish("room", Publication(each), size=size, ttl=60) for each in data)
            )
            top, epoch = positions[-1]
            at_hand = await answers(broker, epoch, top)
            await broker.unsubscribe("room")
            from_disk = await answers(broker, epoch, top)
        assert at_hand == from_disk
        assert [each.data for each in at_hand[0].publications] == data[-size:]
        async with opened(tmp_path / "store.db") as broker:
            await broker.subscribe("room")
            assert await answers(broker, epoch, top) == at_hand

    asyncio.run(main())


def test_memory_holds_only_what_is_subscribed(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store.db") as broker:
            for channel in "abc":
                await publish(broker, channel, b"1")
                await broker.subscribe(channel)
            await broker.unsubscribe("a")
            assert set(broker._streams) == {"b", "c"}
            assert [each.data for each in (await broker.history("a")).publications] == [b"1"]

    asyncio.run(main())


def test_short_histories_need_no_disk(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store.db") as broker:
            await publish(broker, "room", *[b"x"] * 20, size=10)
            await broker.subscribe("room")
            await publish(broker, "room", *[b"y"] * 3, size=10)

            async def no_disk(*args: object) -> None:
                raise AssertionError("asked the disk")

            broker._do = no_disk  # type: ignore[assignment,method-assign]
            epoch = (await broker.history("room")).position.epoch
            for since in [None, StreamPosition(0, epoch), StreamPosition(15, epoch)]:
                for reverse in (False, True):
                    await broker.history("room", since=since, reverse=reverse)

    asyncio.run(main())


def test_the_file_stays_small(tmp_path: Path) -> None:
    """Channels that rest, their publications, and ids go; positions in them are not used again."""

    async def main() -> None:
        clock = Clock()
        async with opened(tmp_path / "store.db", clock=clock, idle=3600) as broker:
            old = await publish(broker, "old", b"1", b"2", b"3", ttl=10)
            for number in range(120):
                await broker.publish(f"room {number}", Publication(b"x"), size=10, ttl=10, id="a")

            async def tick() -> None:
                await broker.publish("clock", Publication(b""), size=1, ttl=1e9)

            async def rows(table: str) -> int:
                return await broker._do(lambda store: store._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

            assert (await rows("channels"), await rows("publications"), await rows("ids")) == (121, 123, 120)
            await clock.advance(400)
            for _ in range(3):
                await tick()
            assert (await rows("channels"), await rows("publications"), await rows("ids")) == (122, 1, 0)
            await clock.advance(3600)
            for _ in range(4):
                await tick()
            assert await rows("channels") == 1
            [again] = await publish(broker, "old", b"4", ttl=10)
            assert again.offset == old[-1].offset + 1
            [other] = await publish(broker, "other", b"5", ttl=10)
            assert other.offset == old[-1].offset + 1
        async with opened(tmp_path / "store.db", clock=clock) as broker:
            assert (await broker.history("new")).position.offset == old[-1].offset

    asyncio.run(main())


def test_ids_are_known_as_long_as_promised(tmp_path: Path) -> None:
    """However soon a channel is forgotten, and whichever channel comes next: an id belongs to its channel."""

    async def main() -> None:
        clock = Clock()
        async with opened(tmp_path / "store.db", clock=clock, idle=1) as broker:
            first = await broker.publish("old", Publication(b"1"), size=9, ttl=1, id="a")
            await clock.advance(200)
            await publish(broker, "clock", b"")
            assert await broker.publish("old", Publication(b"2"), size=9, ttl=1, id="a") == first
            await clock.advance(200)
            await publish(broker, "clock", b"")
        async with opened(tmp_path / "store.db", clock=clock, idle=1) as broker:
            await broker.publish("new", Publication(b"3"), size=9, ttl=1, id="a")
            assert [each.data for each in (await broker.history("new")).publications] == [b"3"]

    asyncio.run(main())


# Life


def test_start_can_be_cancelled(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "store.db"):
            broker = SQLiteBroker(tmp_path / "store.db", patience=0.05)
            starting = asyncio.create_task(broker.start(Events()))
            await asyncio.sleep(0)
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await broker.close()
        async with opened(tmp_path / "store.db"):
            pass

    asyncio.run(main())


def test_can_be_started_again_in_another_event_loop(tmp_path: Path) -> None:
    broker = SQLiteBroker(tmp_path / "store.db")

    async def main() -> int:
        events = Events()
        await broker.start(events)
        await broker.subscribe("room")
        calls = [broker.publish("room", Publication(b"1"), size=9, ttl=60) for _ in range(WAITING + 1)]
        await asyncio.gather(*calls)
        await broker.close()
        return len(events.publications["room"])

    assert [asyncio.run(main()), asyncio.run(main())] == [WAITING + 1] * 2


def test_refuses_an_unknown_way_to_write(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it must be full or normal"):
        SQLiteBroker(tmp_path / "store.db", synchronous="off")  # type: ignore[arg-type]

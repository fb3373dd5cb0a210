"""Reading and writing of a connection's stream."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.trio.support import run
from trunkline.trio.stream import StreamIO


async def pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    left, right = trio.socket.socketpair()
    return trio.SocketStream(left), trio.SocketStream(right)


def test_a_socket_is_written_at_once_as_far_as_it_goes() -> None:
    async def main() -> None:
        ours, theirs = await pair()
        async with ours, theirs:
            io = StreamIO(ours)
            data = bytes(16 << 20)
            written = io.write_now(data)
            assert 0 < written < len(data)
            assert io.write_now(b"more") == 0
            received = 0
            while received < written:
                received += len(await theirs.receive_some())
            assert io.write_now(b"more") == 4

    run(main)


def test_a_stream_that_was_closed_elsewhere_is_not_taken_for_the_next_one() -> None:
    async def main() -> None:
        ours, theirs = await pair()
        io = StreamIO(ours)
        await ours.aclose()
        others = [await pair() for _ in range(2)]
        assert io.fd in [stream.socket.fileno() for two in others for stream in two]
        with pytest.raises(OSError, match="closed"):
            io.write_now(b"not for them")
        with pytest.raises(trio.ClosedResourceError):
            await io.receive()
        for stream in (theirs, *others[0], *others[1]):
            await stream.aclose()

    run(main)


def test_other_streams_are_not() -> None:
    async def main() -> None:
        ours, _ = trio.testing.memory_stream_pair()
        assert StreamIO(ours).write_now(b"a") == 0
        assert StreamIO(ours).local_address is None
        assert StreamIO(ours).can_end()

    run(main)


def test_receiving() -> None:
    async def main() -> None:
        ours, theirs = await pair()
        async with ours, theirs:
            io = StreamIO(ours)
            with trio.move_on_after(0.01) as patience:
                await io.receive()
            assert patience.cancelled_caught
            await theirs.send_all(b"a")
            with trio.testing.assert_checkpoints():
                assert await io.receive() == b"a"
            await theirs.aclose()
            assert await io.receive() == b""
            with pytest.raises(OSError):  # noqa: PT011  # EPIPE, or ECONNRESET
                io.write_now(b"a")
            await io.close(0)
            with pytest.raises(trio.ClosedResourceError):
                await ours.send_all(b"a")

    run(main)


def test_closing_while_another_task_reads() -> None:
    async def main() -> None:
        ours, theirs = await pair()
        io = StreamIO(ours)

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await io.receive()

        async with theirs, trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await io.close(1)

    run(main)

"""Reaching Redis: who we are, what we trust, and what is said when it fails."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.support.broker_nodes import deliver
from tests.support.certificate import certificate
from tests.support.redis import RedisServer, needs_redis, running
from trunkline.realtime.brokers import BrokerError, RedisBroker
from trunkline.realtime.brokers.redis.resp import Parser
from trunkline.realtime.publication import Publication
from trunkline.testing.brokers import Events

# Real servers


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    ada = ("--user", "ada", "on", ">pw", "+@all", "~*", "&*")
    bob = ("--user", "bob", "on", ">pw", "+@all", "~*", "resetchannels")
    with running("redis", "--requirepass", "s3cret", *ada, *bob) as server:
        yield server


@needs_redis
def test_a_unix_socket(guarded: RedisServer) -> None:
    asyncio.run(deliver(f"unix://:s3cret@{guarded.path}?db=2"))


@needs_redis
@pytest.mark.parametrize("who", [":s3cret", "default:s3cret", "ada:pw"])
def test_users_and_passwords(guarded: RedisServer, who: str) -> None:
    asyncio.run(deliver(f"redis://{who}@127.0.0.1:{guarded.port}"))


@needs_redis
@pytest.mark.parametrize(
    ("who", "complaint"),
    [
        ("", "NOAUTH.*write the user and password into the URL"),
        (":wrong@", "WRONGPASS.*write the user and password into the URL"),
        ("eve:pw@", "WRONGPASS"),
        ("bob:pw@", "NOPERM.*let this user run the commands, keys and channels"),
    ],
)
def test_who_may_not_is_told_at_once(guarded: RedisServer, who: str, complaint: str) -> None:
    with pytest.raises(BrokerError, match=complaint) as caught:
        asyncio.run(deliver(f"redis://{who}127.0.0.1:{guarded.port}", patience=60))
    assert "pw" not in str(caught.value)
    assert "wrong@" not in str(caught.value)


@needs_redis
def test_a_password_that_changes_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main(server: RedisServer) -> None:
        broker, events = RedisBroker(f"redis://:old@127.0.0.1:{server.port}", patience=0.3), Events()
        await broker.start(events)
        server.cli("AUTH", "old")
        await reconfigure(server, "old", "new")
        with pytest.raises(BrokerError, match=r"can't be reached .*WRONGPASS"):
            await broker.publish("room", Publication(b"1"), size=9, ttl=60)
        await reconfigure(server, "new", "old")
        await broker._commands.link.ready(10)
        await broker.publish("room", Publication(b"1"), size=9, ttl=60)
        await broker.close()

    with running("redis", "--requirepass", "old") as server, caplog.at_level(logging.INFO):
        asyncio.run(main(server))
    refusals = [record for record in caplog.records if "WRONGPASS" in record.getMessage()]
    assert len(refusals) == 2  # one for each connection


async def reconfigure(server: RedisServer, old: str, new: str) -> None:
    """Change the password, and end all connections."""
    reader, writer = await asyncio.open_unix_connection(str(server.path))
    writer.write(
        f"AUTH {old}\r\nCONFIG SET requirepass {new}\r\nCLIENT KILL TYPE pubsub\r\nCLIENT KILL TYPE normal\r\n".encode()
    )
    for _ in range(4):
        await reader.readline()
    writer.close()


@needs_redis
def test_a_server_that_comes_late_is_waited_for() -> None:
    async def main(server: RedisServer) -> None:
        server.stop()
        starting = asyncio.create_task(deliver(server.url))
        await asyncio.sleep(0.1)
        server.start()
        await starting

    with running() as server:
        asyncio.run(main(server))


@needs_redis
def test_a_server_that_never_comes_is_an_error() -> None:
    with running() as server:
        server.stop()
        with pytest.raises(BrokerError, match=r"Redis at redis://127.0.0.1:\d+ can't be used .*Connect call failed"):
            asyncio.run(deliver(server.url, patience=0.2))


# TLS


@contextlib.contextmanager
def with_tls(directory: Path, **options: bool) -> Iterator[tuple[int, Path]]:
    """The port of a server with TLS, and its certificate."""
    cert = certificate(directory, **options)
    files = [
        "--tls-cert-file",
        str(cert),
        "--tls-key-file",
        str(directory / "key.pem"),
        "--tls-ca-cert-file",
        str(cert),
    ]
    with running("redis", "--tls-port", "0", "--tls-auth-clients", "no", *files) as server:
        server.cli("CONFIG", "SET", "port", "0")
        server.cli("CONFIG", "SET", "tls-port", str(server.port))
        yield server.port, cert


@needs_redis
def test_tls(tmp_path: Path) -> None:
    with with_tls(tmp_path) as (port, cert):
        asyncio.run(deliver(f"rediss://localhost:{port}", ssl=ssl.create_default_context(cafile=str(cert))))


@needs_redis
def test_a_certificate_that_is_not_trusted_is_told_at_once(tmp_path: Path) -> None:
    with with_tls(tmp_path) as (port, _), pytest.raises(BrokerError, match=r"self-signed certificate.*pass ssl="):
        asyncio.run(deliver(f"rediss://localhost:{port}", patience=60))


@needs_redis
def test_a_certificate_that_has_expired_is_told_at_once(tmp_path: Path) -> None:
    with with_tls(tmp_path, expired=True) as (port, cert):
        context = ssl.create_default_context(cafile=str(cert))
        with pytest.raises(BrokerError, match=r"certificate has expired.*renew it"):
            asyncio.run(deliver(f"rediss://localhost:{port}", ssl=context, patience=60))


# Servers that do what real ones rarely do

Answers = Callable[[list[bytes]], bytes]


@contextlib.asynccontextmanager
async def fake(answers: Answers) -> AsyncIterator[str]:
    """A server that answers each command as a function says; its URL."""

    served: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        parser = Parser()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                reply = [answers(command) for command in parser.feed(data)]
                writer.write(b"".join(reply))
                if b"" in reply:
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*served)


def usual(command: list[bytes], persistence: bytes = b"loading:0\r\n") -> bytes:
    match command:
        case [b"HELLO", *_]:
            return b"%1\r\n+proto\r\n:3\r\n"
        case [b"INFO", b"server"]:
            return b"$13\r\nrun_id:abcd\r\n\r\n"
        case [b"INFO", b"persistence"]:
            return b"$%d\r\n%b\r\n" % (len(persistence), persistence)
        case [b"TIME"]:
            return b"*2\r\n$10\r\n1700000000\r\n$1\r\n0\r\n"
        case [b"SUBSCRIBE", *keys]:
            return b"".join(b">3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:1\r\n" % (len(key), key) for key in keys)
        case [b"PUBLISH", *_]:
            return b":1\r\n"
    return b"+OK\r\n"


async def publish(broker: RedisBroker) -> None:
    await broker.publish("room", Publication(b"1"))


def test_a_server_that_is_still_loading_is_waited_for() -> None:
    loading = [b"loading:1\r\n"] * 3

    def answers(command: list[bytes]) -> bytes:
        return usual(command, loading.pop() if command == [b"INFO", b"persistence"] and loading else b"loading:0\r\n")

    async def main() -> None:
        async with fake(answers) as url:
            broker = RedisBroker(url)
            await broker.start(Events())
            await publish(broker)
            await broker.close()

    asyncio.run(main())
    assert not loading


@pytest.mark.parametrize("code", ["LOADING", "MASTERDOWN", "TRYAGAIN", "READONLY"])
def test_what_cannot_be_done_yet_is_done_later(code: str) -> None:
    refusals = [code, code]

    def answers(command: list[bytes]) -> bytes:
        if command[0] == b"PUBLISH" and refusals:
            return b"-%b not yet\r\n" % refusals.pop().encode()
        return usual(command)

    async def main() -> None:
        async with fake(answers) as url:
            broker = RedisBroker(url)
            await broker.start(Events())
            await publish(broker)
            await broker.close()

    asyncio.run(main())
    assert not refusals


@pytest.mark.parametrize(
    ("error", "complaint"),
    [
        (b"-MOVED 3999 127.0.0.1:6381\r\n", "Redis Cluster, which trunkline can't use"),
        (b"-MISCONF can't persist\r\n", "it can't write to its disk: make room there"),
        (b"-LOADING still\r\n", "LOADING still"),
    ],
)
def test_what_it_refuses_is_an_error(error: bytes, complaint: str) -> None:
    async def main() -> None:
        async with fake(lambda command: error if command[0] == b"PUBLISH" else usual(command)) as url:
            broker = RedisBroker(url, patience=0.3)
            await broker.start(Events())
            with pytest.raises(BrokerError, match=complaint):
                await publish(broker)
            await broker.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it doesn't speak RESP"),
        (b"", "the server ended the connection"),
        (b"-ERR unknown command 'HELLO'\r\n", "trunkline needs Redis 6.2 or later"),
    ],
)
def test_a_server_that_is_none_is_told(answer: bytes, complaint: str) -> None:
    async def main() -> None:
        async with fake(lambda command: answer) as url:
            with pytest.raises(BrokerError, match=complaint):
                await RedisBroker(url, patience=0.2).start(Events())

    asyncio.run(main())


def test_nonsense_later_on_ends_the_connection_and_no_task() -> None:
    async def main() -> None:
        def answers(command: list[bytes]) -> bytes:
            return b"nonsense\r\n" if command[-1] == b":" + sealed and not told.append(1) else usual(command)

        told: list[int] = []
        sealed = b"\x99\x00\xc4\x011\xc0\xc0\xa0\x00\x00\x00\x00"
        async with fake(answers) as url:
            broker = RedisBroker(url)
            await broker.start(Events())
            with pytest.raises(BrokerError, match="doesn't speak RESP"):
                await publish(broker)
            assert told
            await broker.close()

    asyncio.run(main())


def test_answers_to_nothing_end_the_connection() -> None:
    async def main() -> None:
        async with fake(lambda command: usual(command) * (2 if command[0] == b"PUBLISH" else 1)) as url:
            broker = RedisBroker(url, heartbeat=0.05)
            await broker.start(Events())
            await publish(broker)
            connection = broker._commands.link.connection
            assert connection is None or "to no command" in await connection.lost
            await broker.close()

    asyncio.run(main())

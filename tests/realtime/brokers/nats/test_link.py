"""The way to NATS: who we are, TLS, several servers, and servers that do what real ones rarely do."""

import asyncio
import base64
import binascii
import contextlib
import json
import logging
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.broker_nodes import deliver
from tests.support.certificate import certificate
from tests.support.nats import NatsServer, needs_nats, running
from trunkline.realtime.brokers import BrokerError, NatsBroker
from trunkline.realtime.publication import Publication
from trunkline.testing.brokers import Events

BOB = '{user: bob, password: pw, permissions: {subscribe: "_INBOX.>"}}'
GUARDED = f"authorization {{ users = [{{user: ada, password: pw}}, {BOB}] }}"


@needs_nats
def test_users_and_passwords() -> None:
    with running(GUARDED) as server:
        asyncio.run(deliver(f"nats://ada:pw@127.0.0.1:{server.port}"))
        for who in ("", "ada:wrong@", "eve:pw@", "token@"):
            with pytest.raises(BrokerError, match=r"Authorization Violation.*write the user and password") as caught:
                asyncio.run(deliver(f"nats://{who}127.0.0.1:{server.port}", patience=60))
            assert "wrong@" not in str(caught.value)
        with pytest.raises(BrokerError, match=r"Permissions Violation.*subscribe"):
            asyncio.run(deliver(f"nats://bob:pw@127.0.0.1:{server.port}", patience=60))


@needs_nats
def test_a_token() -> None:
    with running("authorization { token: s3cret }") as server:
        asyncio.run(deliver(f"nats://s3cret@127.0.0.1:{server.port}"))


def seed_and_key(prefixes: bytes) -> tuple[str, str]:
    """A seed, and the public key of it, as NATS writes them."""

    def text(data: bytes) -> str:
        return base64.b32encode(data + binascii.crc_hqx(data, 0).to_bytes(2, "little")).rstrip(b"=").decode()

    key = Ed25519PrivateKey.generate()
    return text(prefixes + key.private_bytes_raw()), text(b"\xa0" + key.public_key().public_bytes_raw())


@needs_nats
def test_a_key(tmp_path: Path) -> None:
    kind = 20 << 3
    seed, public = seed_and_key(bytes([18 << 3 | kind >> 5, (kind & 31) << 3]))
    assert (seed[:2], public[:1]) == ("SU", "U")
    file = tmp_path / "user.nk"
    file.write_text(f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n")
    with running(f"authorization {{ users = [{{nkey: {public}}}] }}") as server:
        asyncio.run(deliver(f"{server.url}?nkey={file}"))
    file.write_text(seed[:-1] + ("A" if seed[-1] != "A" else "E"))  # three bits of it count
    with pytest.raises(ValueError, match="checksum is wrong"):
        NatsBroker(f"nats://localhost?nkey={file}")
    with pytest.raises(ValueError, match="has no seed"):
        NatsBroker(f"nats://localhost?creds={certificate(tmp_path)}")


@needs_nats
def test_a_password_that_changes_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main(server: NatsServer) -> None:
        broker = NatsBroker(f"nats://ada:old@127.0.0.1:{server.port}", patience=0.3)
        await broker.start(Events())
        server.kill()
        server.configure("authorization { user: ada, password: new }")
        server.start()
        async with asyncio.timeout(20):
            while "Authorization" not in str(broker._link.away()):
                await asyncio.sleep(0.01)
        with pytest.raises(BrokerError, match=r"can't be reached .*Authorization Violation"):
            await broker.publish("room", Publication(b"1"), size=9, ttl=60)
        server.kill()
        server.configure("authorization { user: ada, password: old }")
        server.start()
        await broker._link.ready(10)
        await broker.publish("room", Publication(b"1"), size=9, ttl=60)
        await broker.close()

    with running("authorization { user: ada, password: old }") as server, caplog.at_level(logging.INFO):
        asyncio.run(main(server))
    assert sum("Authorization" in record.getMessage() for record in caplog.records) == 1


@needs_nats
@pytest.mark.parametrize("expired", [False, True])
def test_tls(tmp_path: Path, expired: bool) -> None:
    cert = certificate(tmp_path, expired=expired)
    context = ssl.create_default_context(cafile=str(cert))
    with running(f'tls {{ cert_file: "{cert}", key_file: "{tmp_path}/key.pem" }}') as server:
        if expired:
            with pytest.raises(BrokerError, match=r"certificate has expired.*renew it"):
                asyncio.run(deliver(f"tls://localhost:{server.port}", ssl=context, patience=60))
            return
        for scheme in ("tls", "nats"):
            asyncio.run(deliver(f"{scheme}://localhost:{server.port}", ssl=context))
        with pytest.raises(BrokerError, match=r"self-signed certificate.*pass ssl="):
            asyncio.run(deliver(f"tls://localhost:{server.port}", patience=60))


@needs_nats
def test_servers_that_cannot_be_used_are_told() -> None:
    with running("", "--no_advertise") as server:
        with pytest.raises(BrokerError, match="start nats-server with -js"):
            asyncio.run(deliver(server.url, patience=60))
        with pytest.raises(BrokerError, match="write nats:// instead of tls://"):
            asyncio.run(deliver(server.url.replace("nats:", "tls:"), patience=60))
    with pytest.raises(BrokerError, match=r"NATS at nats://127.0.0.1:\d+ can't be used .*Connect call failed"):
        asyncio.run(deliver(server.url, patience=0.2))


@needs_nats
def test_the_next_server_is_tried() -> None:
    with running() as gone, running() as server:
        gone.kill()
        asyncio.run(deliver(f"nats://127.0.0.1:{gone.port},127.0.0.1:{server.port}"))


@needs_nats
def test_a_lame_duck_is_left_for_another_server() -> None:
    async def main(duck: NatsServer, other: NatsServer) -> None:
        broker = NatsBroker(f"nats://127.0.0.1:{duck.port},127.0.0.1:{other.port}")
        await broker.start(Events())
        assert broker._link.connection.info["port"] == duck.port
        duck.signal(signal.SIGUSR2)
        async with asyncio.timeout(10):
            while (await broker._link.ready(10)).info["port"] != other.port:
                await asyncio.sleep(0.01)
        await broker.publish("room", Publication(b"1"), size=9, ttl=60)
        await broker.close()

    slow = 'lame_duck_duration: "60s", lame_duck_grace_period: "50s"'
    with running(slow) as duck, running() as other:
        asyncio.run(main(duck, other))


# Servers that do what real ones rarely do

INFO = {"version": "2.11.0", "jetstream": True, "max_payload": 1 << 20, "server_id": "x"}


@contextlib.asynccontextmanager
async def fake(answers: Callable[[bytes], bytes], greeting: bytes | None = None) -> AsyncIterator[str]:
    """A server that answers each line as a function says; its URL."""
    served: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        writer.write(b"INFO %b\r\n" % json.dumps(INFO).encode() if greeting is None else greeting)
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(answer := answers(line))
                if answer.startswith(b"-ERR"):
                    break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*(task for task in served if task is not None))


@pytest.mark.parametrize(
    ("greeting", "answer", "complaint"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", b"", "it doesn't speak the protocol of NATS"),
        (b'INFO {"version":"2.9.25","jetstream":true}\r\n', b"PONG\r\n", "trunkline needs nats-server 2.11 or later"),
        (b'INFO {"version":"2.11.0"}\r\n', b"PONG\r\n", "start nats-server with -js"),
        (None, b"-ERR 'Authentication Timeout'\r\n", "Authentication Timeout"),
        (None, b"PONG\r\nPONG\r\n", "it answered PONG to no PING"),
    ],
)
def test_a_server_that_is_none_is_told(greeting: bytes | None, answer: bytes, complaint: str) -> None:
    async def main() -> None:
        async with fake(lambda line: answer if line == b"PING\r\n" else b"", greeting) as url:
            with pytest.raises(BrokerError, match=complaint):
                await NatsBroker(url, patience=0.2).start(Events())

    asyncio.run(main())

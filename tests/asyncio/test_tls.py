"""TLS is the same on the reactor and on the transports of the event loop, and harms no other client when it fails."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

import trunkline
from tests.support.loop import run_clean, settled
from tests.support.pair import Accepted, blocked_send, echo, port_of
from tests.support.raw import RawPeer, close_frame, encode_frame, request, status_of
from tests.support.tls_peer import TlsPeer
from trunkline.asyncio.server import Server
from trunkline.testing.tls import make_certificate, new_tls_contexts, tls_contexts

compiled = pytest.mark.compiled
REACTOR = pytest.param("reactor", marks=compiled)
engines = pytest.mark.parametrize("engine", [REACTOR, "transports"])
MIB = 1 << 20


def serve(handler: Any, engine: str, **options: Any) -> Any:
    return trunkline.serve(
        handler, "127.0.0.1", 0, engine=engine, **({"ssl": tls_contexts()[0], "compression": None} | options)
    )


def connect(server: Server, engine: str, **options: Any) -> Any:
    uri = f"wss://localhost:{port_of(server)}/"
    return trunkline.connect(
        uri, engine=engine, **({"ssl": tls_contexts()[1], "compression": None, "proxy": None} | options)
    )


async def peer_of(server: Server, **options: Any) -> TlsPeer:
    return await TlsPeer.open_secure(port_of(server), tls_contexts()[1], **options)


async def still_serves(server: Server, engine: str) -> None:
    async with connect(server, engine) as ws:
        await ws.send("still there?")
        assert await ws.recv() == "still there?"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@engines
def test_client_whose_tls_begins_when_the_server_is_closed_is_refused(engine: str) -> None:
    async def main() -> None:
        async with (
            serve(echo, engine) as server,
            await TlsPeer.connect(port_of(server)) as slow_peer,
            connect(server, engine),
        ):
            server.close()
            await server.wait_closed()
            await slow_peer.shake_hands(tls_contexts()[1])
            await slow_peer.send(request())
            assert status_of(await slow_peer.read_head()) == 503

    run_clean(main)


@engines
def test_server_tells_that_it_has_tls(engine: str) -> None:
    """By a name that asyncio documents nowhere, and programs ask for."""

    async def main() -> None:
        async with serve(echo, engine) as server:
            assert server.server._ssl_context is tls_contexts()[0]
        async with serve(echo, engine, ssl=None) as server:
            assert server.server._ssl_context is None

    run_clean(main)


# --- messages ---


@engines
@pytest.mark.parametrize("client_engine", [REACTOR, "transports"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_messages_of_all_sizes(engine: str, client_engine: str, version: ssl.TLSVersion) -> None:
    server_context, client_context = new_tls_contexts()
    client_context.minimum_version = client_context.maximum_version = version
    sizes = (0, 1, 125, 126, 16_370, 16_383, 16_384, 16_385, 65_530, 65_536, 65_537, 300_000, MIB)

    async def main() -> None:
        async with serve(echo, engine, ssl=server_context) as server:
            async with connect(server, client_engine, ssl=client_context) as ws:
                for size in sizes:
                    for message in (os.urandom(size), "ä" * (size // 2)):
                        await ws.send(message)
                        assert await ws.recv() == message
            assert ws.close_code == 1000

    run_clean(main)


@engines
def test_many_messages_in_flight(engine: str) -> None:
    async def main() -> None:
        async with serve(echo, engine) as server, connect(server, engine) as ws:
            sent = [os.urandom(i * 37 % 5000) for i in range(500)]

            async def send_all() -> None:
                for message in sent:
                    await ws.send(message)

            async with asyncio.TaskGroup() as group:
                group.create_task(send_all())
                for message in sent:
                    assert await ws.recv() == message

    run_clean(main)


@engines
def test_records_in_any_pieces(engine: str) -> None:
    async def main() -> None:
        async with serve(echo, engine) as server, await peer_of(server) as peer:
            frames = [encode_frame(2, os.urandom(size), mask=b"mask") for size in (5, 70_000, 300)]
            for frame in frames:
                peer.tls.write(frame)
            records = peer.records()
            pieces = [records[i : i + 1] for i in range(50)]
            pieces += [records[i : i + 7001] for i in range(50, len(records), 7001)]
            for piece in pieces:
                await RawPeer.send(peer, piece)
            assert [len((await peer.read_frame()).payload) for _ in frames] == [5, 70_000, 300]

    run_clean(main)


# --- what is known of a connection ---


@engines
def test_extra_info(engine: str) -> None:
    server_context, client_context = new_tls_contexts()
    server_context.verify_mode = ssl.CERT_REQUIRED
    server_context.set_alpn_protocols(["http/1.1"])
    client_context.set_alpn_protocols(["h2", "http/1.1"])
    names: list[str | None] = []
    server_context.sni_callback = lambda sslobject, name, context: names.append(name)

    async def main() -> None:
        accepted = Accepted()
        async with (
            serve(accepted, engine, ssl=server_context) as server,
            connect(server, engine, ssl=client_context) as client,
        ):
            ends = [(client, client_context), (await accepted.connection(), server_context)]
            for ws, context in ends:
                info = ws.transport.get_extra_info
                assert isinstance(info("ssl_object"), ssl.SSLObject)
                assert info("ssl_object").version() == "TLSv1.3"
                assert info("ssl_object").selected_alpn_protocol() == "http/1.1"
                assert info("sslcontext") is context
                assert info("cipher") == info("ssl_object").cipher()
                assert info("compression") is None
                assert ("commonName", "localhost") in info("peercert")["subject"][0]
                assert info("nothing", "default") == "default"
            assert client.remote_address == ends[1][0].local_address
        assert names == ["localhost"]

    run_clean(main)


@compiled
def test_subclasses_of_ssl_objects_are_used() -> None:
    server_context, client_context = new_tls_contexts()
    read = []

    class Watching(ssl.SSLObject):
        def read(self, *arguments: Any) -> Any:
            read.append(arguments)
            return super().read(*arguments)

    client_context.sslobject_class = Watching

    async def main() -> None:
        async with (
            serve(echo, "reactor", ssl=server_context) as server,
            connect(server, "reactor", ssl=client_context) as ws,
        ):
            await ws.send("hello")
            assert await ws.recv() == "hello"

    run_clean(main)
    assert read


# --- handshakes that fail ---


@engines
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"ssl": True}, ssl.SSLCertVerificationError),
        ({"server_hostname": "elsewhere"}, ssl.SSLCertVerificationError),
    ],
)
def test_certificates_are_verified(engine: str, options: dict[str, Any], error: type) -> None:
    async def main() -> None:
        async with serve(echo, engine) as server:
            with pytest.raises(error):
                await connect(server, engine, **options)
            await still_serves(server, engine)

    run_clean(main)


@engines
def test_a_renewed_certificate_serves_later_connections(engine: str, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def renew() -> ssl.SSLContext:
        files = make_certificate(tmp_path)
        context.load_cert_chain(*files)
        return ssl.create_default_context(cafile=str(files[0]))

    async def main() -> None:
        trusts_old = renew()
        async with serve(echo, engine, ssl=context) as server, connect(server, engine, ssl=trusts_old) as former:
            trusts_new = renew()
            with pytest.raises(ssl.SSLCertVerificationError):
                await connect(server, engine, ssl=trusts_old)
            async with connect(server, engine, ssl=trusts_new) as later:
                for ws in (former, later):
                    await ws.send("hello")
                    assert await ws.recv() == "hello"

    run_clean(main)


@engines
def test_server_that_wants_a_certificate(engine: str) -> None:
    server_context, _ = new_tls_contexts()
    server_context.verify_mode = ssl.CERT_REQUIRED
    _, stranger = new_tls_contexts()
    stranger.check_hostname = False
    stranger.verify_mode = ssl.CERT_NONE

    async def main() -> None:
        async with serve(echo, engine, ssl=server_context) as server:
            with pytest.raises((OSError, trunkline.InvalidMessage)):  # with TLS 1.3 the client hears of it later
                await connect(server, engine, ssl=stranger)
            assert not server.connections

    run_clean(main)


@engines
def test_versions_that_do_not_meet(engine: str) -> None:
    server_context, client_context = new_tls_contexts()
    server_context.minimum_version = ssl.TLSVersion.TLSv1_3
    client_context.maximum_version = ssl.TLSVersion.TLSv1_2

    async def main() -> None:
        async with serve(echo, engine, ssl=server_context) as server:
            # asyncio's server closes without an alert.
            with pytest.raises(ssl.SSLError if engine == "reactor" else OSError):
                await connect(server, engine, ssl=client_context)

    run_clean(main)


@engines
@pytest.mark.parametrize("ending", ["close", "reset", "wait"])
@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01\x02\x00\x01", request(), b"\0" * 70_000])
def test_strangers_are_dropped(engine: str, data: bytes, ending: str) -> None:
    async def main() -> None:
        async with serve(echo, engine, ssl_handshake_timeout=0.2) as server:
            await still_serves(server, engine)
            before = descriptors()
            peer = await RawPeer.connect(port_of(server))
            try:
                await peer.send(data)
            except ConnectionError:
                assert len(data) > 10_000
            if ending == "wait":
                await peer.read_to_eof()
            getattr(peer, "close" if ending == "wait" else ending)()
            await settled(lambda: descriptors() <= before)
            assert descriptors() <= before
            await still_serves(server, engine)

    run_clean(main)


@compiled
def test_context_of_a_client_is_no_good_for_a_server() -> None:
    async def main() -> None:
        reported: list[dict[str, Any]] = []
        async with serve(echo, "reactor", ssl=tls_contexts()[1]) as server:
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
            before = descriptors()
            async with await RawPeer.connect(port_of(server)) as peer:
                assert await peer.outcome() is None
            await settled(lambda: descriptors() <= before)
            assert descriptors() <= before
        # Which of the two the module ssl misses first depends on its version.
        reason = str(reported[0]["exception"])
        assert "PROTOCOL_TLS_CLIENT" in reason or "server_hostname" in reason

    asyncio.run(main())


@engines
def test_server_that_says_nothing(engine: str) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            uri = f"wss://localhost:{listening.getsockname()[1]}/"
            with pytest.raises(ConnectionAbortedError, match="handshake"):
                await trunkline.connect(
                    uri, engine=engine, ssl=tls_contexts()[1], proxy=None, ssl_handshake_timeout=0.05
                )

    run_clean(main)


@engines
def test_server_that_goes_away(engine: str) -> None:
    async def main() -> None:
        async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.close()

        async with await asyncio.start_server(leave, "127.0.0.1", 0) as server:
            uri = f"wss://localhost:{server.sockets[0].getsockname()[1]}/"
            with pytest.raises(ConnectionError):
                await trunkline.connect(uri, engine=engine, ssl=tls_contexts()[1], proxy=None)

    run_clean(main)


@engines
def test_cancelled_handshake_leaves_nothing(engine: str) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            before = descriptors()
            uri = f"wss://localhost:{listening.getsockname()[1]}/"
            connecting = trunkline.connect(uri, engine=engine, ssl=tls_contexts()[1], proxy=None)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await connecting
            await settled(lambda: descriptors() <= before)
            assert descriptors() <= before

    run_clean(main)


@pytest.mark.parametrize(
    ("engine", "options", "error", "message"),
    [
        pytest.param("reactor", {"ssl_handshake_timeout": 0}, ValueError, "it must be more than 0", marks=compiled),
        pytest.param("reactor", {"ssl_shutdown_timeout": -1}, ValueError, "it must be more than 0", marks=compiled),
        pytest.param("reactor", {"ssl": True}, TypeError, "SSLContext", marks=compiled),
        ("transports", {"ssl": True}, TypeError, "SSLContext"),
        ("auto", {"ssl": None, "ssl_handshake_timeout": 1}, ValueError, "is only meaningful with ssl"),
    ],
)
def test_bad_arguments_of_servers(engine: str, options: dict[str, Any], error: type, message: str) -> None:
    async def main() -> None:
        with pytest.raises(error, match=message):
            await serve(echo, engine, **options)

    run_clean(main)


@engines
def test_socket_without_a_name_to_verify(engine: str) -> None:
    async def main() -> None:
        async with serve(echo, engine) as server:
            sock = socket.create_connection(("127.0.0.1", port_of(server)))
            async with connect(server, engine, sock=sock) as ws:  # the name of the URI
                await ws.send("hello")
                assert await ws.recv() == "hello"

    run_clean(main)


# --- the end ---


@engines
def test_close_notify_follows_the_last_frame(engine: str) -> None:
    async def main() -> None:
        async with serve(echo, engine) as server, await peer_of(server) as peer:
            await peer.send(close_frame(1000))
            assert await peer.read_close() == 1000
            assert await peer.read_to_eof() == b""
            assert peer.notified
            await peer.end()
            await settled(lambda: not server.connections)
            assert not server.connections

    run_clean(main)


@engines
@pytest.mark.parametrize("how", ["end", "close", "reset"])
def test_peers_that_leave_without_a_closing_handshake(engine: str, how: str) -> None:
    async def main() -> None:
        accepted = Accepted()
        async with serve(accepted, engine) as server, await peer_of(server) as peer:
            ws = await accepted.connection()
            done = getattr(peer, how)()
            if how == "end":
                await done
                await peer.read_to_eof()
                assert peer.notified
            await asyncio.wait_for(ws.wait_closed(), 10)
            assert ws.close_code == 1006

    run_clean(main)


@compiled
def test_peer_that_answers_no_close_notify_is_dropped() -> None:
    async def main() -> None:
        async with (
            serve(echo, "reactor", ssl_shutdown_timeout=0.1) as server,
            await peer_of(server) as peer,
        ):
            await peer.send(close_frame(1000))
            await peer.read_to_eof()
            await settled(lambda: not server.connections)
            assert not server.connections

    run_clean(main)


@engines
def test_messages_after_our_close_do_no_harm(engine: str) -> None:
    async def main() -> None:
        accepted = Accepted()
        async with serve(accepted, engine) as server, await peer_of(server) as peer:
            ws = await accepted.connection()
            closing = asyncio.ensure_future(ws.close())
            assert await peer.read_close() == 1000
            for _ in range(20):
                await peer.send(encode_frame(2, os.urandom(100_000), mask=b"mask"))
            await peer.send(close_frame(1000))
            await asyncio.wait_for(closing, 20)  # asyncio's transports wait for close_notify until close_timeout
            assert ws.close_code == 1000

    run_clean(main)


@engines
def test_forged_record_ends_the_connection_only(engine: str) -> None:
    async def main() -> None:
        accepted = Accepted()
        async with serve(accepted, engine) as server, await peer_of(server) as peer:
            ws = await accepted.connection()
            peer.tls.write(encode_frame(1, b"true", mask=b"mask"))
            true = peer.records()
            if engine == "transports":  # those of asyncio forget what came in the same packet
                await RawPeer.send(peer, true)
                true = b""
                await asyncio.sleep(0.1)
            peer.tls.write(encode_frame(1, b"false", mask=b"mask"))
            forged = bytearray(true + peer.records())
            forged[-1] ^= 1
            await RawPeer.send(peer, bytes(forged))
            await asyncio.wait_for(ws.wait_closed(), 10)
            assert await ws.recv() == "true"
            with pytest.raises(trunkline.ConnectionClosedError) as caught:
                await ws.recv()
            assert isinstance(caught.value.__cause__, ssl.SSLError)

    run_clean(main)


# --- back-pressure ---


@engines
def test_a_peer_that_does_not_read_holds_up_senders(engine: str) -> None:
    async def main() -> None:
        accepted = Accepted()
        async with (
            serve(accepted, engine, write_limit=100_000, ping_interval=None) as server,
            await peer_of(server, receive_buffer=4096) as peer,
        ):
            ws = await accepted.connection()
            sending = await blocked_send(ws)
            assert ws.transport.get_write_buffer_size() < 400_000
            frames = 0
            while frames < 100:  # it goes on when the peer reads
                assert (await peer.read_frame()).payload == b"x" * 65536
                frames += 1
            sending.cancel()

    run_clean(main)


@engines
def test_an_application_that_does_not_read_holds_up_the_peer(engine: str) -> None:
    async def main() -> None:
        accepted = Accepted()
        async with serve(accepted, engine, max_queue=4) as server, await peer_of(server) as peer:
            ws = await accepted.connection()
            for _ in range(2000):
                peer.tls.write(encode_frame(2, bytes(10_000), mask=b"mask"))
            records = peer.records()
            sending = asyncio.create_task(RawPeer.send(peer, records, patience=60))
            done, _ = await asyncio.wait([sending], timeout=0.3)
            assert not done
            for _ in range(2000):
                assert await ws.recv() == bytes(10_000)
            await sending

    run_clean(main)

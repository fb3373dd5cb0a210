"""Servers behind proxies, and limits of connections: the client's address, and refusals that leave nothing behind."""

from __future__ import annotations

import socket
import struct
from typing import Any

from trunkline.testing.conformance.scenario import SERVER, scenario
from trunkline.testing.conformance.world import Server, World, eventually
from trunkline.testing.peer import Peer
from trunkline.testing.wire import CLOSE, close_frame, encode_frame, request, status_of

VERSION_1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 51234 443\r\n"
VERSION_2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11"
    + struct.pack("!H4s4sHH", 20, socket.inet_aton("192.0.2.1"), socket.inet_aton("198.51.100.2"), 51234, 443)
    + struct.pack("!BHBI", 0x20, 5, 1, 0)  # the client came over TLS
)


def opened(peer: Peer, server: Server, *headers: str, before: bytes = b"") -> Any:
    """Open a connection; the server's end of it."""
    peer.send(before + request(*headers))
    assert status_of(peer.read_head()) == 101
    return server.accept()


def refused(world: World, server: Server, *headers: str, before: bytes = b"") -> int:
    """The status with which a server refuses a request, or 0 if it answers nothing."""
    with world.peer_of(server) as peer:
        peer.send(before + request(*headers))
        answer = peer.read_to_eof()
        return status_of(answer) if answer else 0


@scenario(SERVER)
def believes_headers_of_trusted_proxies(world: World) -> None:
    """RFC 7239: the address and the scheme of the client, before any hook looks at them."""
    seen = []

    def process_request(connection, request):  # type: ignore[no-untyped-def]
        seen.append(connection.remote_address)

    for hooks in ({"process_request": process_request}, {}):
        options: dict[str, Any] = hooks
        with world.serve(trusted_proxies=["127.0.0.0/8"], **options) as server:
            for headers, address, scheme in (
                (("X-Forwarded-For: 203.0.113.9, 192.0.2.1", "X-Forwarded-Proto: https"), ("192.0.2.1", 0), "wss"),
                (('Forwarded: for="[2001:db8::1]:4711";proto=http',), ("2001:db8::1", 4711), "ws"),
            ):
                with world.peer_of(server) as peer:
                    ws = opened(peer, server, *headers)
                    assert (ws.remote_address, ws.scheme) == (address, scheme)
            with world.peer_of(server) as peer:
                ws = opened(peer, server)
                assert (ws.remote_address[:2], ws.scheme) == (peer.sock.getsockname()[:2], "ws")
    assert seen[:2] == [("192.0.2.1", 0), ("2001:db8::1", 4711)]


@scenario(SERVER)
def believes_nobody_else(world: World) -> None:
    """A client can write these headers, too."""
    spoofed = ("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "Forwarded: for=192.0.2.1;proto=https")
    for proxies in ([], ["10.0.0.0/8", "unix"]):
        with world.serve(trusted_proxies=proxies) as server, world.peer_of(server) as peer:
            ws = opened(peer, server, *spoofed)
            assert (ws.remote_address[:2], ws.scheme) == (peer.sock.getsockname()[:2], "ws")


@scenario(SERVER)
def reads_the_proxy_protocol(world: World) -> None:
    """Both versions, in any pieces; behind it stands a handshake like any other."""
    with world.serve(proxy_protocol=True) as server:
        for header, scheme in ((VERSION_1, "ws"), (VERSION_2, "wss")):
            with world.peer_of(server) as peer:
                ws = opened(peer, server, before=header)
                assert (ws.remote_address, ws.scheme) == (("192.0.2.1", 51234), scheme)
                peer.send(encode_frame(1, b"hello"))
                assert ws.recv() == "hello"
            with world.peer_of(server) as peer:
                for at in range(len(header)):
                    peer.send(header[at : at + 1])
                assert opened(peer, server).remote_address == ("192.0.2.1", 51234)
        with world.peer_of(server) as peer:
            ws = opened(peer, server, before=b"PROXY UNKNOWN\r\n")
            assert ws.remote_address[:2] == peer.sock.getsockname()[:2]
        assert refused(world, server) == 400  # a client that no proxy introduced
        assert refused(world, server, before=b"PROXY TCP4 nonsense\r\n") == 400
    with world.serve(proxy_protocol=True, trusted_proxies=["10.0.0.0/8"]) as server:
        assert refused(world, server, before=VERSION_1) == 400
    both = ["127.0.0.1", "192.0.2.0/24"]  # a proxy of TCP before one of HTTP
    with world.serve(proxy_protocol=True, trusted_proxies=both) as server, world.peer_of(server) as peer:
        ws = opened(peer, server, "X-Forwarded-For: 203.0.113.7", before=VERSION_1)
        assert ws.remote_address == ("203.0.113.7", 0)


@scenario(SERVER)
def takes_so_many_connections(world: World) -> None:
    """One more is refused with 503, and the place of one that has ended is free."""
    hooks = []

    def process_request(connection, request):  # type: ignore[no-untyped-def]
        hooks.append(request.path)

    with world.serve(max_connections=2, process_request=process_request) as server:
        with world.peer_of(server) as first:
            opened(first, server)
            with world.peer_of(server) as second:
                ws = opened(second, server)
                assert refused(world, server) == refused(world, server) == 503
                assert len(hooks) == 2  # the program isn't asked for those that are refused anyway
                ws.finish()
                assert second.read_frame().opcode == CLOSE
                second.send(close_frame(1000))
                assert second.read_to_eof() == b""
            eventually(lambda: server.raw.admission.count == 1)
            with world.peer_of(server) as third:
                opened(third, server)
                assert refused(world, server) == 503
        server.release()
        eventually(lambda: server.raw.admission.count == 0)


@scenario(SERVER)
def takes_so_many_connections_of_an_address(world: World) -> None:
    """Behind a proxy, the address is that of the client; a request that is refused for another reason doesn't count."""
    with world.serve(max_per_ip=1, trusted_proxies=["127.0.0.1"], origins=[None]) as server:
        assert refused(world, server, "X-Forwarded-For: 192.0.2.1", "Origin: https://elsewhere.example") == 403
        with world.peer_of(server) as first, world.peer_of(server) as second:
            opened(first, server, "X-Forwarded-For: 192.0.2.1")
            assert refused(world, server, "X-Forwarded-For: 192.0.2.1") == 429
            opened(second, server, "X-Forwarded-For: 192.0.2.2")
        server.release()
        eventually(lambda: server.raw.admission.count == 0)
        with world.peer_of(server) as third:
            opened(third, server, "X-Forwarded-For: 192.0.2.1")

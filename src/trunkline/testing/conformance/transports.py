"""Connections over other transports than plain TCP."""

from __future__ import annotations

import os

from trunkline.exceptions import ConnectionClosedOK
from trunkline.testing.conformance.scenario import CLIENT, PAIR, SERVER, scenario
from trunkline.testing.conformance.world import World, expect
from trunkline.testing.peer import Peer
from trunkline.testing.tls import tls_contexts
from trunkline.testing.wire import TEXT


@scenario(needs=(*PAIR, "tls"))
def tls_at_both_ends(world: World) -> None:
    """`ssl=` for both; messages of all sizes, and a clean end."""
    server_context, client_context = tls_contexts()
    with (
        world.serve(ssl=server_context) as server,
        world.connect(server.secure_uri, ssl=client_context) as client,
    ):
        ws = server.accept()
        for message in ("hello", os.urandom(1 << 19)):
            sending = client.start("send", message)
            assert ws.recv() == message
            sending.result()
            ws.send(message)
            assert client.recv() == message
        closing = client.start("close")
        with expect(ConnectionClosedOK):
            ws.recv()
        closing.result()
        assert client.close_code == ws.close_code == 1000


@scenario(SERVER, needs=("tls",))
def tls_client_that_hangs_up(world: World) -> None:
    """A client that connects and says nothing, nonsense, or hangs up, harms no other client."""
    server_context, client_context = tls_contexts()
    with world.serve(ssl=server_context, open_timeout=0.3) as server:
        for nonsense in (b"", b"GET / HTTP/1.1\r\n\r\n"):
            with Peer.connect(server.address[:2]) as peer:
                peer.send(nonsense)
        with Peer.connect(server.address[:2], tls=client_context) as peer:
            peer.open()
            peer.send_frame(TEXT, b"a")
            assert server.accept().recv() == "a"


@scenario(CLIENT, needs=("tls",))
def certificates_are_verified(world: World) -> None:
    """wss:// without `ssl=` trusts whom the system trusts, and not a certificate that signed itself."""
    server_context, _ = tls_contexts()
    with world.listen() as listener:
        connecting = world.start_connecting(listener.uri.replace("ws://", "wss://"))
        with expect(OSError):  # ssl.SSLError is one
            listener.tls = server_context
            listener.accept()
        with expect(OSError):
            connecting.result()


@scenario(needs=(*PAIR, "unix server", "unix client"))
def unix_sockets_at_both_ends(world: World) -> None:
    """`path=`: a Unix socket."""
    path = world.temporary_path()
    with world.serve(path=path) as server:
        client = world.connected(world.start_connecting("ws://localhost/chat", path=path))
        ws = server.accept()
        assert ws.request.path == "/chat"
        client.send("hello")
        assert ws.recv() == "hello"
        client.close()
        with expect(ConnectionClosedOK):
            ws.recv()

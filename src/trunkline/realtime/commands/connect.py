"""The connect command: a client says who it is, and is put into its channels."""

from __future__ import annotations

import random
from collections.abc import Callable

from trunkline.realtime import codes
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.commands.auth import Auth
from trunkline.realtime.commands.ends import Ends
from trunkline.realtime.commands.initial import ServerSide, put_into_channels, resume
from trunkline.realtime.hub.connected import Client, ClientState
from trunkline.realtime.hub.hub import Hub
from trunkline.realtime.program.functions import Functions
from trunkline.realtime.program.hooks import call
from trunkline.realtime.publication import ClientInfo
from trunkline.realtime.subscriptions.entering import Gone, Subscriptions
from trunkline.realtime.wire.messages import ConnectRequest, ConnectResult, as_bytes, seconds
from trunkline.realtime.wire.payloads import decoded, encode
from trunkline.version import __version__

__all__ = ["VERSION", "Connecting", "introduce"]

VERSION = f"trunkline {__version__}"


class Connecting:
    """Carries out connect commands.

    Args:
        hub: gets to know the clients.
        functions: of the program.
        auth: checks tokens.
        subscriptions: begins subscriptions.
        ends: knows when connections end.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        hub: Hub,
        functions: Functions,
        auth: Auth,
        subscriptions: Subscriptions,
        ends: Ends,
        clock: Callable[[], float],
    ) -> None:
        self.hub = hub
        self.functions = functions
        self.auth = auth
        self.subscriptions = subscriptions
        self.ends = ends
        self.clock = clock

    async def connect(self, client: Client, id: int, request: ConnectRequest) -> None:
        """Connect a client."""
        client.connecting()
        try:
            result = await self._accept(client, request)
        except BaseException:
            await self._undo(client)
            raise
        client.connected(self.clock(), random.random())
        if client.leaving:
            client.peer_left()
            return
        client.reply(id, connect=result)
        subscriptions = list(client.subscriptions.values())
        for subscription in subscriptions:
            self.hub.start(client, subscription)
        self.ends.connection(client, client.ttl)
        for subscription in subscriptions:
            await self.subscriptions.announce(client, subscription)

    async def _undo(self, client: Client) -> None:
        """A connect command was refused: nothing of it stays, as another user may send the next one."""
        leaving = self.subscriptions.leaving
        subscriptions = leaving.leave_rooms(client)
        self.hub.remove(client)
        if client.state is not ClientState.CLOSED:
            client.connect_refused(self.clock())
            self.ends.watch(client)
        await leaving.take_leave(client, subscriptions)

    async def _accept(self, client: Client, request: ConnectRequest) -> ConnectResult:
        client.name, client.version, client.token = request.name[:64], request.version[:64], request.token
        server_side = self._authenticate(client)
        data = await call(self.functions.connect, client, as_bytes(request.data), {})
        if client.state is ClientState.CLOSED:
            raise Gone
        if client.ttl is not None and client.ttl <= 0:
            raise Refused(codes.TOKEN_EXPIRED)
        client.channels = client.channels  # checked once more: the hook may have changed the list itself
        introduce(self.hub, client)
        subs = await put_into_channels(self.subscriptions, client, request.subs, server_side)
        subs |= await resume(self.subscriptions, client, request.subs)
        if any(subscription.lost for subscription in client.subscriptions.values()):
            raise Disconnected(codes.INSUFFICIENT_STATE)
        ping = client.timeouts.ping
        return ConnectResult(
            client=client.id,
            version=VERSION,
            expires=client.ttl is not None,
            ttl=seconds(client.ttl),
            data=client.codec.payload(data),
            subs={name: result for name, result in subs.items() if name in client.subscriptions},
            ping=seconds(ping),
            pong=ping is not None,
        )

    def _authenticate(self, client: Client) -> dict[str, ServerSide]:
        """Look at the token of a client, unless its door knows it. Returns the token's words about channels."""
        if client.known is not None:
            client.user, client.info = client.known
            if not client.token:
                return {}
        if self.auth.tokens is None or (not client.token and self.functions.connect is not None):
            return {}
        if not client.token:
            raise Refused(codes.UNAUTHORIZED)
        token = self.auth.connection(client.token)
        client.user, client.info, client.meta = token.user, decoded(token.info), token.meta
        client.channels = token.channels
        client.ttl = self.auth.time_left(token.ends_at)
        return {name: ServerSide(*each) for name, each in token.channels.items()}


def introduce(hub: Hub, client: Client) -> None:
    """It is known who a client is: others may see it from now on."""
    client.shown = ClientInfo(client.user, client.id, None if client.info is None else encode(client.info))
    hub.add(client)

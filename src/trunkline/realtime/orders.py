"""Carries out orders for the clients of this node, whether its own program gives them, or another node's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from trunkline.core.writer import PreparedMessage
from trunkline.realtime import control
from trunkline.realtime.codes import Refused
from trunkline.realtime.commands.ends import Ends
from trunkline.realtime.control import Answer, Refusal
from trunkline.realtime.hub.connected import Client, ClientState
from trunkline.realtime.hub.hub import Hub
from trunkline.realtime.publication import as_text
from trunkline.realtime.subscriptions.entering import Subscriptions
from trunkline.realtime.wire.codecs import Codec
from trunkline.realtime.wire.messages import Message, Push, Reply

__all__ = ["Orders"]


class Orders:
    """Finds the clients that an order concerns, and does to them what it says.

    Args:
        hub: the clients.
        subscriptions: begins and ends subscriptions.
        ends: knows when connections end.
    """

    def __init__(self, hub: Hub, subscriptions: Subscriptions, ends: Ends) -> None:
        self._hub = hub
        self._subscriptions = subscriptions
        self._ends = ends
        self._acts: Final[dict[type[control.Order], Callable[[Client, Any], Awaitable[None]]]] = {
            control.Disconnect: self._disconnect,
            control.Subscribe: self._subscribe,
            control.Unsubscribe: self._unsubscribe,
            control.Refresh: self._refresh,
        }

    async def carry_out(self, order: control.Order) -> Answer:
        """Carry out an order for each client that it concerns, also if one of them can't have it.

        Raises:
            BrokerError: if the store or the broker failed; the other clients have what the order says nevertheless.
        """
        clients = self._find(order)
        if isinstance(order, control.Send):
            return Answer(self._send(clients, order))
        failed: list[Exception] = []
        for client in clients:
            try:
                await self._acts[type(order)](client, order)
            except Exception as error:
                failed.append(error)
        return _answer(len(clients), failed)

    def _find(self, order: control.Order) -> list[Client]:
        if order.user is None and order.client is None:
            raise TypeError("say who: give user or client")
        return self._hub.find(None if order.user is None else as_text("user", order.user), order.client)

    async def _disconnect(self, client: Client, order: control.Disconnect) -> None:
        client.disconnect(order.code, order.reason)

    async def _subscribe(self, client: Client, order: control.Subscribe) -> None:
        await self._subscriptions.subscribe(client, order.channel)

    async def _unsubscribe(self, client: Client, order: control.Unsubscribe) -> None:
        await self._subscriptions.unsubscribe(client, order.channel)

    async def _refresh(self, client: Client, order: control.Refresh) -> None:
        client.ttl = order.ttl
        if client.state is ClientState.CONNECTED:  # one that still connects begins with its `ttl`
            self._ends.connection(client, order.ttl)

    def _send(self, clients: Sequence[Client], order: control.Send) -> int:
        """Send a message to those who can hear it. Returns how many these are."""
        frames: dict[Codec, PreparedMessage] = {}
        listening = [each for each in clients if each.state is ClientState.CONNECTED and each.codec.events]
        for client in listening:
            codec = client.codec
            if codec not in frames:
                frames[codec] = codec.encode([Reply(push=Push(message=Message(codec.payload(order.data))))])
            client.send_nowait(frames[codec])
        return len(listening)


def _answer(clients: int, failed: Sequence[Exception]) -> Answer:
    refused = [error for error in failed if isinstance(error, Refused)]
    others = [error for error in failed if not isinstance(error, Refused)]
    if others:
        raise others[0]
    if refused:
        refusal = Refusal(refused[0].code, refused[0].message, refused[0].temporary)
        return Answer(clients - len(failed), refusal)
    return Answer(clients)

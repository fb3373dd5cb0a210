"""The clients of a node, the rooms they are in, and how publications reach them.

A publication is encoded once for each encoding that a client in the channel speaks, framed once, compressed once, and
then handed to every connection. For a client that keeps up, that is one call of its connection, also for several
publications that come together. The connection gathers what comes before the event loop turns, and writes it at once.
Clients that are late, or have just come, are dealt with apart from the others.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from trunkline.core.writer import PreparedMessage
from trunkline.realtime import codes
from trunkline.realtime.hub.connected import Client, ClientState
from trunkline.realtime.hub.room import Room
from trunkline.realtime.hub.stats import Stats
from trunkline.realtime.hub.subscription import Subscription
from trunkline.realtime.program.pace import Pace
from trunkline.realtime.publication import ClientInfo, Publication
from trunkline.realtime.wire import messages
from trunkline.realtime.wire.codecs.base import Codec, InvalidPayload
from trunkline.realtime.wire.messages import Join, Leave, Push, Reply

__all__ = ["Hub"]

logger = logging.getLogger("trunkline.realtime")

TOGETHER: Final = 1 << 16  # bytes of publications in one frame, as client libraries have limits, too


class Hub:
    """The clients of this node, and the rooms they are in. The broker tells it the events of channels (`BrokerEvents`).

    Args:
        check_thread: raises `RuntimeError` in any thread but the one in which all of this happens.
        pace: lets publications leave before the program may be slow.

    Attributes:
        rooms: by the name of the channel.
        clients: by id.
        by_user: the clients of each user.
        on_position_lost: called with a client and its subscription when the client must recover.
        on_closed: called with a client that is about to be gone.
        on_server_closing: called with a client whose connection its server is about to close.
    """

    def __init__(self, check_thread: Callable[[], None], pace: Pace) -> None:
        self.check_thread = check_thread
        self.pace = pace
        self.rooms: dict[str, Room] = {}
        self.clients: dict[str, Client] = {}
        self.by_user: dict[str, set[Client]] = {}
        self.on_position_lost: Callable[[Client, Subscription], None] | None = None
        self.on_closed: Callable[[Client], None] | None = None
        self.on_server_closing: Callable[[Client], None] | None = None

    # Clients

    def add(self, client: Client) -> None:
        """A client is connected."""
        self.clients[client.id] = client
        self.by_user.setdefault(client.user, set()).add(client)

    def remove(self, client: Client) -> None:
        """A client is gone."""
        self.clients.pop(client.id, None)
        clients = self.by_user.get(client.user, set())
        clients.discard(client)
        if not clients:
            self.by_user.pop(client.user, None)

    def closed(self, client: Client) -> None:
        """A client is about to be gone: nothing more goes to it."""
        self._wake(client)
        self.remove(client)
        if self.on_closed is not None:
            self.on_closed(client)

    def server_closing(self, client: Client) -> None:
        """The server of a client's connection is about to close it."""
        if self.on_server_closing is not None:
            self.on_server_closing(client)

    def find(self, user: str | None, client: str | None) -> list[Client]:
        """The clients of a user, or the one with an id, or the one if it is the user's."""
        if client is None:
            return list(self.by_user.get(user or "", ()))
        match = self.clients.get(client)
        return [] if match is None or (user is not None and match.user != user) else [match]

    def stats(self) -> Stats:
        """The numbers of the node. May be called by any thread."""
        rooms = list(self.rooms.items())
        return Stats(len(self.clients), len(self.by_user), {name: room.stats() for name, room in rooms})

    # Subscribers

    def enter(self, client: Client, subscription: Subscription) -> Room:
        """A client begins to subscribe: from now on `subscription.buffer` collects what is delivered."""
        room = self.rooms.get(subscription.name)
        if room is None:
            room = self.rooms[subscription.name] = Room(subscription.name, subscription.channel)
        room.lost.discard(client)
        room.starting[client] = subscription
        return room

    def start(self, client: Client, subscription: Subscription) -> None:
        """Its reply is on its way: let what was delivered meanwhile follow, but nothing that it has."""
        room = self.rooms.get(subscription.name)
        buffer, subscription.buffer = subscription.buffer or [], None
        subscription.announced, subscription.before = True, None
        if room is not None:
            self._deliver_new(client, subscription, room, buffer)
        # The reply, or what followed it, may have been too much for a client that reads too slowly.
        still_there = client.subscriptions.get(subscription.name) is subscription
        if room is not None and still_there and room.offset >= subscription.skip:
            self._join_audience(room, client)

    def leave(self, client: Client, name: str) -> Room | None:
        """A client isn't in a channel any more. Returns the room if that was its last subscriber here."""
        room = self.rooms.get(name)
        if room is None:
            return None
        self._remove(room, client)
        return None if len(room) else room

    def put_back(self, client: Client, subscription: Subscription) -> None:
        """A client that must recover couldn't yet: it stays in the room, and may try again."""
        room = self.enter(client, subscription)
        self._remove(room, client)
        room.lost.add(client)

    def _remove(self, room: Room, client: Client) -> None:
        room.starting.pop(client, None)
        room.lost.discard(client)
        audience = room.audience.get(client.codec, {})
        audience.pop(client, None)
        if not audience:
            room.audience.pop(client.codec, None)
        self._not_full(room, client)

    def _join_audience(self, room: Room, client: Client) -> None:
        room.starting.pop(client, None)
        room.audience.setdefault(client.codec, {})[client] = client.peer.send_nowait

    # BrokerEvents

    def on_publications(self, channel: str, publications: Sequence[Publication]) -> None:
        """Deliver publications."""
        room = self.rooms.get(channel)
        if room is None:
            return
        room.published += len(publications)
        started = self._deliver_to_starting(room, publications) if room.starting else ()
        room.offset = publications[-1].offset or room.offset
        for codec, audience in list(room.audience.items()):
            for some in _frames(room, codec, publications):
                message = self._say(room, codec, some, audience)
                if message is not None:
                    behind = [client for client, send in audience.items() if not send(message)]
                    room.sent((len(audience) - len(behind)) * len(some))
                    for client in behind:
                        self._queue(room, client, some, message)
        for client in started:
            if client in room.starting:  # it may have been too late, and is gone
                self._join_audience(room, client)

    def on_join(self, channel: str, info: ClientInfo) -> None:
        """Tell subscribers that a client joined."""
        self._tell(channel, info, lambda shown: Push(channel, join=Join(shown)))

    def on_leave(self, channel: str, info: ClientInfo) -> None:
        """Tell subscribers that a client left."""
        self._tell(channel, info, lambda shown: Push(channel, leave=Leave(shown)))

    def on_gap(self, channel: str | None) -> None:
        """Subscribers must recover what was perhaps lost."""
        rooms = list(self.rooms.values()) if channel is None else [self.rooms[channel]] if channel in self.rooms else []
        for room in rooms:
            for client in room.clients():
                self._lose_position(room, client, client.subscriptions.get(room.name))

    def _lose_position(self, room: Room, client: Client, subscription: Subscription | None) -> None:
        """Deliver no more to a client: it would go on behind the gap. A plain client has no position to lose."""
        if subscription is None or subscription.lost or not (subscription.options.recoverable and client.codec.events):
            return
        subscription.lost = True
        if subscription.buffer is None:
            self._remove(room, client)
            room.lost.add(client)
            if self.on_position_lost is not None:
                self.on_position_lost(client, subscription)

    # Delivery

    def _deliver_to_starting(self, room: Room, publications: Sequence[Publication]) -> list[Client]:
        """Keep them for clients whose reply hasn't left; others get those that are new to them.

        Returns:
            The clients that have caught up.
        """
        started = []
        for client, subscription in list(room.starting.items()):
            if subscription.buffer is not None:
                subscription.buffer.extend(publications)
            else:
                self._deliver_new(client, subscription, room, publications)
                if publications[-1].offset > subscription.skip:
                    started.append(client)
        return started

    def _deliver_new(
        self, client: Client, subscription: Subscription, room: Room, publications: Sequence[Publication]
    ) -> None:
        """Deliver to one client, but nothing that it has."""
        new = [each for each in publications if not each.offset or each.offset > subscription.skip]
        for some in _frames(room, client.codec, new):
            message = self._say(room, client.codec, some, [client])
            if message is not None:
                if client.peer.send_nowait(message):
                    room.sent(len(some))
                else:
                    self._queue(room, client, some, message)

    def _say(
        self, room: Room, codec: Codec, publications: Sequence[Publication], clients: Collection[Client]
    ) -> PreparedMessage | None:
        """Publications in an encoding; None if they aren't for clients that speak it.

        Clients whose encoding can't say them are disconnected.
        """
        try:
            return codec.push(room.name, *publications)
        except InvalidPayload as error:
            logger.warning("disconnected %d clients in %s: %s", len(clients), room.name, error)
            for client in list(clients):
                client.disconnect(codes.INAPPROPRIATE_PROTOCOL)
        except Exception as error:  # of the program, in what makes messages for plain clients
            logger.error("a publication in %s can't be sent as %s", room.name, codec.name, exc_info=error)
        return None

    def _queue(self, room: Room, client: Client, publications: Sequence[Publication], message: PreparedMessage) -> None:
        """Let publications wait for a late client, by the policy of the channel."""
        if client.state is ClientState.CLOSED:
            return
        outbox = client.late()
        slow = room.channel.options.slow
        if slow in ("drop_oldest", "conflate"):
            key = publications[0].key if slow == "conflate" else ""  # a frame has one
            room.dropped += outbox.append_droppable(message, room.name, key, room.sent)
            return
        outbox.append(message, functools.partial(room.sent, len(publications)))
        if slow == "block" and outbox.full:
            room.full.add(client)
        if outbox.overflowing if slow == "block" else outbox.full:
            room.slow += 1
            client.disconnect(codes.SLOW)

    def _tell(self, channel: str, info: ClientInfo, push: Callable[[messages.ClientInfo], Push]) -> None:
        room = self.rooms.get(channel)
        if room is None:
            return
        frames: dict[Codec, PreparedMessage] = {}
        for client in room.clients():
            subscription = client.subscriptions.get(channel)
            if subscription is None or subscription.buffer is not None or subscription.resuming:
                continue
            if not subscription.options.join_leave or not client.codec.events:
                continue
            if client.codec not in frames:
                frames[client.codec] = client.codec.encode([Reply(push=push(client.codec.info(info)))])
            client.send_nowait(frames[client.codec])

    # Back-pressure (see `backpressure`)

    def flushed(self, client: Client) -> None:
        """The queue of a client has become shorter, or is gone."""
        self._wake(client)
        if client.outbox is not None and client.outbox.size > client.outbox.limit // 2:
            return
        for name in client.subscriptions:
            if name in self.rooms:
                self._not_full(self.rooms[name], client)

    def _wake(self, client: Client) -> None:
        """Let a client's next command look whether it may go on."""
        if client.caught_up is not None:
            client.caught_up.ring()
            client.caught_up = None

    def _not_full(self, room: Room, client: Client) -> None:
        room.full.discard(client)
        if room.writable is not None:
            room.writable.ring()
            room.writable = None


def _frames(room: Room, codec: Codec, publications: Sequence[Publication]) -> Iterator[Sequence[Publication]]:
    """Divide publications among frames. Those that may be dropped have a frame of their own."""
    if len(publications) == 1:
        yield publications
        return
    alone = not codec.several or room.channel.options.slow in ("drop_oldest", "conflate")
    some: list[Publication] = []
    size = 0
    for publication in publications:
        size += len(publication.data)
        if some and (alone or size > TOGETHER):
            yield some
            some, size = [], len(publication.data)
        some.append(publication)
    if some:
        yield some

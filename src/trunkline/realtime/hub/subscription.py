"""A client in a channel."""

from __future__ import annotations

from trunkline.realtime.program.channels import Channel
from trunkline.realtime.publication import ClientInfo, Publication

__all__ = ["Subscription"]


class Subscription:
    """A client in a channel.

    Attributes:
        channel: the declared channel that its name matches.
        options: what holds for the subscription.
        name: of the channel.
        parameters: what stands in the name for the parameters of the pattern.
        server_side: the server subscribed the client, which knows it as such.
        buffer: what was delivered since it began, and can't be sent before the reply; None once that has left.
        skip: offset up to which it has everything.
        lost: the broker may have lost publications, and the client must recover: nothing more is delivered.
        resuming: the client was told to subscribe again. Others needn't know of it.
        announced: others may know of it, and must be told when it ends.
        before: the one that it resumes, until its reply has left.
        ended: code with which the server ended it while it began.
        info: what others see of the client here.
        ends_at: when it ends unless it is refreshed, on the clock of `now`; None: never.
    """

    __slots__ = (
        "announced", "before", "buffer", "channel", "ended", "ends_at", "info", "lost", "name", "options", "parameters",
        "resuming", "server_side", "skip",
    )  # fmt: skip

    def __init__(self, name: str, channel: Channel, parameters: dict[str, str], *, server_side: bool = False) -> None:
        self.name = name
        self.channel = channel
        self.options = channel.options
        self.parameters = parameters
        self.server_side = server_side
        self.buffer: list[Publication] | None = []
        self.skip = 0
        self.lost = self.resuming = self.announced = False
        self.before: Subscription | None = None
        self.ended: int | None = None
        self.info: ClientInfo | None = None
        self.ends_at: float | None = None

    def resume(self, before: Subscription) -> None:
        """Take the place of a subscription that others know of. To them, nothing changes."""
        self.before = before
        self.info, self.announced = before.info, before.announced

    @property
    def present(self) -> bool:
        """Whether the presence of the channel may show the client."""
        return self.options.presence or (self.before is not None and self.before.options.presence)

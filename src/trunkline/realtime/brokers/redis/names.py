"""The names of our things in Redis."""

from __future__ import annotations

__all__ = ["Names"]


class Names:
    """Keys, and channels of Redis's own.

    Args:
        prefix: with which all names begin.
        db: number of the database. Messages don't belong to one, so it is in the names of their channels:
            https://redis.io/docs/latest/develop/pubsub/#database--scoping
    """

    def __init__(self, prefix: str, db: int) -> None:
        self._prefix = prefix.encode()
        self._messages = b"%b/%d" % (self._prefix, db)
        self.nodes = self._prefix + b":nodes"
        self.all_nodes = self._messages + b":n"

    def key(self, channel: str, kind: bytes) -> bytes:
        """A key of a channel. A cluster keeps those together that have the same between braces."""
        if "}" in channel or "%" in channel:
            channel = channel.replace("%", "%25").replace("}", "%7D")
        return b"%b:{%b}:%b" % (self._prefix, channel.encode(), kind)

    def messages(self, channel: str) -> bytes:
        """Where messages about a channel are published."""
        return b"%b:c:%b" % (self._messages, channel.encode())

    def node_messages(self, node: str) -> bytes:
        """Where messages for a node are published."""
        return b"%b:n:%b" % (self._messages, node.encode())

    def node_channels(self, node: str) -> bytes:
        """Key of the channels in which a node has members."""
        return b"%b:n:%b" % (self._prefix, node.encode())

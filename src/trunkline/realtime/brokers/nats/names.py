"""The names of our things in NATS. https://docs.nats.io/nats-concepts/subjects"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

__all__ = ["Names", "token", "untoken"]

UNSAFE: Final = re.compile(rb"[\x00-\x20.*>%\x7f]")


def token(name: str) -> bytes:
    """Any text as one part of a subject: neither a wildcard, nor two parts. No text gives a lone `%`."""
    return UNSAFE.sub(lambda match: b"%%%02X" % ord(match[0]), name.encode()) or b"%-"


def untoken(part: bytes) -> str:
    """The text again."""
    return "" if part == b"%-" else unquote_to_bytes(part).decode()


class Names:
    """Streams and subjects.

    Args:
        prefix: with which all subjects begin.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.encode()
        self.stream = f"TL_{prefix}"
        self.members_stream = f"TLP_{prefix}"
        self.kept_subjects = self._prefix + b".s.>"
        self.anchor = self._prefix + b".s.%"
        self.told_subjects = self._prefix + b".c.>"
        self.all_nodes = self._prefix + b".n"
        self.beats = self._prefix + b".b"
        self.presence_subjects = self._prefix + b".p.>"
        self.leases = self._prefix + b".p.l.*"

    def kept(self, channel: str) -> bytes:
        """Where publications of a channel are kept."""
        return b"%b.s.%b" % (self._prefix, token(channel))

    def told(self, channel: str) -> bytes:
        """Where NATS delivers them; nodes publish there all that isn't kept."""
        return b"%b.c.%b" % (self._prefix, token(channel))

    def node_messages(self, node: str) -> bytes:
        """Where messages for a node are published."""
        return b"%b.n.%b" % (self._prefix, node.encode())

    def lease(self, node: str) -> bytes:
        """Where a node says that it lives."""
        return b"%b.p.l.%b" % (self._prefix, node.encode())

    def member(self, node: str, channel: str, client: str) -> bytes:
        """Where a member is kept."""
        return b"%b.p.m.%b.%b.%b" % (self._prefix, node.encode(), token(channel), token(client))

    def members(self, *, node: str = "*", channel: str | None = None) -> bytes:
        """Where all members of a node, or of a channel, are kept."""
        return b"%b.p.m.%b.%b.*" % (self._prefix, node.encode(), b"*" if channel is None else token(channel))

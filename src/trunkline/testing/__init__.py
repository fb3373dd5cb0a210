"""For tests of programs, drivers and brokers: a peer whose every byte you decide, and what a driver or a
broker must do.

- `memory`: runs a program without sockets, in a time of its own.
- `peer`: a scripted client or server; `wire`: the bytes it sends and reads.
- `driver` and `conformance`: the scenarios that every driver of trunkline passes, for yours to pass, too.
- `brokers`: the same for brokers and presence.
- `tls`: a certificate for localhost.
"""

from trunkline.testing.driver import AsyncDriver, Call, Cancelled, Driver
from trunkline.testing.peer import Peer, PeerListener
from trunkline.testing.wire import RawFrame

__all__ = ["AsyncDriver", "Call", "Cancelled", "Driver", "Peer", "PeerListener", "RawFrame"]

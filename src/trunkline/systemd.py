"""The gifts of systemd to a service: sockets that listen already (socket activation), and a place to report to.

Sources: sd_listen_fds(3) and sd_notify(3). A socket that systemd holds takes connections while the service restarts, so
no client is turned away. Any service manager that speaks these protocols will do.
"""

from __future__ import annotations

import os
import socket

__all__ = ["listening_socket", "listening_sockets", "notify"]

FIRST = 3  # SD_LISTEN_FDS_START
_taken: dict[str, list[socket.socket]] | None = None


def listening_sockets() -> dict[str, list[socket.socket]]:
    """The sockets that this process was started with, by their names (`FileDescriptorName=`); empty without systemd.

    The first call removes LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES from the environment: a child process must not take
    the sockets for its own. Later calls return the same sockets.

    Raises:
        ValueError: if LISTEN_FDS isn't a number.
        OSError: if a descriptor isn't a socket.
    """
    global _taken
    if _taken is None:
        _taken = _take()
    return _taken


def listening_socket(name: str | None = None) -> socket.socket:
    """The one socket that this process was started with, for `serve(handler, sock=listening_socket())`.

    Args:
        name: its name (`FileDescriptorName=`), where there are several.

    Raises:
        LookupError: if there is none, or more than one.
    """
    sockets = [sock for key, socks in listening_sockets().items() for sock in socks if name is None or key == name]
    if len(sockets) == 1:
        return sockets[0]
    wanted = "" if name is None else f" named {name!r}"
    names = ", ".join(listening_sockets()) or "none"
    raise LookupError(
        f"this process was started with {len(sockets)} listening sockets{wanted} (names: {names}): start it from a "
        "systemd socket unit, or as `systemd-socket-activate --listen 8765 python app.py`"
    )


def notify(state: str) -> bool:
    """Report to systemd, such as "READY=1" when the server listens (`Type=notify`), or "STOPPING=1".

    Args:
        state: assignments, one a line.

    Returns:
        Whether there was a place to report to.

    Raises:
        OSError: if the report can't be sent.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):  # an abstract socket (unix(7))
        address = f"\0{address[1:]}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(state.encode(), address)
    return True


def _take() -> dict[str, list[socket.socket]]:
    if os.environ.get("LISTEN_PID") != str(os.getpid()):  # they are those of a parent
        return {}
    count = os.environ.get("LISTEN_FDS", "0")
    if not count.isdecimal():
        raise ValueError(f"LISTEN_FDS is {count!r}: it must be the number of sockets")
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    sockets: dict[str, list[socket.socket]] = {}
    for at in range(int(count)):
        os.set_inheritable(FIRST + at, False)
        name = names[at] if at < len(names) and names[at] else "unknown"
        sockets.setdefault(name, []).append(socket.socket(fileno=FIRST + at))
    for variable in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(variable, None)
    return sockets

"""The object that programs on websockets know as the task that sends pings."""

from __future__ import annotations

from trunkline.core.session import Session

__all__ = ["Keepalive"]


class Keepalive:
    """Stands for a task, as far as programs use it. There is none: pings are sent when a deadline is met."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def done(self) -> bool:
        """Whether no ping will be sent any more."""
        return not self._session.keeps_alive()

    def cancel(self, msg: object = None) -> bool:
        """Send no more pings, and wait for no pong; `Connection.start_keepalive` starts again."""
        if self.done():
            return False
        self._session.stop_keepalive()
        return True

    def get_name(self) -> str:
        return "keepalive"

    def set_name(self, value: object) -> None:
        """Do nothing: the name would not be seen, as it is in no list of tasks."""

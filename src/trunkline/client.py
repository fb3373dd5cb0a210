"""The client's side of a connection without I/O, under the name by which users import it."""

from trunkline.endpoint.reconnecting import *  # noqa: F403
from trunkline.sansio.client import *  # noqa: F403

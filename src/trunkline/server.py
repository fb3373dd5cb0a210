"""The server's side of a connection without I/O, under the name by which users import it."""

from trunkline.sansio.server import *  # noqa: F403

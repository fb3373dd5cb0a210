"""A connection without I/O, under the name by which users import it."""

from trunkline.sansio.protocol import *  # noqa: F403

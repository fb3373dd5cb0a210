"""The names of Cython itself, where modules import it, and declarations that come with it."""

from trunkline.core._cython import *  # noqa: F403

"""The modules that the build of this installation wanted. setup.py puts its own in the place of this one.

This one is that of sources in place, which were never built, and of TRUNKLINE_EXTENSIONS=off.
"""

#: Names of the modules to compile.
WANTED: tuple[str, ...] = ()

#: Why they could not be compiled; empty if they were.
FAILURE: str = ""

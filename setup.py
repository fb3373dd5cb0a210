"""Builds the extension modules; everything else about the package stands in pyproject.toml.

The compiled core and the interpreted one are the same .py sources: a build without extensions is complete, only slower.

    TRUNKLINE_EXTENSIONS=auto     build them; if that fails, say why and go on without (default)
                         require  build them or fail
                         off      build none
    TRUNKLINE_DEBUG=1             bounds checks, no optimisation, debug symbols
    TRUNKLINE_SANITIZE=address,undefined   pass -fsanitize to compiler and linker
    TRUNKLINE_STRICT=1            take C that newer compilers refuse for an error with older ones too, as `make` does
"""

import os
import sys
import textwrap
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

EXTENSIONS = [
    ("trunkline.core.deflate", "src/trunkline/core/deflate.py"),
    ("trunkline.core.reader", "src/trunkline/core/reader.py"),
    ("trunkline.core.writer", "src/trunkline/core/writer.py"),
    ("trunkline.core.inbox", "src/trunkline/core/inbox.py"),
    ("trunkline.core.session", "src/trunkline/core/session.py"),
    ("trunkline.handshake.fastpath", "src/trunkline/handshake/fastpath.pyx"),
    ("trunkline.endpoint.connection", "src/trunkline/endpoint/connection.py"),
    ("trunkline.endpoint.broadcast", "src/trunkline/endpoint/broadcast.py"),
    ("trunkline.endpoint.carrier", "src/trunkline/endpoint/carrier.py"),
    ("trunkline.endpoint.life", "src/trunkline/endpoint/life.py"),
    ("trunkline.endpoint.line", "src/trunkline/endpoint/line.py"),
    ("trunkline.asyncio.awaitables", "src/trunkline/asyncio/awaitables.py"),
    ("trunkline.asyncio.shared", "src/trunkline/asyncio/shared.py"),
    ("trunkline.asyncio.carrier", "src/trunkline/asyncio/carrier.py"),
    ("trunkline.asyncio.receiving", "src/trunkline/asyncio/receiving.py"),
    ("trunkline.asyncio.link", "src/trunkline/asyncio/link.py"),
    ("trunkline.asyncio.server_link", "src/trunkline/asyncio/server_link.py"),
    ("trunkline.asyncio.opening", "src/trunkline/asyncio/opening.py"),
    ("trunkline.asgi.link", "src/trunkline/asgi/link.py"),
    ("trunkline.realtime.wire.codecs.wireformat", "src/trunkline/realtime/wire/codecs/wireformat.py"),
]
if sys.platform == "linux":
    EXTENSIONS += [
        ("trunkline.reactor.system", "src/trunkline/reactor/system.pyx"),
        ("trunkline.reactor.epoll", "src/trunkline/reactor/epoll.pyx"),
        ("trunkline.reactor.transport", "src/trunkline/reactor/transport.pyx"),
        ("trunkline.reactor.sockets", "src/trunkline/reactor/sockets.pyx"),
        ("trunkline.reactor.tls", "src/trunkline/reactor/tls.pyx"),
    ]

MODE = os.environ.get("TRUNKLINE_EXTENSIONS", "auto")
if MODE not in ("auto", "require", "off"):
    raise SystemExit(f"TRUNKLINE_EXTENSIONS is {MODE!r}: it must be auto, require or off")
DEBUG = os.environ.get("TRUNKLINE_DEBUG", "0") not in ("", "0")
STRICT = os.environ.get("TRUNKLINE_STRICT", "0") not in ("", "0")
SANITIZE = os.environ.get("TRUNKLINE_SANITIZE", "")

# Objects built with other flags must never be reused, so each flavour has a build tree of its own.
FLAVOUR = "off" if MODE == "off" else ("debug" if DEBUG else "release") + SANITIZE.replace(",", "-")

DIRECTIVES = {"language_level": 3, "boundscheck": DEBUG, "wraparound": False, "cdivision": True,
              "freethreading_compatible": False}  # fmt: skip
# What GCC from 14 and clang from 16 refuse anyway. Users' builds go without: an older compiler manages with a warning.
REFUSED = ("incompatible-pointer-types", "int-conversion", "implicit-function-declaration")
FALLBACK = """
********************************************************************************************************************
trunkline: the extension modules were NOT built: {error}
The package works without them, only slower. To get them, install a C compiler and the headers of Python, or
set TRUNKLINE_EXTENSIONS=require to see all of the error. TRUNKLINE_EXTENSIONS=off asks for the interpreted build.
********************************************************************************************************************
"""


RECORD = """\
\"\"\"What the build of this installation wanted.\"\"\"

WANTED: tuple[str, ...] = {wanted!r}
FAILURE: str = {failure!r}
"""


class BuildExtensions(build_ext):
    """Builds every extension, or, where the mode allows it, none; leaves a record of what was wanted."""

    def run(self) -> None:
        in_place = self.inplace  # which an error changes
        wanted, failure = tuple(extension.name for extension in self.extensions), ""
        if not in_place:
            self.remove_former_ones()
        try:
            super().run()
        except Exception as error:
            if MODE == "require":
                raise
            print(FALLBACK.format(error=error), file=sys.stderr)
            # Those that did compile go too: compiled and interpreted modules were never tested together.
            for name, _ in EXTENSIONS:
                Path(self.get_ext_fullpath(name)).unlink(missing_ok=True)
            self.extensions = []
            failure = textwrap.shorten(f"the build failed: {error}", 90)
        if not in_place:
            record = Path(self.build_lib, "trunkline", "build_record.py")
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text(RECORD.format(wanted=wanted, failure=failure), encoding="utf-8")

    def remove_former_ones(self) -> None:
        """Remove what an earlier build has compiled and this one doesn't: it would hide its source."""
        ours = {Path(self.get_ext_fullpath(name)) for name, _ in EXTENSIONS}
        for built in set(Path(self.build_lib).rglob("*.so")) - ours:
            built.unlink()

    def build_extensions(self) -> None:
        self.parallel = self.parallel or processors()
        # setuptools has prepared its own objects by now, so they stay, with the generated C for sources.
        for extension, generated in zip(self.extensions, self.generate(), strict=True):
            extension.sources, extension.depends = generated.sources, generated.depends
        # The module that takes longest comes first, so that no processor is left with it at the end.
        self.extensions.sort(key=lambda extension: -Path(extension.sources[0]).stat().st_size)
        super().build_extensions()

    def generate(self) -> list[Extension]:
        """C from Python."""
        from Cython.Build import cythonize

        options = {"build_dir": f"build/{FLAVOUR}/cython", "include_path": ["src"], "compiler_directives": DIRECTIVES}
        try:
            return cythonize(self.extensions, nthreads=self.parallel, **options)
        except (ImportError, OSError):  # a system without semaphores, where a process can't have others work for it
            return cythonize(self.extensions, **options)


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


sanitize = [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer"] if SANITIZE else []
compile_args = ["-O0", "-g"] if DEBUG else ["-O3"]
compile_args += sanitize
link_args = [*sanitize]
if STRICT:
    compile_args += [f"-Werror={kind}" for kind in REFUSED]
if not DEBUG and not SANITIZE:
    compile_args.append("-g0")  # Python's own flags ask for a debugger's symbols, which take a quarter of the time
    link_args += ["-Wl,--strip-all"] if sys.platform == "linux" else []
extensions = [
    Extension(name, [source], include_dirs=["src"], extra_compile_args=compile_args, extra_link_args=link_args)
    for name, source in EXTENSIONS
    if MODE != "off" and Path(source).exists()
]
if __name__ == "__main__":  # where processes aren't forked, those that generate C import this file
    setup(
        ext_modules=extensions,
        cmdclass={"build_ext": BuildExtensions},
        options={"build": {"build_base": f"build/{FLAVOUR}"}},
    )

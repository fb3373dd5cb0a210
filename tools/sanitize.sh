#!/usr/bin/env bash
# Build the extension modules with bounds checks and the compiler's sanitizers, and run the tests of the engine on them;
# then look for leaks.
#
#   tools/sanitize.sh PYTHON [TESTS...]     PYTHON of a virtual environment, into which the package is installed
set -eu
cd "$(dirname "$0")/.."
python=$1
shift
[ $# -gt 0 ] || set -- tests/core tests/asyncio tests/robustness tests/reactor tests/handshake tests/fuzz

TRUNKLINE_DEBUG=1 TRUNKLINE_SANITIZE=address,undefined TRUNKLINE_EXTENSIONS=require \
    "$python" -m pip install --quiet --no-build-isolation --no-deps .

library() { "${CC:-gcc}" -print-file-name="$1"; }
# Python itself is not built with the sanitizers, so their run-time libraries must be there before it.
export LD_PRELOAD="$(library libasan.so) $(library libubsan.so) $(library libstdc++.so)"
# Each object gets memory of its own, so that its use after it was freed is seen.
export PYTHONMALLOC=malloc
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
# Freed memory is kept back for a while, but not so much that the tests of memory limits would notice.
options=quarantine_size_mb=4:abort_on_error=1:handle_abort=0

# Tests of what something costs, in time or memory, are left out: here all costs several times as much.
ASAN_OPTIONS=$options:detect_leaks=0 "$python" -m pytest -p no:cacheprovider --hypothesis-profile=slow \
    -k "not cost and not endless_line" "$@"
for engine in reactor transports; do
    ASAN_OPTIONS=$options:detect_leaks=1:fast_unwind_on_malloc=0 "$python" -m tools.leaks "$engine"
done

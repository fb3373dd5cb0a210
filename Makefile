# Needs Python 3.11 or later, make and, for the compiled core, a C compiler. No virtual environment has to be active.
#
#     make run      start the chat room on http://localhost:8765
#     make test     run the tests          make lint    check style, types, layers, English
#     make docs     build the site         make bench   measure beside other libraries; BENCH="echo --quick" for less
#     make build    build wheel and sdist  make clean   remove what was made
#     make lock     bring requirements.lock up to date; every other command installs what it says
#     make test-newest                     the tests with the newest release of each dependency instead
#     make test-oldest                     the tests with the oldest releases that we allow; needs Python 3.11 or 3.12
#     make sanitize                        the tests of the engine under the compiler's sanitizers, and a search for leaks
#     make compliance                      Autobahn|Testsuite against trunkline and others; see docs/explanation/compliance.md
#
# TRUNKLINE_EXTENSIONS=off make test     the same with the interpreted core
# make test PYTHON=python3.13 VENV=.venv-3.13 TESTS=tests/core

PYTHON ?= python3
VENV   ?= $(if $(filter off,$(TRUNKLINE_EXTENSIONS)),.venv-off,.venv)
TESTS  ?=
BENCH  ?=
COMPLIANCE ?=
# C that newer compilers refuse is an error here with every compiler.
TRUNKLINE_STRICT ?= 1
export TRUNKLINE_STRICT
BIN    := $(VENV)/bin
LOCKED ?= --require-hashes --constraint requirements.lock
UPGRADE ?= --upgrade
UV     := .venv-lock/bin/uv

SOURCES := $(shell find src -type f -not -path '*/__pycache__/*' -not -path '*.egg-info*')

.PHONY: run test test-newest test-oldest lint bench compliance sanitize docs build lock clean
.NOTPARALLEL:

run: $(VENV)/.installed
	$(BIN)/trunkline chat

test: $(VENV)/.requirements $(VENV)/.installed
	$(BIN)/python -m pytest $(TESTS)

# The tests with the packages that users get, on the day when they install trunkline.
test-newest:
	rm -f $(VENV)-newest/.run-requirements
	$(MAKE) test VENV=$(VENV)-newest LOCKED="--upgrade --upgrade-strategy eager"

# The tests with the packages of users whose other packages keep our dependencies at the oldest releases that we allow.
test-oldest: $(UV)
	$(UV) pip compile --quiet --upgrade --resolution lowest-direct --all-extras pyproject.toml \
		--output-file .venv-lock/oldest.txt
	rm -f $(VENV)-oldest/.run-requirements
	$(MAKE) test VENV=$(VENV)-oldest LOCKED="--constraint .venv-lock/oldest.txt"

lint: $(VENV)/.requirements $(VENV)/.installed
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python tools/check_layers.py
	$(BIN)/python tools/check_mirror.py
	$(BIN)/python tools/check_english.py

bench: $(VENV)/.requirements $(VENV)/.installed
	$(BIN)/python -m benchmarks $(BENCH)

compliance: $(VENV)/.requirements $(VENV)/.installed
	$(BIN)/python -m compliance $(COMPLIANCE)

sanitize:
	$(MAKE) VENV=.venv-sanitize .venv-sanitize/.requirements
	tools/sanitize.sh .venv-sanitize/bin/python $(TESTS)

docs: $(VENV)/.requirements $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

build: $(VENV)/.run-requirements
	$(BIN)/pip wheel --no-deps --no-build-isolation --wheel-dir dist .
	$(BIN)/python -c 'from setuptools import build_meta; build_meta.build_sdist("dist")' > /dev/null

# UPGRADE= keeps the versions that the file has, and adds only what is missing.
lock: $(UV)
	$(UV) pip compile --quiet $(UPGRADE) --universal --python-version 3.11 --group dev --generate-hashes \
		--custom-compile-command "make lock" --output-file requirements.lock

clean:
	rm -rf build dist site src/*.egg-info .venv-off .venv-*newest .venv-*oldest .venv-sanitize .venv-lock .sid .sid.new
	rm -f $(VENV)/.installed $(VENV)/.requirements $(VENV)/.run-requirements

# Packages to build and to run, once per virtual environment and change of the versions. First comes pip, from the lock,
# since the one that comes with Python may be too old for the rest.
$(VENV)/.run-requirements: pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	sed -n '/^pip==/,/^ *#/p' requirements.lock > $(VENV)/pip.txt
	$(BIN)/python -m pip install --quiet --requirement $(VENV)/pip.txt
	$(BIN)/python -m pip install --quiet $(LOCKED) --group run
	touch $@

# uv finds versions that go together.
$(UV):
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --upgrade uv

# Packages for the tests and tools.
$(VENV)/.requirements: $(VENV)/.run-requirements
	$(BIN)/python -m pip install --quiet $(LOCKED) --group dev
	touch $@

# The package, installed as users install it, and again whenever a source has changed. Files that were deleted from src must
# not come back from the build tree. Extension modules stay there, so that only changed ones are compiled again.
$(VENV)/.installed: $(VENV)/.run-requirements setup.py $(SOURCES)
	@echo "Building trunkline$(if $(filter off,$(TRUNKLINE_EXTENSIONS)),,: compiling all of its C takes about half a minute on two processors) ..."
	find build -path '*/lib*' -type f -not -name '*.so' -delete 2>/dev/null || true
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps .
	$(BIN)/python -c 'import trunkline; print(trunkline.engine_info())'
	touch $@

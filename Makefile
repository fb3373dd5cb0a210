# Needs Python 3.11 or later, make and, for the compiled core, a C compiler. No virtual environment has to be active.
#
#   make run      start the chat room on http://localhost:8765
#   make test     run the tests          make lint    check style, types and layers
#   make docs     build the site         make bench   measure beside other libraries; BENCH="echo --quick" for less
#   make build    build the wheel        make clean   remove what was made
#   make sanitize                        the tests of the engine under the compiler's sanitizers, and a search for leaks
#   make conformance                     Autobahn|Testsuite against trunkline and others; see docs/explanation/conformance.md
#
# TRUNKLINE_EXTENSIONS=off make test     the same with the interpreted core
# make test PYTHON=python3.13 VENV=.venv-3.13 TESTS=tests/core

PYTHON ?= python3
VENV   ?= $(if $(filter off,$(TRUNKLINE_EXTENSIONS)),.venv-off,.venv)
TESTS  ?=
BENCH  ?=
CONFORMANCE ?=
BIN    := $(VENV)/bin

SOURCES := $(shell find src -type f -not -path '*/__pycache__/*' -not -path '*.egg-info*')

.PHONY: run test lint bench conformance sanitize docs build clean

run: $(VENV)/.installed
	$(BIN)/trunkline chat

test: $(VENV)/.installed
	$(BIN)/python -m pytest $(TESTS)

lint: $(VENV)/.installed
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python tools/check_layers.py

bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks $(BENCH)

conformance: $(VENV)/.installed
	$(BIN)/python -m compliance $(CONFORMANCE)

sanitize:
	$(MAKE) VENV=.venv-sanitize .venv-sanitize/.requirements
	tools/sanitize.sh .venv-sanitize/bin/python $(TESTS)

docs: $(VENV)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

build: $(VENV)/.requirements
	$(BIN)/pip wheel --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf build dist site src/*.egg-info .venv-off .venv-sanitize $(VENV)/.installed $(VENV)/.requirements

# What the build and the tools need: once per virtual environment and change of pyproject.toml.
$(VENV)/.requirements: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

# The package, installed as users install it, and again whenever a source has changed. What was deleted from src must not
# come back from the build tree; extension modules stay there, so that only changed ones are compiled again.
$(VENV)/.installed: $(VENV)/.requirements setup.py $(SOURCES)
	find build -path '*/lib*' -type f -not -name '*.so' -delete 2>/dev/null || true
	$(BIN)/python -m pip install --quiet --no-build-isolation '.[cli]'
	$(BIN)/python -c 'import trunkline; print(trunkline.engine_info())'
	touch $@

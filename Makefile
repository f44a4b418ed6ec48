# make run   web server and worker on http://127.0.0.1:8000/ (HOST, PORT and MMSEARCH_* apply)
# make test  everything that must hold before a change is merged
# make benchmark  measure against the naive design; writes docs/PERFORMANCE_REPORT.md
# make soak  an hour of use (MINUTES=60): nothing may grow or be lost; writes docs/SOAK_REPORT.md
# make crash  100 times kill -9 under load (KILLS=100): nothing may be lost
# make fuzz  2,000 mutated pictures, 10,000 made-up requests: no crash, no answer of 5xx
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin

.DEFAULT_GOAL := help
.PHONY: help install run test format benchmark soak crash fuzz

help:
	@sed -n 's/^# make/make/p' Makefile

run: .venv/installed
	@exec "$(BIN)"/python -m mmsearch_project --with-parent

test: .venv/installed-dev
	@data=$$(mktemp -d); trap 'rm -rf "$$data"' EXIT; export MMSEARCH_DATA_DIR="$$data"; set -x; \
	"$(BIN)"/ruff check .; \
	"$(BIN)"/ruff format --check .; \
	"$(BIN)"/lint-imports; \
	"$(BIN)"/mypy .; \
	"$(BIN)"/python manage.py makemigrations --check --dry-run; \
	MMSEARCH_HTTPS=1 "$(BIN)"/python manage.py check --deploy --fail-level WARNING; \
	"$(BIN)"/pytest

format: .venv/installed-dev
	"$(BIN)"/ruff check --fix .
	"$(BIN)"/ruff format .

# More options: python -m benchmarks run --help
benchmark: .venv/installed-dev
	@"$(BIN)"/python -m pip install --quiet --disable-pip-version-check \
	    --requirement benchmarks/requirements-baseline.txt --constraint constraints.txt
	@"$(BIN)"/python -m benchmarks run

soak: .venv/installed
	@"$(BIN)"/python -m benchmarks soak --minutes $(or $(MINUTES),60)

crash: .venv/installed
	@"$(BIN)"/python -m benchmarks crash --kills $(or $(KILLS),100)

fuzz: .venv/installed-dev
	"$(BIN)"/python -m tests.fuzz_pictures --count 2000
	"$(BIN)"/python -m tests.fuzz_api --cases 10000

install: .venv/installed

# Installed anew only when the requirements change.
.venv/installed: requirements.txt constraints.txt | .venv/bin/python
	@echo "Installing what mmsearch runs on (once; this takes some minutes) …"
	@"$(BIN)"/python -m pip install --quiet --disable-pip-version-check \
	    --requirement requirements.txt --constraint constraints.txt
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	@"$(BIN)"/python -m pip install --quiet --disable-pip-version-check \
	    --requirement requirements-dev.txt --constraint constraints.txt
	@touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "mmsearch: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + \
	    ". Name another: make PYTHON=python3.12 run")'
	@$(PYTHON) -m venv .venv

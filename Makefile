# make run   web server and worker on http://127.0.0.1:8000/ (HOST, PORT and MMSEARCH_* apply)
# make test  everything that must hold before a change is merged
# make test-scale  what asks a database, and several hosts, on PostgreSQL and Redis
# make format  let ruff mend what it can
# make install  what `make run` needs, without starting; install-all: for any model
# make benchmark  measure against the naive design; writes docs/PERFORMANCE_REPORT.md
# make relevance  judge how well queries are answered; writes docs/RELEVANCE.md
# make soak  an hour of use (MINUTES=60): nothing may grow or be lost; writes docs/SOAK_REPORT.md
# make crash  100 times kill -9 under load (KILLS=100): nothing may be lost
# make fuzz  2,000 mutated pictures, 10,000 made-up requests: no crash, no answer of 5xx
SHELL := /bin/bash
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
INSTALL := $(PYTHON) mmsearch_project/installation.py

.DEFAULT_GOAL := help
.PHONY: help install install-all install-dev install-scale-dev run test test-scale format benchmark relevance soak crash fuzz

help:
	@sed -n 's/^# make/make/p' Makefile

run: install
	@exec "$(BIN)"/python -m mmsearch_project --with-parent

# Said in the recipe, since make 3.81, which macOS has, knows no .SHELLFLAGS.
test: install-dev
	@set -euo pipefail; \
	data=$$(mktemp -d); trap 'rm -rf "$$data"' EXIT; export MMSEARCH_DATA_DIR="$$data"; set -x; \
	"$(BIN)"/ruff check .; \
	"$(BIN)"/ruff format --check .; \
	"$(BIN)"/lint-imports; \
	"$(BIN)"/mypy .; \
	"$(BIN)"/python manage.py makemigrations --check --dry-run; \
	MMSEARCH_HTTPS=1 "$(BIN)"/python manage.py check --deploy --fail-level WARNING; \
	"$(BIN)"/pytest --numprocesses 2 --dist loadfile

test-scale: install-scale-dev
	@"$(BIN)"/python -m tests.on_servers --numprocesses 2 --dist loadfile --timeout 240

format: install-dev
	"$(BIN)"/ruff check --fix .
	"$(BIN)"/ruff format .

# More options: python -m benchmarks run --help
benchmark: install-dev
	@"$(BIN)"/python -m pip install --quiet --disable-pip-version-check \
	    --requirement benchmarks/requirements.txt --constraint constraints.txt
	@"$(BIN)"/python -m benchmarks run

relevance: install
	@"$(BIN)"/python -m benchmarks relevance

soak: install
	@"$(BIN)"/python -m benchmarks soak --minutes $(or $(MINUTES),60)

crash: install
	@"$(BIN)"/python -m benchmarks crash --kills $(or $(KILLS),100)

fuzz: install-dev
	"$(BIN)"/python -m tests.fuzz_pictures --count 2000
	"$(BIN)"/python -m tests.fuzz_api --cases 10000

# The starter needs a part of the requirements, any other model all; nothing is installed twice.
install:
	@$(INSTALL) run

install-all:
	@$(INSTALL) all

install-dev:
	@$(INSTALL) dev

install-scale-dev:
	@$(INSTALL) scale-dev

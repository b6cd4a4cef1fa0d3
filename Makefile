# The commands of the project. Nothing has to be installed by hand: `make up` and `make test` do it.
SHELL := /bin/sh
# The first Python that is new enough; override with make setup PYTHON=/path/to/python
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; exit; }; done; echo python3)
BIN := .venv/bin
STACKS := sandbox dev staging prod-eu prod-us
PACKAGES := headrace components/headrace_components policies/headrace_policies sandbox benchmarks scripts tests
# Each is a module named __main__, so each is checked by itself.
PROGRAMS := components/__main__.py policies/__main__.py stacks/__main__.py
BENCHMARKS := $(notdir $(patsubst %/__main__.py,%,$(wildcard benchmarks/*/__main__.py)))
# A machine that forbids writing bytecode would compile the cloud SDKs anew in every plugin process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup up down preview check test test-fast test-engine bench lint format clean

help:
	@echo 'make setup      the locked environment in .venv, and the Pulumi engine'
	@echo 'make up         start the sandbox, deploy the stack, preview it again, show what exists'
	@echo 'make down       destroy the stack, stop everything, leave nothing'
	@echo 'make preview    preview every stack in the sandbox'
	@echo 'make check      the policy pack on every stack, as a pull request would'
	@echo 'make bench      every benchmark: tables, and JSON under .headrace/bench'
	@echo 'make test       lint, the fast tier, the engine tier'
	@echo 'make test-fast  no engine, no servers, under two minutes'
	@echo 'make lint       format check, ruff, mypy --strict'
	@echo 'make clean      remove what this checkout cached (.venv, .headrace, tool caches)'

setup:
	@$(PYTHON) scripts/setup.py

up: setup
	@$(BIN)/headrace up

down:
	@if [ -x $(BIN)/headrace ]; then $(BIN)/headrace down; else echo 'nothing was set up here'; fi

preview: setup
	@$(BIN)/headrace preview $(STACKS)

check: setup
	@$(BIN)/headrace check --all-stacks

bench: setup
	@mkdir -p .headrace/bench
	@for part in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$part --json .headrace/bench/$$part.json || exit 1; done

lint: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy $(PACKAGES)
	@for program in $(PROGRAMS); do $(BIN)/mypy $$program || exit 1; done

format: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

test-fast: setup
	@$(BIN)/pytest -m 'not engine and not data' -q -n 2 --dist loadgroup

test-engine: setup
	@$(BIN)/pytest -m engine -q

test: lint
	@$(BIN)/pytest -m 'not engine and not data' -q -n 2 --dist loadgroup
	@$(BIN)/pytest -m 'engine or data' -q

clean: down
	@rm -rf .venv .headrace .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

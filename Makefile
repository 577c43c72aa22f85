# Targets: setup, repro, test, lint, smoke. Each sets up what it needs; only Python 3.11+, make and git are presumed.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
# Stages run `python`, so the environment's own has to be found first.
RUN := PATH="$(BIN):$$PATH"

.PHONY: help setup repro test lint smoke

help: ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*##/\t/'

setup: .venv/.installed ## make .venv and install requirements.txt, if it changed

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv

.venv/.installed: requirements.txt scripts/install.py | .venv/bin/python
	.venv/bin/python scripts/install.py requirements.txt
	touch $@

.venv/.installed-dev: requirements-dev.txt .venv/.installed
	.venv/bin/python scripts/install.py requirements-dev.txt
	touch $@

repro: .venv/.installed ## run what is not up to date of the whole pipeline
	$(RUN) dvc repro

test: .venv/.installed-dev ## all tests
	$(RUN) python -m pytest

lint: .venv/.installed-dev ## ruff
	$(RUN) ruff check .
	$(RUN) ruff format --check .

smoke: .venv/.installed-dev ## the whole pipeline on tiny models, in a temporary copy
	$(RUN) python -m pytest tests/test_pipeline.py

# `make run` and `make test` need Python 3.11 or later and nothing else: the first call sets up .venv.

PYTHON ?= $(shell python3.11 --version >/dev/null 2>&1 && echo python3.11 || echo python3)
IMAGES ?=
THERE ?=
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
INSTALLED := $(VENV)/.installed
INCOMPLETE := $(VENV)/.incomplete

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow lint format types docs bench wheels clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED) ## set up .venv, or bring it up to date

run: setup ## fit an image; ARGS="pyramid=laplacian patch_size=16" for settings
	$(PY) -m miner.run $(ARGS)

test: setup ## quick tests; ARGS="-k laplacian" for some of them
	$(PY) -m pytest -m "not slow" -n auto --dist loadfile $(ARGS)

test-slow: setup ## the remaining tests
	$(PY) -m pytest -m slow $(ARGS)

lint: setup ## check style and layout
	$(PY) -m ruff check
	$(PY) -m ruff format --check

format: setup ## format the code and apply the fixes of ruff
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

types: setup ## check types
	$(PY) -m mypy

docs: setup ## build the documentation in site/; a broken reference is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

bench: setup ## measure quality on a folder of images; IMAGES=folder
	$(PY) scripts/bench.py quality $(IMAGES)

wheels: setup ## wheels for a GPU machine without a network; THERE=its `pip list`
	$(PY) scripts/gpu/wheels.py $(THERE)

clean: ## remove caches; .venv and outputs stay
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist site

# .incomplete marks a set-up in progress, so what an interrupted one left is thrown away.
# torch goes first, on its own, so that nothing else can bring in a newer one.
# PIP_USE_PEP517: pip before 23.1 would build Hydra's parser the deprecated way, and say so.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "MINER needs Python 3.11 or later, and '$(PYTHON)' is not;" \
	       "name another one: make PYTHON=/path/to/python3.11"; exit 1; } >&2
	@echo "Setting up $(VENV) (once, about three minutes) ..."
	@if [ -e $(INCOMPLETE) ]; then rm -rf $(VENV); fi
	@mkdir -p $(VENV) && rm -f $@ && touch $(INCOMPLETE)
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -c constraints.txt torch
	@PIP_USE_PEP517=1 $(PIP) install -c constraints.txt -e '.[dev,docs,optuna,submitit,workspace]'
	@mv $(INCOMPLETE) $@

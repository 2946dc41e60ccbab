# Two commands do all the set-up: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One thread a process: two processes with two threads each fight over two cores.
export OMP_NUM_THREADS ?= 1
export MKL_CBWR ?= AUTO,STRICT
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help install demo test torture check format bench serve clean

help: ## Show what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(STAMP) ## Make .venv and install everything

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP) ## Run the main job end to end in .demo/
	$(BIN)/genops demo --home .demo/home

# A file's tests share one process, and what they set up once; more than four processes gain nothing.
test: $(STAMP) ## Run the whole test suite
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

torture: $(STAMP) ## Run the tests that take minutes to hours (TORTURE="--kills 5000")
	$(BIN)/python -m pytest tests/torture $(TORTURE)

check: $(STAMP) ## Check format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## Measure against peers and write bench/RESULTS.md
	$(BIN)/python -m bench

serve: $(STAMP) ## Open the demo's registry in a browser, on loopback
	$(BIN)/genops serve --home .demo/home

clean: ## Remove the environment and everything the demo made
	rm -rf $(VENV) .demo build dist

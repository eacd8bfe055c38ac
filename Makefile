# `make demo` and `make test` set everything up themselves; `make` lists the recipes.
PYTHON ?= python3
BIN := .venv/bin
# Processes that share the tests; each has a Spark, a Ray and models. 0: pytest's own, as where there is little memory.
PROCESSES ?= $(shell awk '/^MemTotal/ { print ($$2 > 12e6 ? 2 : 0) }' /proc/meminfo 2>/dev/null || echo 0)

.PHONY: help setup demo test test-all test-fast check format docs bench clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

setup:  ## Java, a virtual environment, torch and vLLM for this machine
	@PYTHON=$(PYTHON) scripts/setup.sh $(FOR)

demo: setup  ## train a model, deploy it and call it, all from one SQL script
	@$(BIN)/sqlllm run examples/sql/quickstart.sql

test: FOR = tests
test: check  ## lint, types, import rules and the tests
	$(BIN)/python -m pytest -n $(PROCESSES) -m "not rare" --durations=20

test-all: FOR = tests
test-all: check  ## the same with the rare tests: whole life cycles, clusters of several nodes, lost nodes
	$(BIN)/python -m pytest -n $(PROCESSES) --durations=20

test-fast: setup  ## the tests that start neither Spark nor Ray nor a model
	$(BIN)/python -m pytest -n $(PROCESSES) -m "not slow"

check: setup  ## lint, prose, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/prose.py
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup  ## rewrite the Python files in one style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## the documentation as a site, in site/; a link that leads nowhere fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

BENCHES = calls client explain gateway guarantees million parse prefix resume sembench spine store "throughput --scale 0.125" training
bench: setup  ## every benchmark, each with its figures as a last line of JSON
	@for bench in $(BENCHES); do echo "bench.$$bench"; $(BIN)/python -m bench.$$bench || exit 1; done

clean:  ## remove what setup and the tests made
	rm -rf .venv build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

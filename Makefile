# Everything runs in .venv, which every target makes when it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# the tests start many interpreters: each would compile the package anew
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-long lint format bench bench-loss golden peers coverage fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/demo: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/demo

demo: $(VENV)/demo ## serve the demo site from a simulated network on http://127.0.0.1:8080/ (no root)
	$(BIN)/python -m demos.site $(DEMO)

test: $(VENV)/dev ## run every test (TUN/TAP tests in network namespaces of their own)
	rm -rf build/sent
	SENT_PACKETS=build/sent $(BIN)/python -m pytest -n 2 --dist worksteal $(TESTS)
	SENT_PACKETS=build/sent $(BIN)/python -m pytest -q tests/test_sent.py

test-long: $(VENV)/dev ## the tests that take minutes: 10,000 examples of the model check, the whole golden table, fairness
	$(BIN)/python -m pytest -m long $(TESTS)

golden: $(VENV)/dev ## write tests/simulation/goodput.txt anew: goodput by congestion control, loss and RTT
	$(BIN)/python -m tests.simulation.goodput

peers: $(VENV)/dev ## run CPython's and uvloop's own tests of asyncio on our loops, fetched first (writes tests/peers/counts.txt)
	$(BIN)/python -m tests.peers --fetch $(PEERS)

lint: $(VENV)/dev ## ruff (format and lint) and mypy --strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/dev ## let ruff lay the code out and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-loss: $(VENV)/dev ## goodput on a bad link against Linux on the same one (root; hours; writes build/bench_loss.json)
	$(BIN)/python -m tests.bench.loss $(BENCH)

bench: $(VENV)/dev ## measure against the kernel and pmd-pytcp side by side (root; writes build/bench.json and .png)
	$(BIN)/python -m tests.bench $(BENCH)

coverage: $(VENV)/dev ## line coverage of the package by the tests
	$(BIN)/python -m coverage run --source=asyncstack -m pytest -q $(TESTS)
	$(BIN)/python -m coverage report

fuzz: $(VENV)/dev ## hostile frames, and the line coverage of all that reads them (FUZZ_SEED, FUZZ_MUTATIONS, FUZZ_KIND)
	$(BIN)/python -m tests.fuzz.coverage_report $(TESTS)

clean: ## remove what was built, and the environment
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache

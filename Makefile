# demo, test, lint: each makes .venv when it is missing or out of date, then does its job.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test lint format results install clean

demo: $(INSTALLED)
	$(BIN)/mien demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Rewrites the tables of results/ and the README from the runs that are published there.
results: $(INSTALLED)
	$(BIN)/python results/write.py

install: $(INSTALLED)

# torch goes first and alone: the constraints pin it to a version, so a CPU build that is already there stays.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("mien needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(INSTALLED)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .hypothesis

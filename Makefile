# demo, test, lint: each makes .venv when it is missing or out of date, then does its job.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
WEB := build/page/node_modules/onnxruntime-web
ALONE := mien/serving/alone

.PHONY: demo test lint format page results install clean

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

# ONNX Runtime Web for `mien export --page`, as package-lock.json pins it; needs Node's npm. Wheels made after it have it.
page: $(ALONE)/runtime/ort.wasm.gz

$(ALONE)/runtime/ort.wasm.gz: $(ALONE)/package-lock.json
	mkdir -p build/page $(ALONE)/runtime
	cp $(ALONE)/package.json $(ALONE)/package-lock.json build/page
	cd build/page && npm ci --ignore-scripts --no-audit --no-fund
	cp $(WEB)/dist/ort.wasm.bundle.min.mjs $(ALONE)/runtime/ort.js
	gzip -9 -n -c $(WEB)/dist/ort-wasm-simd-threaded.wasm > $(ALONE)/runtime/ort.wasm.gz

# Rewrites the tables of results/ and the README, and the page of a reproduction, from what is published there.
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
	rm -rf .venv build/page $(ALONE)/runtime .mypy_cache .ruff_cache .hypothesis

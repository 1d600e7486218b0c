# A fresh machine needs python3 >= 3.11 with pip, make and git. Everything else comes from the lock.
PYTHON ?= python3
UV := 0.13.8
BIN := .venv/bin

.PHONY: setup demo test test-long check lint types imports format lock bench bench-labelling clean

setup: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	touch $@

demo: setup
	$(BIN)/nightjar run configs/ocr_backfill/quickstart.yaml
	$(BIN)/nightjar run configs/autolabel/quickstart.yaml

test: setup
	$(BIN)/pytest

test-long: setup
	$(BIN)/pytest -m long --timeout 3600

check: lint types imports test

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--override infra/lock-overrides.txt --no-header --no-annotate -o requirements.lock

# A folder of page images, and of SROIE-style truth for the error rates.
PAGES ?= ../shared/data/receipts/images
TRUTH ?= ../shared/data/receipts/truth

bench: setup
	$(BIN)/python benchmarks/ocr.py $(PAGES) --truth $(TRUTH)

bench-labelling: setup
	$(BIN)/python benchmarks/labelling.py

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache

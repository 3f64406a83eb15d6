# make run       trains the default GAN; ARGS="model=dcgan" passes settings
# make test      runs the tests, with a daily sample of similar cases; ARGS="tests/tricks -k ema" is passed to pytest
# make test-all  runs all of these cases: every pair of tricks, every objective on the DCGAN, every play
# make test-oldest  runs the tests with the oldest versions that pyproject.toml allows, in .venv-oldest
# make lint      checks format, lint and types
# make docs      writes ganlab/tricks/README.md from the code, and builds the site in build/site
# make clean     removes the virtual environment and all outputs

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin

.PHONY: run test test-all test-oldest lint docs clean

run: $(READY)
	$(BIN)/python -m ganlab.run $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest $(ARGS)

test-all: $(READY)
	$(BIN)/python -m pytest --all $(ARGS)

test-oldest: pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	grep -oE '"[a-z0-9-]+(\[[a-z]+\])?>=[0-9.]+"' $< | sed 's/"//g; s/\[.*\]//; s/>=/==/' | sort -u > .venv-oldest/floors.txt
	.venv-oldest/bin/pip install --quiet --disable-pip-version-check -c .venv-oldest/floors.txt -e '.[dev]'
	.venv-oldest/bin/python -m pytest $(ARGS)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

docs: $(READY)
	$(BIN)/python scripts/docs.py
	$(BIN)/mkdocs build --strict --quiet -f scripts/mkdocs.yml

clean:
	rm -rf $(VENV) .venv-oldest outputs

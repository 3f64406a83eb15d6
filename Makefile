# make run     trains the default GAN; ARGS="model=dcgan" passes overrides
# make test    the test suite; ARGS="tests/tricks -k ema" passes arguments to pytest
# make test-all  with every pair of tricks, and every objective on the DCGAN, of which make test plays a sample
# make lint    format, lint and types
# make docs    the table of all tricks

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin

.PHONY: run test test-all lint docs clean

run: $(READY)
	$(BIN)/python -m ganlab.run $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest $(ARGS)

test-all: $(READY)
	$(BIN)/python -m pytest --all $(ARGS)

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

clean:
	rm -rf $(VENV) outputs

# make run     trains the default GAN; ARGS="model=dcgan" passes overrides
# make test    the whole test suite; ARGS="tests/tricks -k ema" passes arguments to pytest
# make lint    format, lint and types

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin

.PHONY: run test lint clean

run: $(READY)
	$(BIN)/python -m ganlab.run $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest $(ARGS)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) outputs

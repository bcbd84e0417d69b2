# Everything from one checkout: a virtual environment in .venv, tested versions from requirements.lock.
# Asked for: Python 3.11 or newer (PYTHON=python3.12 picks another) and make.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo app test check format bench screenshots clean

demo: $(READY)
	$(BIN)/burnish demo

app: $(READY)
	$(BIN)/burnish

test: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m bench.run_all

screenshots: $(READY)
	$(BIN)/python -m screenshots.make

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache

# The lock is a constraint: it fixes every version but torch, so that a build already in .venv (CPU or CUDA) stays.
$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "burnish needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
		{ echo "no virtual environment: on Debian and Ubuntu install the package python3-venv" >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[quant,dev]'
	@touch $@

# `make demo`, `make test` and `make tutorials` do all the set-up they need, in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEV = $(VENV)/.dev-installed

LAB = $(VENV)/.lab-installed

.PHONY: demo test tutorials lint format clean

demo: $(DEV)
	$(BIN)/dann-transfer demo

test: $(DEV)
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder --durations 15

tutorials: $(LAB)
	$(BIN)/jupyter lab tutorials

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache

# The stamp is written last, so that an interrupted install is taken up again.
$(DEV): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

$(LAB): $(DEV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[tutorials]'
	touch $@

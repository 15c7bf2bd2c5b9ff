# Each target does all the set-up that it needs, in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEV = $(VENV)/.dev-installed
# The demo needs no tools of development.
DEMO = $(VENV)/.explore-installed
LAB = $(VENV)/.tutorials-installed
DOCS = $(VENV)/.docs-installed
RAY = $(VENV)/.ray-installed

PYTEST = $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder --durations 15

.PHONY: demo docs test test-machines test-tutorials test-wheel tutorials lint format clean

demo: $(DEMO)
	$(BIN)/dann-transfer demo

test: $(DEV)
	$(PYTEST) -m "not tutorials and not machines"

docs: $(DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "open build/site/index.html"

test-tutorials: $(LAB)
	$(PYTEST) -m tutorials tests

test-machines: $(RAY)
	$(BIN)/python -m pytest -m machines tests

# The built wheel in an environment that has nothing else; the clone is out of its sight.
test-wheel: $(DEV)
	rm -rf build/wheel build/wheel-venv
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps -w build/wheel .
	$(PYTHON) -m venv build/wheel-venv
	build/wheel-venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt build/wheel/*.whl
	build/wheel-venv/bin/python -P tests/check_wheel.py
	rm -rf build/wheel-venv

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

# An extra of pyproject.toml each. The stamp is written last, so that an interrupted install is
# taken up again.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

$(DEV) $(DEMO): $(VENV)/.%-installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[$*]'
	touch $@

$(LAB) $(DOCS) $(RAY): $(VENV)/.%-installed: $(DEV)
	$(INSTALL) -e '.[$*]'
	touch $@

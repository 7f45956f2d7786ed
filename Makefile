# Two commands: `make app` looks at the bundled models in the browser, `make test` runs every check.
PYTHON ?= python3
PORT ?= 8501
BIN := .venv/bin
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: app test bench coverage lint clean

app: .venv/installed
	$(BIN)/python -m analysis extract --model demo-language --data demo-sentences --projection atlas linear
	$(BIN)/python -m analysis extract --model demo-vision --data demo-scenes --projection atlas linear
	$(BIN)/python -m analysis serve --port $(PORT)

test: .venv/installed-dev
	sh tests/e2e/find_browser.sh
	$(BIN)/ruff check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

bench: .venv/installed-dev
	$(BIN)/python -m tests.benchmarks

coverage: .venv/installed-dev
	$(BIN)/python -m analysis coverage --to app/docs/coverage.json

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf .venv .pytest_cache .ruff_cache

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "QK Atlas needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=...")'
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar on -r requirements.txt
	touch $@

.venv/installed-dev: requirements.txt requirements-ray.txt requirements-dev.txt | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --progress-bar on -r requirements-dev.txt
	touch .venv/installed $@

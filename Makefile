# Everything is installed into .venv inside the checkout; versions and hashes are pinned in requirements/.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes
ARGS ?=

.PHONY: setup demo test check bench soak up browser lock clean
.DEFAULT_GOAL := test

setup: .venv/run
demo: .venv/run .venv/demo
	$(BIN)/python -m examples.demo $(ARGS)
up: .venv/run
	$(BIN)/tollhouse up $(ARGS)
test: .venv/run .venv/demo .venv/dev browser
	$(BIN)/python -m pytest -n 4 --dist loadgroup -m "not soak" $(ARGS)
soak: .venv/run .venv/demo .venv/dev
	$(BIN)/python -m pytest -m soak $(ARGS)
check: .venv/run .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src clients/python/src tests benchmarks examples
	$(BIN)/lint-imports
bench: .venv/run .venv/dev
	$(BIN)/python -m benchmarks $(ARGS)

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Tollhouse needs Python 3.11 or later; set PYTHON=…'; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		if [ "$$(id -u)" = 0 ]; then apt-get -q update && apt-get -q install --yes python3-venv; \
		else echo 'Python has no venv here; run: sudo apt-get install python3-venv'; exit 1; fi; }
	$(PYTHON) -m venv .venv
.venv/run: requirements/run.txt requirements/build.txt pyproject.toml clients/python/pyproject.toml | .venv/bin/python
	$(PIP) -r requirements/build.txt
	$(PIP) -r requirements/run.txt
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation -e . -e clients/python
	@touch $@
.venv/demo: requirements/demo.txt .venv/run
	$(PIP) --no-deps --no-build-isolation -r requirements/demo.txt
	@touch $@
.venv/dev: requirements/dev.txt .venv/run
	$(PIP) -r requirements/dev.txt
	@touch $@

browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
		if [ "$$(id -u)" = 0 ]; then apt-get -q update && apt-get -q install --yes chromium; \
		else echo 'The tests need a browser; run: sudo apt-get install chromium'; exit 1; fi; }

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
lock: ## needs uv
	$(LOCK) pyproject.toml -c requirements/constraints.in -o requirements/run.txt
	$(LOCK) requirements/dev.in -o requirements/dev.txt
	$(LOCK) requirements/build.in -o requirements/build.txt
	$(LOCK) --no-deps requirements/demo.in -o requirements/demo.txt
clean:
	rm -rf .venv build

# Every target does its own set-up: Python >= 3.10 and make are all that must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := $(VENV)/.installed-local
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help install demo docs test test-fast soak matrix matrix-fast lowest audit bench chaos coverage check codegen codegen-check lint types layers format clean

help: ## Show the targets.
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 18

demo: $(DEMO) ## Run the quickstart on a platform of its own.
	@$(BIN)/python examples/quickstart.py

# More of them than there are cores: half of a test's time is waiting.
SIDE_BY_SIDE := -n 4 --dist worksteal

test: $(DEV) ## Run the tests, side by side.
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE)

soak: $(DEV) ## Run the large tests in full: every moment to kill at, every cut (about twenty minutes).
	@SOAK=1 $(BIN)/python -m pytest -m soak $(TESTS)

FAST := tests/core tests/http/test_re*.py tests/http/test_errors.py tests/waiting/test_poll_queue.py tests/waiting/test_polling.py \
  tests/batch/test_outage.py tests/batch/test_submission.py tests/client/test_config.py tests/client/test_models.py \
  tests/cli/test_start.py tests/nats/test_loop.py tests/nats/test_payloads.py tests/nats/test_servers.py tests/outbox/test_backlog.py \
  tests/outbox/test_sequences.py tests/notebook/test_html.py tests/porting/test_answer_mapping.py \
  tests/package/test_design.py tests/package/test_exported_members.py tests/package/test_import.py tests/package/test_types.py tests/package/test_versions.py \
  tests/worker/test_interrupts.py tests/worker/test_task.py

test-fast: $(DEV) ## Run the tests that start no server of the platform.
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(FAST)

matrix: $(DEV) ## Run the tests on every Python that is found; PYTHONS="3.10 3.13" names some, TESTS=tests/http a part.
	@$(BIN)/nox --session tests $(NOX_OPTIONS) -- $(TESTS)

matrix-fast: $(DEV) ## Run the quick tests on every Python that is found, or on PYTHONS.
	@$(BIN)/nox --session tests --no-error-on-missing-interpreters -- $(SIDE_BY_SIDE) $(FAST)

lowest: $(DEV) ## Run the tests with the lowest versions of the dependencies.
	@$(BIN)/nox --session lowest -- $(TESTS)

audit: $(DEV) ## Look up the dependencies in the database of known vulnerabilities.
	@$(BIN)/nox --session audit

bench: $(DEV) ## Print the benchmarks beside their peers.
	@missed=0; for part in http_client nats_events fanout command_line local_platform; do \
	  $(BIN)/python -m benchmarks.$$part || missed=1; done; exit $$missed

chaos: $(DEV) ## Kill, freeze and cut NATS while publishing, and count what is lost (about ten minutes).
	@$(BIN)/python tests/chaos/chaos.py

install: $(DEV) ## Install the package and all that its checks need into .venv.

coverage: $(DEV) ## Run the tests, show which branches they leave out, and fail below the floor in pyproject.toml.
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(SIDE_BY_SIDE)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

check: codegen-check lint types layers docs test ## Run everything that has to hold on main.

docs: $(DEV) ## Build the documentation site in build/docs; a warning is an error.
	@$(BIN)/sphinx-build --quiet --nitpicky --fail-on-warning --keep-going -c docs -d build/doctrees . build/docs
	@echo "build/docs/index.html"

LIVE := $(if $(SPEC),--spec '$(SPEC)') $(if $(HEADER),--header '$(HEADER)')

codegen: $(DEV) ## Generate from openapi.yaml; SPEC=URL-or-FILE refreshes that from a live platform first.
	@$(BIN)/python -m codegen $(LIVE)
	@$(BIN)/python -m codegen.cli_reference

codegen-check: $(DEV) ## Show how the generated code differs from openapi.yaml; with SPEC, what a live platform changed.
	@$(BIN)/python -m codegen --check $(LIVE)
	@$(BIN)/python -m codegen.cli_reference --check

lint: $(DEV)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(DEV)
	@$(BIN)/mypy
	@$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin flow_client
	@$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32 --exclude flow_client/local flow_client
	@$(BIN)/basedpyright --level error

layers: $(DEV)
	@$(BIN)/lint-imports

format: $(DEV) ## Format the code and mend what can be mended.
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

clean: ## Remove the virtual environment and the caches.
	rm -rf $(VENV) .nox .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "flow-client needs Python 3.10 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(DEMO): pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local]'
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(DEMO)

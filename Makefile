# `make run` on a bare machine: installs, gets weights, builds demo cameras, runs the recorder on them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
# The first that runs and is new enough; the newest that all pinned packages have wheels for comes first.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
  $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$name; break; }; done)
UV_INSTALL := UV_HTTP_TIMEOUT=600 UV_HTTP_RETRIES=10 $(BIN)/uv pip install --python $(BIN)/python --constraints constraints.txt --overrides overrides.txt
PINS := pyproject.toml constraints.txt overrides.txt

.PHONY: help run test test-integration test-fast check format bench bench-servers clean constraints install install-dev

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

run: install ## Install what is missing and run the demo.
	@echo "Running the demo: $(BIN)/vedette demo"
	@$(BIN)/vedette demo

test: install-dev ## Run the tests of the embedded mode (about forty minutes).
	@$(BIN)/python -m tests.support.fetch detector
	$(BIN)/python -m pytest -m "not servers"

test-integration: install-dev ## Run the tests against a real Kafka, MinIO and PostgreSQL.
	@$(BIN)/python -m tests.support.fetch
	$(BIN)/python -m pytest -m servers

test-fast: install-dev ## Run the tests that take seconds: no cameras, no processes.
	$(BIN)/python -m pytest tests/unit tests/contract tests/property tests/repo -m "not slow and not servers"

check: install-dev ## Lint, types, import contracts, repository tests.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy shared services tests bench
	PYTHONPATH=. $(BIN)/lint-imports
	$(BIN)/python -m pytest tests/repo

format: install-dev ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install-dev ## Measure against peers on this machine; prints ratios.
	@for name in detect record_cost latency; do echo "== $$name"; $(BIN)/python -m bench.$$name || exit 1; done

bench-servers: install-dev ## The same with a real Kafka, MinIO and PostgreSQL (half an hour, 25 GB of disk).
	@for name in kafka_cost s3_rate workers "latency --deployment kafka"; do echo "== $$name"; $(BIN)/python -m bench.$$name || exit 1; done

constraints: $(BIN)/uv ## Pin the newest versions that fit pyproject.toml.
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --upgrade --extra all --extra dev --overrides overrides.txt \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-package vedette --output-file constraints.txt --quiet
	sed -i '/^opencv-python==/d' constraints.txt

clean: ## Remove what was installed and built; recordings under var/ stay.
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(BIN)/uv:
	@test -n "$(PYTHON)" || \
	  { echo "Vedette needs Python 3.11 or newer, and there is none. Install it, or name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Making a virtual environment for $$($(PYTHON) --version) in $(VENV)."
	@"$(PYTHON)" -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "Python could not make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Getting uv, which installs the rest."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 10 --timeout 60 uv

$(VENV)/.installed: $(BIN)/uv $(PINS)
	@echo "Installing; it takes 6.5 GB on disk, most of it torch (see README.md)."
	@$(UV_INSTALL) -e '.[all]'
	@touch $@
	@echo "Installed. The command is $(BIN)/vedette; after \`. $(BIN)/activate\` a shell finds it as \`vedette\`."

$(VENV)/.installed-dev: $(BIN)/uv $(PINS)
	@echo "Installing, with what tests and checks need."
	@$(UV_INSTALL) -e '.[all,dev]'
	@touch $@ $(VENV)/.installed

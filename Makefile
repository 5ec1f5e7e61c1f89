# Rowlock. `make help` lists what there is.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help install run test test-slow test-browser check compose-config bench migrate lock clean
.DEFAULT_GOAL := help

help: ## List the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: .venv/run ## Serve everything on the embedded database, until Ctrl-C
	@exec $(BIN)/rowlock serve

# Only what is needed to run, in the versions of the lock file, checked by their hashes.
.venv/run: setup.cfg pyproject.toml requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	touch $@

install: .venv/installed ## Make .venv with Rowlock and its development tools

.venv/installed: .venv/run requirements-dev.lock
	$(PIP) install --require-hashes --requirement requirements-dev.lock
	touch $@

# With setuptools, which builds Rowlock itself. The files name no index.
LOCK := echo 'setuptools>=77' | $(BIN)/uv pip compile --quiet --upgrade --universal \
	--python-version 3.11 --generate-hashes --no-annotate --no-header setup.cfg -

lock: install ## Renew the lock files
	$(PIP) install --quiet uv
	$(LOCK) --extra embedded --output-file requirements.lock
	$(LOCK) --constraint requirements.lock --extra dev --output-file requirements-dev.lock
	$(LOCK) --constraint requirements.lock --output-file requirements-production.lock

migrate: .venv/run ## Apply missing migrations
	$(BIN)/rowlock migrate up

SLOW := tests/process tests/upgrade

test: install ## Run the tests against a real PostgreSQL, but for the slow ones
	$(BIN)/python -m pytest $(SLOW:%=--ignore=%) $(PYTEST)

test-slow: install ## Run those that start, kill and upgrade whole processes
	$(BIN)/python -m pytest $(SLOW) $(PYTEST)

test-browser: install ## Run the tests in a real browser, where Chromium and its driver are installed
	$(BIN)/python -m pytest -m browser -rs --numprocesses=0 tests/http/test_browser.py

check: install ## Lint, format, types, import rules, SQL, spelling, all tests with coverage
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=tests/load:src $(BIN)/mypy --explicit-package-bases tests/load/*.py tests/load/peers/*.py
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint sql migrations src/rowlock/ops
	$(BIN)/squawk migrations/*/*.sql
	$(BIN)/codespell
	@$(MAKE) --no-print-directory compose-config
	$(MAKE) --no-print-directory test PYTEST='--cov --cov-report= --cov-fail-under=0'
	$(MAKE) --no-print-directory test-slow \
		PYTEST='--cov --cov-append --cov-report=term-missing:skip-covered'

compose-config: ## Check docker/compose.yml, where docker compose is installed
	@if docker compose version >/dev/null 2>&1; then \
		env $$(sed -n 's/^\([A-Z_]*\)=$$/\1=example/p' docker/.env.example) \
			docker compose -f docker/compose.yml --profile monitoring config --quiet \
			&& echo "docker/compose.yml is valid"; \
	else echo "docker/compose.yml is not checked: docker compose is not installed"; fi

NODE_PEERS := $(addprefix tests/load/peers/,koa fastify graphile)

bench: install .venv/bench ## Measure, and write bench-results/ (BENCH=--quick, BENCH=--scaling)
	$(BIN)/python tests/load/bench.py $(BENCH)

# What only the benchmark needs. It reports and leaves out what npm can't install.
.venv/bench: setup.cfg $(NODE_PEERS:%=%/package.json)
	$(PIP) install --quiet --editable '.[bench]'
	! command -v npm >/dev/null || for peer in $(NODE_PEERS); do \
		npm install --prefix $$peer --no-audit --no-fund --loglevel=error || true; \
	done
	touch $@

clean: ## Remove .venv, caches and the embedded database
	rm -rf .venv .rowlock build dist $(NODE_PEERS:%=%/node_modules) src/*.egg-info .*_cache .hypothesis .coverage*

# Rowlock. `make help` lists what there is.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help install run test check compose-config bench migrate clean
.DEFAULT_GOAL := help

help: ## List the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

install: .venv/installed ## Make .venv and install Rowlock and its development tools into it

.venv/installed: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

run: install ## Serve everything on the embedded database, until Ctrl-C
	@exec $(BIN)/rowlock serve

migrate: install ## Apply missing migrations
	$(BIN)/rowlock migrate up

test: install ## Run the tests against a real PostgreSQL
	$(BIN)/python -m pytest

check: install ## Lint, format, types, import rules, SQL lint, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint sql migrations
	$(BIN)/squawk migrations/*/*.sql
	@$(MAKE) --no-print-directory compose-config
	$(MAKE) --no-print-directory test

compose-config: ## Check docker/compose.yml, where docker compose is at hand
	@if docker compose version >/dev/null 2>&1; then \
		env $$(sed -n 's/^\([A-Z_]*\)=$$/\1=example/p' docker/.env.example) \
			docker compose -f docker/compose.yml --profile monitoring config --quiet \
			&& echo "docker/compose.yml is valid"; \
	else echo "docker/compose.yml is not checked: there is no docker compose here"; fi

KOA := tests/load/peers/koa

bench: install .venv/bench ## Measure, and write bench-results/ (BENCH=--quick, BENCH=--scaling)
	$(BIN)/python tests/load/bench.py $(BENCH)

# What only the benchmark needs. What npm can not install, the benchmark says that it leaves out.
.venv/bench: setup.cfg $(KOA)/package.json
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	! command -v npm >/dev/null || npm install --prefix $(KOA) --no-audit --no-fund --loglevel=error || true
	touch $@

clean: ## Remove .venv, caches and the embedded database
	rm -rf .venv .rowlock build dist $(KOA)/node_modules src/*.egg-info .*_cache .hypothesis

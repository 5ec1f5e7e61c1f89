# Rowlock. `make help` lists what there is.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help install run test test-slow test-browser check clients compose-config bench ha \
	image-check release-check migrate lock vendor clean
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
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header docker/ha/requirements.in --output-file docker/ha/requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header tests/release/requirements.in \
		--output-file tests/release/requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header tests/clients/requirements.in \
		--output-file tests/clients/requirements.txt
	! command -v npm >/dev/null || npm install --prefix tests/clients --package-lock-only \
		--omit-lockfile-registry-resolved --no-audit --no-fund

vendor: install ## Fetch again what pages have from npm, and note its checksums
	$(BIN)/python -m tests.support.vendor

migrate: .venv/run ## Apply missing migrations
	$(BIN)/rowlock migrate up

SLOW := tests/process tests/upgrade

test: install ## Run the tests against a real PostgreSQL, but for the slow ones
	$(BIN)/python -m pytest $(SLOW:%=--ignore=%) $(PYTEST)

test-slow: install clients ## Run those that start, kill and upgrade whole processes
	$(BIN)/python -m pytest $(SLOW) $(PYTEST)

# In folders of their own, as what generates clients is no part of Rowlock, and needs other versions
# of what it uses. Without npm, or what it can't install, the tests that need it are skipped.
CLIENTS := .venv-clients

clients: $(CLIENTS)/installed ## Install what generates clients from the OpenAPI documents

$(CLIENTS)/installed: tests/clients/requirements.txt tests/clients/package-lock.json | install
	$(PYTHON) -m venv --without-pip $(CLIENTS)
	$(PIP) --python $(CLIENTS)/bin/python install --quiet --require-hashes --requirement $<
	! command -v npm >/dev/null || \
		npm ci --prefix tests/clients --no-audit --no-fund --loglevel=error || true
	touch $@

AXE := tests/browser/axe

test-browser: install $(AXE)/node_modules ## Run the tests in a real browser, where Chromium and its driver are installed
	$(BIN)/python -m pytest -m browser -rfEs --numprocesses=2 tests/http/test_browser.py tests/browser

# It runs on every page; without npm, that is skipped.
$(AXE)/node_modules: $(AXE)/package-lock.json
	! command -v npm >/dev/null || npm ci --prefix $(AXE) --no-audit --no-fund --loglevel=error
	@mkdir -p $@ && touch $@

check: install ## Lint, format, types, import rules, SQL, spelling, all tests, coverage
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=tests/load:src $(BIN)/mypy --explicit-package-bases tests/load/*.py tests/load/peers/*.py
	$(BIN)/lint-imports
	$(BIN)/sqlfluff lint sql migrations src/rowlock/ops
	$(BIN)/squawk migrations/*/*.sql
	$(BIN)/codespell
	@$(MAKE) --no-print-directory compose-config
	$(MAKE) --no-print-directory test PYTEST='--cov --cov-report=term-missing:skip-covered'
	$(MAKE) --no-print-directory test-slow

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

# In a folder of its own, as Patroni is no part of Rowlock. As root, PostgreSQL and Patroni run as
# another user, whom a Python below /root is closed to: so Debian's own is used, if there is one.
HA := .venv-ha
HA_PYTHON ?= $(firstword $(wildcard /usr/bin/python3) $(PYTHON))

ha: install $(HA)/installed ## Lose a real cluster's primary under load (HA_FAULTS='kill --keep')
	tests/ha/packages.sh
	$(BIN)/python -m tests.ha $(HA_FAULTS)

$(HA)/installed: docker/ha/requirements.txt
	$(HA_PYTHON) -m venv --without-pip $(HA)
	$(PIP) --python $(HA)/bin/python install --quiet --require-hashes --requirement $<
	touch $@

image-check: install ## Build the image and use it, where there is an engine for containers
	$(BIN)/python -m tests.image

# Its tools have many dependencies, so they are in a folder of their own.
RELEASE := .venv-release

release-check: install $(RELEASE)/installed ## Build what a release has, try it, and leave it in dist/
	$(BIN)/python -m tests.release

$(RELEASE)/installed: tests/release/requirements.txt
	$(PYTHON) -m venv --without-pip $(RELEASE)
	$(PIP) --python $(RELEASE)/bin/python install --quiet --require-hashes --requirement $<
	touch $@

clean: ## Remove .venv, caches and the embedded database
	rm -rf .venv $(HA) $(CLIENTS) $(RELEASE) .rowlock build dist $(NODE_PEERS:%=%/node_modules) \
		tests/clients/node_modules $(AXE)/node_modules test-results src/*.egg-info .*_cache .hypothesis .coverage*

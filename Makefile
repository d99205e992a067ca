# `make demo` and `make test` work on a fresh machine with Python 3.10+, make and a C compiler.
# The virtual environment is made by the first command that needs it, and brought up to date
# when pyproject.toml changes. Nothing is downloaded while nothing changed.
#
#   PYTHON=/path/to/python3   the interpreter to make .venv with (else the first 3.10+ on PATH)
#   DB=sqlite|mariadb|postgresql   what `make demo` runs on
#   PRODUCT=mariadb|mysql|postgresql   whose servers `make test-servers` runs with (else all)
#   POSTGRESQL_VERSION=17|18|19, MARIADB_VERSION=11.8   other versions of them, which are fetched
#   ARGS="..."                more arguments for the demo, the tests or tox

PYTHON ?=
DB ?= sqlite
PRODUCT ?=
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Twice --quiet: errors alone.
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
export PYTHON

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test coverage test-servers test-browser test-all check lint format types imports translations docs package matrix clean \
        bench bench-quick system-mariadb system-postgresql system-servers system-browser system-tests

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- what a person runs -------------------------------------------------------------------

ifeq ($(DB),sqlite)
demo: $(VENV)/.demo ## the message board on SQLite; DB=mariadb, DB=postgresql: on a primary and two replicas
	$(BIN)/python testproject/demo.py $(ARGS)
else ifeq ($(DB),mariadb)
demo: system-mariadb $(VENV)/.demo-mysql
	$(BIN)/python testproject/demo.py --db $(DB) $(ARGS)
else ifeq ($(DB),postgresql)
demo: system-postgresql $(VENV)/.demo-postgresql
	$(BIN)/python testproject/demo.py --db $(DB) $(ARGS)
else
demo:
	@echo 'DB is "$(DB)", and must be sqlite, mariadb or postgresql: make demo DB=mariadb' >&2; exit 2
endif

test: $(VENV)/.test ## the tests that need Python alone, on SQLite
	$(BIN)/python tools/run_tests.py quick $(ARGS)
	@echo "The others: make test-servers [PRODUCT=mariadb|mysql|postgresql], make test-browser, make test-all"

coverage: $(VENV)/.test ## how much of the package the tests on SQLite reach; htmlcov/index.html shows it
	$(BIN)/python -m coverage run -m pytest tests/unit tests/sqlite -q $(ARGS)
	$(BIN)/python -m coverage html --quiet --fail-under=0
	$(BIN)/python -m coverage report

test-servers: system-servers $(VENV)/.test-all ## the tests on real servers; PRODUCT=mysql for those of one product
	$(BIN)/python tools/run_tests.py $(PRODUCT:%=--product=%) servers $(ARGS)

test-browser: system-browser $(VENV)/.test-all ## the tests in a browser, on MariaDB
	$(BIN)/python tools/run_tests.py browser $(ARGS)

test-all: system-tests $(VENV)/.test-all ## every test; ARGS="faults -- -k freeze" for some
	$(BIN)/python tools/run_tests.py $(ARGS)

check: lint types imports ## everything that reads the code without running it

lint: $(VENV)/.dev ## ruff, rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev ## mypy --strict
	$(BIN)/mypy --strict

imports: $(VENV)/.dev ## the layers, as import-linter knows them
	$(BIN)/lint-imports --no-logo

translations: $(VENV)/.dev ## all texts into the catalogues, and what is translated compiled
	$(BIN)/python tools/translations.py

bench: system-mariadb $(VENV)/.made ## all benchmarks, in less than 30 minutes; ARGS="decision request" for some
	$(BIN)/python -m benchmarks $(ARGS)

bench-quick: system-mariadb $(VENV)/.made ## only see that the benchmarks still run
	$(BIN)/python -m benchmarks --quick $(ARGS)

docs: $(VENV)/.dev ## the documentation, into docs/_build/html, and in Korean into docs/_build/html/ko
	$(BIN)/python tools/translated_docs.py
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -b html docs docs/_build/html
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -b html -D language=ko docs docs/_build/html/ko

package: $(VENV)/.dev ## the wheel and the source archive, into dist/
	rm -rf dist
	$(BIN)/python -m hatchling build

matrix: $(VENV)/.dev ## tox: each Python with each Django, as far as the interpreters are here
	$(BIN)/python tools/run_tox.py $(ARGS)

clean: ## removes what the commands above made
	rm -rf $(VENV) .tox build dist docs/_build htmlcov .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis \
	    .import_linter_cache

# --- the virtual environment --------------------------------------------------------------

$(VENV)/.made:
	@tools/make_venv.sh $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml
	@echo "Installing what the demo needs into $(VENV)"
	@$(PIP) --editable '.[environ]' --group demo
	@touch $@

$(VENV)/.demo-mysql: $(VENV)/.demo pyproject.toml
	@echo "Installing mysqlclient into $(VENV)"
	@$(PIP) --editable '.[environ,mysql]' --group demo
	@touch $@

$(VENV)/.demo-postgresql: $(VENV)/.demo pyproject.toml
	@echo "Installing psycopg into $(VENV)"
	@$(PIP) --editable '.[environ]' --group demo --group clusters
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	@echo "Installing the development tools into $(VENV)"
	@$(PIP) --editable '.[environ]' --group dev
	@touch $@ $(VENV)/.demo $(VENV)/.test

$(VENV)/.test: $(VENV)/.made pyproject.toml
	@echo "Installing what the tests on SQLite need into $(VENV)"
	@$(PIP) --editable '.[environ]' --group test --group lint
	@touch $@

$(VENV)/.test-all: $(VENV)/.dev pyproject.toml
	@echo "Installing mysqlclient into $(VENV)"
	@$(PIP) --editable '.[environ,mysql]' --group dev
	@touch $@ $(VENV)/.demo-mysql

# --- system packages: only looked for, and installed where one is missing -----------------

system-mariadb:
	@tools/system_packages.sh venv compiler headers mariadb

system-postgresql:
	@tools/system_packages.sh venv postgresql

system-servers:
	@tools/system_packages.sh venv compiler headers mariadb postgresql redis galera haproxy pgbouncer pgpool

system-browser:
	@tools/system_packages.sh venv compiler headers mariadb chromium fonts

system-tests:
	@tools/system_packages.sh venv compiler headers mariadb postgresql redis galera haproxy pgbouncer pgpool chromium fonts

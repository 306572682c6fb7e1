# What `make` does here, one line a target:
#
#   make setup      .venv with everything in it, CPU engine included; does nothing the second time
#   make demo       a real merge search on a small zoo, from training to report
#   make test       lint, types, import contracts, tests
#   make test-slow  the tests that take minutes
#   make examples   every example as it stands, those that start servers and clusters too
#   make lint       the first three of `make test`
#   make docs       the documentation as a site, build/site/index.html
#   make dist       wheel, sdist and bill of materials in dist/, looked into
#   make bill       the bill of materials against CycloneDX's own schema; asks PyPI for the schema
#   make audit      known vulnerabilities of what is pinned; asks PyPI, and says so where it cannot
#   make format     ruff's formatter and its safe fixes
#   make clean      caches and builds; `make distclean` also removes .venv
#
# Needs Python 3.11 or newer with venv, and nothing else. Another interpreter: make setup PYTHON=/path/python3.11

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := setup
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
# Resolving is skipped (versions are pinned), and so is pip's one-core byte-compiling: both cores do it after.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install -qq --no-deps --no-compile
# pip itself is pinned too: the one that venv brings depends on the Python.
pinned = $(shell sed -n 's/^\($(1)==.*\)/\1/p' requirements/cpu.txt)
DEPENDENCIES := $(VENV)/.dependencies-installed
PACKAGE := $(VENV)/.package-installed

# Tests and lint run as they would on a machine without a network, and tell nobody that they ran.
export DO_NOT_TRACK := 1
export RAY_USAGE_STATS_ENABLED := 0
export VLLM_NO_USAGE_STATS := 1
OFFLINE := HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TRANSFORMERS_OFFLINE=1

.PHONY: setup demo test test-slow examples lint bill audit docs dist format clean distclean
setup: $(PACKAGE)

# An interrupted or failed set-up leaves no stamp, and the next one goes on from what is there.
$(DEPENDENCIES): requirements/cpu.txt
	@python="$$(bash requirements/find_python.sh $(PYTHON))"; \
	echo "setup: $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV)
	@$(PIP) '$(call pinned,pip)'
	@echo "setup: $(call pinned,torch)"
	@$(PIP) '$(call pinned,torch)' || { echo 'setup: elsewhere the CPU build of torch may need the index that pytorch.org names for it: docs/install.md' >&2; exit 1; }
	@echo "setup: $$(grep -c == requirements/cpu.txt) pinned packages"
	@$(PIP) -r requirements/cpu.txt
	@echo "setup: byte-compiling"
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true
	@touch $@

$(PACKAGE): pyproject.toml $(DEPENDENCIES)
	@$(PIP) --no-build-isolation --editable .
	@touch $@
	@echo "setup: done; $(BIN)/evomerge is ready"

demo: setup
	$(BIN)/evomerge demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint
	$(OFFLINE) $(BIN)/python -m pytest

# Part of CI. The others of examples/ run in `make test`.
examples: setup
	$(OFFLINE) $(BIN)/python -m pytest tests/examples -m slow

dist: setup
	$(BIN)/python requirements/release.py

bill: dist
	$(BIN)/python -m venv build/bill
	build/bill/bin/python -m pip --disable-pip-version-check --no-input install -q -r requirements/bill.txt
	build/bill/bin/python requirements/check_bill.py dist/*.cdx.json

# In a set-up of its own, and not part of `make test`: that one needs no network. --strict, because a
# package that nobody knows counts as sound otherwise.
audit: setup
	$(BIN)/python -m venv build/audit
	build/audit/bin/python -m pip --disable-pip-version-check --no-input install -q pip-audit==2.10.1
	build/audit/bin/pip-audit --strict --disable-pip --no-deps --requirement requirements/cpu.txt

docs: setup
	$(BIN)/mkdocs build --strict

test-slow: setup
	$(OFFLINE) $(BIN)/python -m pytest -m slow

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)

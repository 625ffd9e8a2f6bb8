# Two commands: "make run" shows the main job and serves, "make test" runs everything that is checked.
# They need Python 3.11 or newer with venv, and the network for the first time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run test check coverage clean

help:
	@echo "make run       show the main job on the built-in server, then serve (Ctrl-C ends it)"
	@echo "make test      lint, types, import contracts, and all tests"
	@echo "make check     lint, types and import contracts only"
	@echo "make coverage  the tests, with a report of what they do not reach"
	@echo "make clean     remove what these commands made"

run: $(VENV)/.ready
	@exec $(BIN)/python -m mcpbridge.tour

test: $(VENV)/.ready-for-tests
	@exec $(BIN)/python -m tests.run $(ARGS)

check: $(VENV)/.ready-for-tests
	@exec $(BIN)/python -m tests.run --gates-only

coverage: $(VENV)/.ready-for-tests
	@rm -f .coverage .coverage.*
	$(BIN)/python -m coverage run -m twisted.trial --temp-directory=_trial_temp tests
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { echo "venv is missing; on Debian: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }

# A stamp is older than the files that decide what is installed as soon as one of them changes.
$(VENV)/.ready: setup.cfg pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.ready-for-tests: setup.cfg pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.ready

clean:
	rm -rf $(VENV) .npm .pypi build dist *.egg-info _trial_temp* .coverage .coverage.* .mypy_cache .ruff_cache \
	  .hypothesis .import_linter_cache twisted/plugins/dropin.cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

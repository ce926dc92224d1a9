# `make demo` and `make test` are the two set-up commands. Each makes its own environment below build/ from the
# hash-pinned files in requirements/; they need Python >= 3.11 with venv, and make.
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
DEMO := build/demo-$(VERSION)
TEST := build/test-$(VERSION)
REAL := build/real-$(VERSION)
PEERS := build/peers
UPLOADERS := build/uploaders
# Packages come from the requirement files alone, so that only what their hashes allow is installed.
INSTALL = -m pip --disable-pip-version-check install --quiet --require-hashes
THIS = -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .

.PHONY: demo test check test-real bench docs format clean

demo: $(DEMO)/ready
	$(DEMO)/bin/python demo/run.py

test: $(TEST)/ready
	$(TEST)/bin/python -m pytest -q --numprocesses auto -m "not real"

check: $(TEST)/ready
	$(TEST)/bin/ruff check --quiet
	$(TEST)/bin/ruff format --check --quiet
	$(TEST)/bin/mypy
	$(TEST)/bin/lint-imports --no-cache --verbose > build/imports.txt || { cat build/imports.txt; exit 1; }
	$(TEST)/bin/python docs/derive.py --check

test-real: $(REAL)/ready $(UPLOADERS)/ready
	@[ -d tests/real/node_modules/oidc-provider ] || ! command -v npm >/dev/null || (cd tests/real && npm ci --silent)
	$(REAL)/bin/python -m pytest -q -m real tests/real

bench: $(TEST)/ready $(PEERS)/ready
	$(TEST)/bin/python -m bench

docs: $(TEST)/ready
	$(TEST)/bin/python docs/derive.py

format: $(TEST)/ready
	$(TEST)/bin/ruff check --quiet --fix
	$(TEST)/bin/ruff format --quiet

clean:
	rm -rf build

$(DEMO)/ready: requirements/demo.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Mintmark needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python $(INSTALL) -r requirements/demo.txt
	$(DEMO)/bin/python $(THIS)
	touch $@

$(TEST)/ready: requirements/test.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Mintmark needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/python $(INSTALL) -r requirements/test.txt
	$(TEST)/bin/python $(THIS)
	touch $@

# What the benches compare with has no build for some machines; then they skip what needs it, and say so.
$(PEERS)/ready: requirements/peers.txt
	$(PYTHON) -m venv $(PEERS)
	! $(PEERS)/bin/python $(INSTALL) --only-binary :all: -r requirements/peers.txt || touch $@

$(REAL)/ready: requirements/real.txt pyproject.toml
	$(PYTHON) -m venv $(REAL)
	$(REAL)/bin/python $(INSTALL) -r requirements/real.txt
	$(REAL)/bin/python $(THIS)
	touch $@

# Other people's tools stay in an environment of their own: what they need is not what ours needs. The file names all
# of it; pip would look for an unpinned one where a package is asked for by another with an extra.
$(UPLOADERS)/ready: requirements/uploaders.txt
	$(PYTHON) -m venv $(UPLOADERS)
	$(UPLOADERS)/bin/python $(INSTALL) --no-deps -r requirements/uploaders.txt
	touch $@

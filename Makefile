# The two commands of a newcomer are `make run` and `make test`; `make help` lists the rest.
SHELL := /bin/sh
PYTHON ?= python3
PORT ?= 3000
DATA_DIR ?= data
# The tests share nothing, so that each processor takes some of them; `SIDE_BY_SIDE=` runs them in one process.
SIDE_BY_SIDE ?= --numprocesses logical --maxprocesses 8 --dist worksteal
VENV := .venv
BIN := $(VENV)/bin
# uv from the PATH where there is one, else one of our own under .tools/ (pip --target works on
# externally managed Pythons too, and needs no ensurepip).
UV := $(shell command -v uv 2>/dev/null || echo .tools/uv/bin/uv)
# uv brings certificates of its own; where the machine has some it is to trust those, as pip does, for
# behind a proxy that signs anew only they serve. (Releases before 0.11 know the second name alone.)
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem),)
export UV_SYSTEM_CERTS ?= 1
export UV_NATIVE_TLS ?= 1
endif

# Hashes, no addresses: the lock names what is installed, and whoever installs chooses from where.
COMPILE = $(UV) pip compile -q --universal --generate-hashes --python-version 3.11 \
  --no-header --no-emit-index-url --no-emit-find-links
LOCK = $(COMPILE) pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help run test check pytest slower bench crash first-reply simulate mutants lock clean install install-dev drill-all soak

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: install ## Start the bot with its built-in simulators; operator API on port 3000
	@exec $(BIN)/llmbot demo --port $(PORT) --data-dir $(DATA_DIR)

test: install-dev ## Run linters, type checker and tests
	@$(MAKE) --no-print-directory -j2 check pytest

check: install-dev ## Run linters and type checker alone
	@echo "==> ruff, mypy, import-linter"
	@$(BIN)/ruff check . && $(BIN)/ruff format --check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

pytest: install-dev
	@echo "==> pytest"
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow"

slower: install-dev ## Run what is too much for .ci/run: all 100,000 schedules of mutexes, more kills of the database
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m slower

bench: install-dev ## Measure llmbot beside a bare bot; QUICK=--quick for a short run
	@$(BIN)/python -m benchmarks.run $(QUICK)
	@$(BIN)/python -m benchmarks.trouble $(QUICK)
	@$(BIN)/python -m benchmarks.documents $(QUICK)
	@$(BIN)/python -m benchmarks.pages $(QUICK)
	@$(BIN)/python -m benchmarks.reads $(QUICK)

crash: install-dev ## Kill the real bot, then its stores alone, with signal 9 and count what was lost
	@$(BIN)/python -m tests.crash.kills $(ARGS)
	@$(BIN)/python -m tests.crash.stores

first-reply: install-dev ## Time from a start after kill -9 to the first reply; ROUNDS=20
	@$(BIN)/python -m tests.crash.first_reply --rounds $(or $(ROUNDS),20)

simulate: install-dev ## Live days of traffic in seconds on a simulated world; SEEDS=0:20
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),0:20) $(ARGS)

mutants: install-dev ## Put realistic bugs in, one at a time, and see each caught; ARGS="--only breaker"
	@$(BIN)/python -m tests.mutants $(ARGS)

drill-all: install ## Break the bot in every way of the catalogue and score it; ROUNDS=3
	@$(BIN)/llmbot drill all --own-demo --rounds $(or $(ROUNDS),3) $(ARGS)

soak: install-dev ## Talk for hours and see whether memory, descriptors or tasks grow; HOURS=6
	@$(BIN)/python -m benchmarks.soak --hours $(or $(HOURS),6) $(ARGS)

# Where Python may not write its bytecode (ops/llmbot.service; PYTHONDONTWRITEBYTECODE) each start
# would compile all it loads: most of its time, and 24 MiB. Whoever installs does it once.
install: $(VENV)/.installed
	@$(BIN)/python -m compileall -q src/llmbot

install-dev: $(VENV)/.installed-dev
	@$(BIN)/python -m compileall -q src/llmbot

.tools/uv/bin/uv:
	@echo "==> fetching uv, the installer (once)"
	@$(PYTHON) -m pip install -q --disable-pip-version-check --target .tools/uv 'uv>=0.9,<1'

$(VENV)/pyvenv.cfg: | $(filter .tools/%,$(UV))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "llmbot needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	@$(UV) venv -q --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "==> installing llmbot and what it needs into $(VENV)"
	@VIRTUAL_ENV=$(VENV) $(UV) pip install --compile-bytecode --require-hashes -r requirements.lock
	@VIRTUAL_ENV=$(VENV) $(UV) pip install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "==> installing llmbot, what it needs and its test tools into $(VENV)"
	@VIRTUAL_ENV=$(VENV) $(UV) pip install --compile-bytecode --require-hashes -r requirements-dev.lock
	@VIRTUAL_ENV=$(VENV) $(UV) pip install -q --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.installed

fuzz: install-dev .tools/schemathesis/bin/schemathesis ## Drive the operator API by its own description, 20,000 cases (half an hour)
	@$(BIN)/python -m tests.security.fuzz .tools/schemathesis/bin/schemathesis --max-examples $(or $(CASES),350) $(ARGS)

.tools/schemathesis/bin/schemathesis:
	@echo "==> installing schemathesis, apart from everything else (once)"
	@$(PYTHON) -m venv .tools/schemathesis && .tools/schemathesis/bin/python -m pip install -q 'schemathesis==4.32.5'

lock: | $(filter .tools/%,$(UV)) ## Resolve the dependencies anew into requirements*.lock
	@$(LOCK) --upgrade --extra openai --extra postgres --extra build -o requirements.lock
	@$(LOCK) --all-extras -c requirements.lock -o requirements-dev.lock
	@$(COMPILE) --upgrade tests/browser/requirements.in -c requirements-dev.lock -o tests/browser/requirements.lock

clean: ## Remove what was installed and built (never data/)
	@rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

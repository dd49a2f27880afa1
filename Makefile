# `make help` lists what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ARGS   ?=
# A system is ten processes: where Python may keep no compiled files, each compiles all that it loads.
export PYTHONDONTWRITEBYTECODE :=
# Tests wait more than they work, so three parts run at once, each with servers of its own.
CARRYING  := tests/connectors tests/tally/replaying
FOLLOWING := tests/streams faust_rdkafka/tests
TESTS     := $(BIN)/python -m pytest -m "not slow"

.PHONY: help setup demo test check lint format types bench soak clean lock

help:            ## what can be made
	@grep -hE '^[a-z]+: *.*##' $(MAKEFILE_LIST) | sed -E 's/: *[^#]*## */\t/' | expand -t 10

setup: $(STAMP)  ## virtual environment, packages and the servers' files
	@$(BIN)/tally setup

$(STAMP): requirements.lock pyproject.toml faust_rdkafka/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("tally needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@echo "Set-up, once: about 260 MB of Python packages (500 MB in .venv) and 125 MB for Kafka in the user's cache; one to two minutes." >&2
	@echo "[1/3] virtual environment .venv" >&2
	@$(PYTHON) -m venv $(VENV)
	@echo "[2/3] Python packages, pinned with hashes (requirements.lock)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock \
	  || { echo "could not install the packages of requirements.lock: is the package index within reach?" >&2; exit 4; }
	@echo "[3/3] tally itself" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e ./faust_rdkafka -e .
	@touch $(STAMP)

demo: setup      ## real orders through the whole system; ARGS="--invoices 500 --exit"
	@$(BIN)/tally demo $(ARGS)

test: setup      ## every test but the loops of soak, on real servers that the tests start; ARGS="-k name": those alone
ifeq ($(ARGS),)
	@$(TESTS) $(CARRYING) & carrying=$$!; \
	$(TESTS) $(FOLLOWING) & following=$$!; \
	$(TESTS) tests $(addprefix --ignore=,$(CARRYING) $(FOLLOWING)); failed=$$?; \
	wait $$carrying || failed=1; wait $$following || failed=1; exit $$failed
else
	@$(TESTS) $(ARGS)
endif

check: setup format lint types  ## what CI runs: format, lint, types, contracts, tests
	@$(BIN)/tally schemas check
	@$(MAKE) --no-print-directory test

format: $(STAMP)
	@$(BIN)/ruff format --check .

lint: $(STAMP)
	@$(BIN)/ruff check .

types: $(STAMP)
	@$(BIN)/mypy

bench: setup     ## the benchmarks, with their peers; medians of three runs
	@$(BIN)/python -m bench $(ARGS)

soak: setup      ## long fault loops and simulations; prints a table
	@$(BIN)/python -m pytest -m slow $(ARGS)

lock: $(STAMP)   ## write requirements.lock anew (needs uv)
	@grep -v '"faust-rdkafka",' pyproject.toml > $(VENV)/pyproject.toml
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --all-extras --output-file requirements.lock $(VENV)/pyproject.toml

clean:           ## remove all that was made
	@[ ! -x $(BIN)/tally ] || $(BIN)/tally down --quiet || true
	@rm -rf $(VENV) .tally build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info faust_rdkafka/src/*.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

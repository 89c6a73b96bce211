# Everything runs in .venv, which the first target that needs it makes from a lock file.

PYTHON ?= python3
HISTORY ?=
CHAOS ?=
VENV := .venv
BIN := $(VENV)/bin
DEV := $(VENV)/dev.stamp
PEERS := var/bench/venv
# The one on the JVM takes part where Maven is.
JVM_PEER := var/bench/kafka-streams-peer.jar
BENCH := $(PEERS)/peers.stamp $(if $(shell command -v mvn),$(JVM_PEER))
# Whoever has the tools of development has all that the demo needs.
READY := $(if $(wildcard $(DEV)),$(DEV),$(VENV)/runtime.stamp)

PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check --quiet install
PEERS_PIP_INSTALL := $(PEERS)/bin/python -m pip --disable-pip-version-check --quiet install
LOCK := $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check lint format types imports audit bench bench-quick load chaos fuzz notice acls lock clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## From plays to profiles and reports on this machine; HISTORY=export.zip takes yours
	@exec $(BIN)/sottovoce demo $(if $(HISTORY),--history "$(HISTORY)")

test: $(DEV) ## Run the tests, on Apache Kafka too where Java and Maven are
	@exec $(BIN)/python -m pytest

check: lint types imports audit ## Everything that can be checked without running

lint: $(DEV) ## Check format and style
	$(BIN)/ruff format --check
	$(BIN)/ruff check

format: $(DEV) ## Rewrite the code in its format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

types: $(DEV) ## Check types, strictly
	$(BIN)/mypy

imports: $(DEV) ## Check that imports point one way
	$(BIN)/lint-imports --no-cache --no-logo

audit: $(DEV) ## Check that nothing runs what it reads and nothing is unpinned; asks no service
	@$(BIN)/python -m pytest --quiet tests/deploy/test_audit.py tests/deploy/test_locks.py

bench: $(READY) $(BENCH) ## Measure each role and its peers; results in var/bench
	@exec $(BIN)/python -m tests.bench.run

bench-quick: $(READY) $(BENCH) ## The same with fewer plays, less precise
	@exec $(BIN)/python -m tests.bench.run --plays 200000 --listeners 10000 --peer-scale 0.1

$(PEERS)/peers.stamp: tests/bench/peers/requirements.lock | $(VENV)/pyvenv.cfg
	@echo "Installing the peers of the benchmark into $(PEERS), once."
	@$(BIN)/python -m venv --clear $(PEERS)
	@$(PEERS_PIP_INSTALL) --require-hashes -r $<
	@touch $@

$(JVM_PEER): tests/bench/peers/kafka-streams/pom.xml schemas/play.avsc \
		$(shell find tests/bench/peers/kafka-streams/src -type f)
	@echo "Building the peer on the JVM, once."
	@mvn --batch-mode --quiet --no-transfer-progress --file=$< package
	@mkdir -p $(@D) && cp tests/bench/peers/kafka-streams/target/$(@F) $@

load: $(DEV) ## More than the workers can take, and ten years imported meanwhile; results in var/load
	@$(BIN)/python -m tests.load.pressure
	@exec $(BIN)/python -m tests.load.backfill

chaos: $(READY) ## Everything goes wrong at once, then a recount; CHAOS="--seed 7 --seconds 3600 --nodes 3"
	@exec $(BIN)/python -m tests.chaos.run $(CHAOS)

fuzz: $(DEV) var/fuzz/atheris ## Fuzz the decoder and the boundary for MINUTES (10); finds go to var/fuzz
	@exec $(BIN)/python -m tests.fuzz.decoder --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

var/fuzz/atheris: tests/fuzz/requirements.lock | $(DEV)
	@$(PIP_INSTALL) --upgrade --require-hashes --target $@ -r $<

notice: $(READY) ## Write deploy/notice from the schemas and the policy, as CI compares it
	@exec $(BIN)/sottovoce notice --out deploy/notice

acls: $(READY) ## Write deploy/kafka/acls.sh from the roles and the policy, as CI compares it
	@$(BIN)/sottovoce topics acls > deploy/kafka/acls.sh

lock: $(DEV) ## Pin the dependencies that pyproject.toml names; UPGRADE=1 takes the newest
	$(LOCK) pyproject.toml --extra demo --extra vault -o requirements.lock
	$(LOCK) -c requirements.lock --group build -o requirements-build.lock
	$(LOCK) -c requirements.lock -c requirements-build.lock \
		pyproject.toml --extra demo --extra vault --group dev -o requirements-dev.lock
	$(LOCK) tests/fuzz/requirements.in -o tests/fuzz/requirements.lock
	$(LOCK) tests/bench/peers/requirements.in -o tests/bench/peers/requirements.lock

clean: ## Remove .venv and the caches of tools; var/ stays
	rm -rf $(VENV) dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Sotto Voce needs Python 3.11 or newer. Name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/runtime.stamp: requirements.lock requirements-build.lock pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "Installing what requirements.lock pins into $(VENV), once."
	@$(PIP_INSTALL) --require-hashes -r requirements.lock -r requirements-build.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.lock pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "Installing what requirements-dev.lock pins into $(VENV), once."
	@$(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

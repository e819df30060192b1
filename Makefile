# What can be done here; `make` alone lists it too. Everything happens in .venv, made from a lock of exact versions.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/pip
EXACTLY := --quiet --disable-pip-version-check --no-deps --require-hashes
CLIENTS := dicomweb-client idc-index nbiatoolkit tcia-utils tciaclient

# Compiled modules are kept, whatever the environment says: the tests start many hundreds of Python processes.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup mirror test check lint types layers pytest coverage torture matrix fuzz bench lock docs clean \
  test-clients client-environments $(CLIENTS:%=test-%)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## the virtual environment .venv, with bulkdl and all that its tests need

$(READY): .requirements/dev.txt pyproject.toml | $(PIP)
	$(PIP) install $(EXACTLY) -r .requirements/dev.txt
	$(PIP) install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(PIP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "bulkdl needs Python 3.11 or later: make PYTHON=python3.11 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)

mirror: $(READY) ## a first mirror in ./mirror, from the demonstration archive: no account, no network
	@echo "1. A Series list, from its manifest:"
	@$(BIN)/bulkdl mirror --archive demo --manifest manifests/sample.tcia --to mirror
	@echo "2. A Collection, by its name:"
	@$(BIN)/bulkdl mirror --archive demo --collection BULKDL-PHANTOM --to mirror
	@echo "3. Every file against the journal:"
	@$(BIN)/bulkdl verify mirror
	@echo
	@echo "./mirror now holds COLLECTION/PATIENT/STUDY/SERIES/INSTANCE.dcm, and its journal in ./mirror/.bulkdl."
	@echo "Next:"
	@echo "  $(BIN)/bulkdl status mirror                                     what it holds and owes"
	@echo "  $(BIN)/bulkdl serve mirror                                      serve it to any TCIA client"
	@echo "  $(BIN)/bulkdl plan --archive demo --everything                  what else the demonstration archive has"
	@echo "  $(BIN)/bulkdl mirror --collection NAME --to DIR                 a Collection of TCIA itself"

# Types and layers, which use one core, are checked while the tests run.
test: lint ## lint, types, layers, tests; CI runs `mirror` and `test-clients` as well
	@$(MAKE) --no-print-directory --jobs 2 pytest types layers

check: lint types layers

lint: $(READY) ## ruff: style and common mistakes
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY) ## mypy, strict
	$(BIN)/mypy

layers: $(READY) ## import-linter: the layers of the design
	$(BIN)/lint-imports

pytest: $(READY) ## the tests
	$(BIN)/pytest --numprocesses logical --dist worksteal

coverage: $(READY) ## the tests, with coverage of branches; much slower
	$(BIN)/coverage erase
	$(BIN)/pytest --numprocesses logical --dist worksteal --cov --cov-report=term

torture: $(READY) ## the long tests: 730 kills, an instance of 4 GB, a slide of 2 GB, all faults mixed, 649 questions
	$(BIN)/python -m tests.stress.torture --kills 300
	$(BIN)/python -m tests.stress.kills --form idc --kills 30
	$(BIN)/python -m tests.stress.rearranging --kills 100
	$(BIN)/python -m tests.stress.large --gigabytes 4
	$(BIN)/python -m tests.stress.large --slide --gigabytes 2 --kills 2
	$(BIN)/python -m tests.stress.mixed_faults --instances 2000
	$(BIN)/python -m tests.stress.questions --questions 649

matrix: $(READY) ## torture, faults, attacks and contracts: each transport, TLS, one worker and two, in pairs
	$(BIN)/python -m tests.stress.matrix

fuzz: $(READY) ## property tests with ten to a hundred times as many examples: a quarter of an hour
	$(BIN)/pytest -p tests.stress.long_runs --hypothesis-profile long --timeout 0 -q -p no:randomly \
	  --numprocesses logical --dist worksteal \
	  tests/store/test_layout.py tests/store/test_bundles.py tests/manifest tests/archive/test_row_reader.py \
	  tests/archive/dicomweb/test_multipart.py tests/server/nbia/test_renderings.py tests/dicom/test_validation.py \
	  tests/journal/test_queries.py tests/runtime/test_concurrency_population.py tests/runtime/test_rates.py

bench: $(READY) .venv-tcia-utils/.ready ## ours beside other tools, and the goals of speed: 40 minutes, needs nginx-light
	$(BIN)/python -m tests.benchmarks $(PARTS)
	$(BIN)/python -m tests.docs.generate

# Two clients at a time: one, and the archive that it asks, use less than two cores.
test-clients: $(READY) ## public clients, unmodified, against the embedded archive and a cache
	@$(MAKE) --no-print-directory --jobs 2 $(CLIENTS:%=test-%)

# What the tests of a client say is printed at their end, so that nothing of another client is in between.
$(CLIENTS:%=test-%): test-%: $(READY) .venv-%/.ready
	@BULKDL=$(abspath $(BIN))/bulkdl .venv-$*/bin/pytest -c tests/clients/pytest.ini -q \
	  tests/clients/test_$(subst -,_,$*).py >.venv-$*/output.txt 2>&1; code=$$?; \
	  { echo "$*:"; cat .venv-$*/output.txt; } && exit $$code

client-environments: $(CLIENTS:%=.venv-%/.ready)

# pip of .venv installs here, too. Modules are compiled when a test imports them: few of what the clients bring are.
.venv-%/.ready: .requirements/client-%.txt | $(PIP)
	$(PYTHON) -m venv --without-pip $(@D)
	$(PIP) --python $(@D)/bin/python install $(EXACTLY) --no-compile -r $<
	@touch $@

lock: $(READY) ## renew the lock of exact versions
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
	  --custom-compile-command 'make lock' --group dev --all-extras pyproject.toml --output-file .requirements/dev.txt
	@for client in $(CLIENTS); do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
	    --custom-compile-command 'make lock' --group client-$$client --output-file .requirements/client-$$client.txt \
	    || exit; \
	done

docs: $(READY) ## the documentation as a site in .site, with its generated parts renewed
	$(BIN)/python -m tests.docs.generate
	$(BIN)/sphinx-build --quiet --fail-on-warning --fresh-env -c .docs -b html bulkdl/docs .site

clean: ## remove what make made, but for mirrors
	rm -rf $(VENV) .venv-* .site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*

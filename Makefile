# Needs Python 3.11, 3.12 or 3.13 (what TensorFlow has wheels for) and make. Everything is installed into .venv, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
COMPILE := --quiet --universal --no-header --no-annotate --no-emit-index-url --no-emit-find-links --generate-hashes --python-version 3.11

# Keras starts in 5 s with cached bytecode, in up to 25 s without.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test bench drill lint types docs format config tritonclient boto3 pretrain requirements clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## sample data, train, evaluate, promote, inspect: all steps, in a minute
	$(BIN)/defect demo

# Prints a new folder in memory, or nothing if memory is short or no file can be run there. All users may enter it: the servers of some
# tests are other users.
IN_MEMORY = awk '/MemAvailable/ {exit ($$2 < 10e6)}' /proc/meminfo && df -Pk /dev/shm | awk 'NR == 2 {exit ($$4 < 6e6)}' \
	&& made=$$(mktemp -d -p /dev/shm t-XXXX) && chmod 755 $$made && cp /bin/true $$made && { $$made/true && echo $$made || rm -rf $$made; }

# Three processes for two cores, since tests also wait. Threads within them would only wait for each other.
test: export OMP_NUM_THREADS := 1
test: export OPENBLAS_NUM_THREADS := 1
test: export TF_NUM_INTRAOP_THREADS := 1
test: export TF_NUM_INTEROP_THREADS := 1
test: $(VENV)/.installed-dev ## run the tests (some of them: make test ARGS="tests/data -k corrupt")
	@# With its files in memory a run takes a sixth less processor time. They are removed; to look at them: make test TMPDIR=/tmp
	@[ -n "$$TMPDIR" ] || made=$$({ $(IN_MEMORY); } 2>/dev/null); trap 'rm -rf "$$made"' EXIT; trap 'exit 130' INT TERM; \
	TMPDIR=$${TMPDIR:-$${made:-/tmp}} $(BIN)/python -m pytest --numprocesses 3 --dist worksteal --durations 10 $(ARGS)

bench: $(VENV)/.installed-dev ## measure, into benchmarks/README.md (other data: make bench ARGS="--data DIR --weights FILE")
	$(BIN)/python -m benchmarks all $(ARGS)

drill: $(VENV)/.installed-dev ## kill each part of a system of several servers under load, and count what was lost
	$(BIN)/python deploy/drill.py $(ARGS)

lint: $(VENV)/.installed-dev ## check style and formatting, also of workflows, containers and Kubernetes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/actionlint -shellcheck $(BIN)/shellcheck .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
	$(BIN)/kubernetes-validate --strict --quiet $(filter-out %/kustomization.yaml %/config.yaml,$(wildcard deploy/kubernetes/*.yaml))
	$(BIN)/hadolint deploy/Dockerfile

types: $(VENV)/.installed-dev ## check types
	$(BIN)/mypy

docs: $(VENV)/.installed-dev ## build the docs site in build/site; broken links, and parts from elsewhere, are errors
	$(BIN)/python scripts/docs_site.py
	$(BIN)/zensical build --strict --clean --config-file build/mkdocs.yml
	! grep -rE --include='*.html' '<(script|link|img)[^>]+(src|href)="?(https?:)?//' build/site

format: $(VENV)/.installed-dev ## repair what can be repaired of style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

config: $(VENV)/.installed ## write config.yaml and re_train.yaml again, after a change of the table of settings
	$(BIN)/python scripts/settings_files.py

boto3: build/boto3/.installed ## install what the MLflow server of a test reaches object storage with

tritonclient: build/tritonclient/.installed ## install the client that the test of the Open Inference Protocol uses

pretrain: $(VENV)/.installed ## make the weights of the compact trunk again (an hour and a half; resumable)
	$(BIN)/defect pretrain $(ARGS)

# With the hash of every file of each release, for all systems; hatchling and editables build the package itself.
requirements: ## pin the versions again, after a change of pyproject.toml
	printf 'hatchling\neditables\n' | $(UV) pip compile $(COMPILE) pyproject.toml - --output-file requirements.txt
	$(UV) pip compile $(COMPILE) --group dev --constraint requirements.txt --output-file requirements-dev.txt
	cp requirements.txt deploy/requirements.txt  # the same versions, but where object storage needs others
	printf 'hatchling\nboto3\n' | $(UV) pip compile $(COMPILE) pyproject.toml - --extra postgres --extra s3 --output-file deploy/requirements.txt
	cp deploy/requirements.txt deploy/requirements-slim.txt
	printf 'hatchling\n' | $(UV) pip compile $(COMPILE) - --group slim --output-file deploy/requirements-slim.txt
	printf 'tritonclient[http]\n' | $(UV) pip compile $(COMPILE) - --output-file tests/serving/tritonclient.txt
	printf 'boto3\n' | $(UV) pip compile $(COMPILE) - --constraint deploy/requirements.txt --output-file tests/tracking/boto3.txt

clean: ## remove what the tools cache; data, models and the registry stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache
	find . -path './$(VENV)' -prune -o -name __pycache__ -type d -exec rm -rf {} +

# An environment of its own: the client refuses versions that this package uses.
build/tritonclient/.installed: tests/serving/tritonclient.txt
	$(PYTHON) -m venv build/tritonclient
	build/tritonclient/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

# A folder of its own, which only the MLflow server of one test sees, for the same reason.
build/boto3/.installed: tests/tracking/boto3.txt
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --target build/boto3 --require-hashes --no-deps --requirement $<
	@touch $@

# The stamps say what is installed: a second make installs nothing, a changed list of requirements does.
$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit("Python 3.11, 3.12 or 3.13 is needed, since TensorFlow has no wheels for others; $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes --requirement requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes --requirement requirements-dev.txt
	@touch $@

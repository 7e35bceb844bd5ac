# Every target makes what it needs itself; `make` alone lists the verbs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP_HASHED := $(BIN)/python requirements/install.py

# Registry of the images: the default of the program (settings/runtime.py), so that it is defined only there.
export REGISTRY ?= $(shell sed -n 's/^IMAGE_REGISTRY = "\(.*\)"/\1/p' git_events_runner/settings/runtime.py)
export VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

.DEFAULT_GOAL := help

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): requirements/build.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@echo "Installing the program and its tools into $(VENV), once. It takes about a minute."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_HASHED) requirements/build.txt
	@$(PIP_HASHED) requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $(STAMP)

setup: $(STAMP) ## install the program and its tools into .venv (pinned, with hashes)

lint: $(STAMP) ## formatting, lint, types, import rules, spelling, generated files, chart, images
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell
	$(BIN)/python -m tests.repo.generated --check
	$(BIN)/python -m tests.repo.linters

format: $(STAMP) ## let ruff format and fix what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: $(STAMP) ## write the generated files again (CRDs, docs tables, chart, manifests)
	$(BIN)/python -m tests.repo.generated --write

docs: $(STAMP) ## build the documentation's site into build/site (strict: a dead link or anchor is an error)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

docs-serve: $(STAMP) ## show the documentation's site while you write
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

pod-schema: $(STAMP) ## renew the schema of pod parts from the API server that the tests run
	$(BIN)/python -m tests.cluster.podschema

test: $(STAMP) ## every test; those that need what this machine lacks are named in the summary
	$(BIN)/python -m pytest -n 3 --maxschedchunk 1 --ignore tests/adversary
	$(BIN)/python -m pytest tests/adversary

test-fast: $(STAMP) ## rules, flow and edges only, no real cluster, no forge that has to be built
	$(BIN)/python -m pytest -n 4 --maxschedchunk 1 tests/rules tests/flow tests/edges tests/repo -m "not built"

coverage: $(STAMP) ## lines and branches that the fast tests run; each of rules/ has to be
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q tests/rules tests/forges tests/flow tests/edges/kube tests/model
	$(BIN)/coverage report --include 'git_events_runner/rules/*'
	$(BIN)/coverage report --format total

e2e: $(STAMP) ## images, chart and Jobs on a real node of this machine (root; first time ~20 minutes)
	$(BIN)/python -m pytest tests/e2e -p no:cacheprovider

images: ## build the three images with docker, podman or buildah (REGISTRY, VERSION, OPTIONS)
	images/build.sh

sbom: $(STAMP) ## list the contents of the built images, as dist/*.cdx.json
	images/sbom.sh

release-dry-run: $(STAMP) ## everything of a release that needs no registry, into dist/ (RELEASE.md; IMAGES=no leaves the images out)
	release/dry-run.sh

print-registry:
	@echo $(REGISTRY)

demo: $(STAMP) ## a push becomes a finished run, in under a minute, without a cluster; a pull request and a failed run, too
	@$(BIN)/python -m demo

play: $(STAMP) ## a git server to push a repository of yours to, and the controller on it, until Ctrl-C (PORT=8418)
	@$(BIN)/python -m demo.play --port $(or $(PORT),8418)

transcript: $(STAMP) ## run the demo and put its output into README.md
	$(BIN)/python -m demo.transcript --write

recording: $(STAMP) ## type the demo into a terminal and record it for docs/demo.md
	$(BIN)/python -m demo.recording

pictures: $(STAMP) ## take the pictures of the status page for docs/status-page.md (needs chromium; fonts-inter makes them nicer)
	$(BIN)/python -m tests.flow.ui.pictures

chaos: $(STAMP) ## an hour of faults of all kinds, with a report of broken promises (MINUTES, SEED, ONLY, CHAOS=options)
	$(BIN)/python -u -m tests.chaos --minutes $(or $(MINUTES),60) --seed $(or $(SEED),1) --only "$(ONLY)" $(CHAOS)

bench: $(STAMP) ## the benchmarks of docs/performance.md
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.policies

bench-git: $(STAMP) ## git clients compared, files of a large repository, a thousand schedules, hostile servers (docs/performance-git.md)
	$(BIN)/python -m benchmarks.git
	$(BIN)/python -m benchmarks.files
	$(BIN)/python -m benchmarks.changes
	$(BIN)/python -m benchmarks.references
	$(BIN)/python -m benchmarks.schedules
	$(BIN)/python -m benchmarks.hostile

bench-scale: $(STAMP) ## thousands of triggers, Jobs, namespaces: a table of their cost, see docs/capacity.md (ROWS="own-5000 waiting-2000")
	$(BIN)/python -m benchmarks.scale $(ROWS)

lock: $(STAMP) ## renew requirements/*.txt from pyproject.toml
	$(BIN)/python -m pip install --quiet pip-tools
	cd requirements && ../$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --strip-extras --allow-unsafe -o build.txt build.in
	$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --strip-extras --allow-unsafe -o requirements/runtime.txt pyproject.toml
	cd requirements && ../$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --strip-extras --allow-unsafe -o cloner.txt cloner.in
	$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --strip-extras --allow-unsafe --extra dev -o requirements/dev.txt pyproject.toml

clean: ## remove what the targets made in this folder
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help setup lint format generate docs docs-serve test test-fast coverage e2e images sbom release-dry-run print-registry demo play transcript recording pictures chaos bench bench-git bench-scale lock clean

# The README's two commands are `make demo` and `make test`; each makes .venv itself.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/installed
PYTEST := $(BIN)/python -m pytest
# three processes for two cores, since tests also wait; whole files, which share what is slow to make
PROCESSES ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 5 ? n + n / 2 : 6)))
ALL_CORES := -n $(PROCESSES) --dist loadfile
# tests that wait more than they compute, too: the longest files begin first
SIDE_BY_SIDE := -n $(shell echo $$(($(PROCESSES) + 1))) --dist loadfile --no-loadscope-reorder
EXTRAS := browser,docs,ray,slurm
LATER := extended or postgres or docs or browser or fuzz or cluster
# else each of the many processes that tests start would compile the package again
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo cluster-demo test gate test-extended fuzz guided-fuzz postgres launchers faults faults-short test-cluster cluster-short browser site docs docs-links test-all lint format types imports check bench bench-peers dist clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(STAMP)  ## make .venv with the versions that were tested

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: recsweep needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) -V); run make PYTHON=python3.12"; exit 1; }
	@echo "setting up $(VENV): pip installs recsweep and what it needs, at tested versions; the first time takes minutes"
	$(PYTHON) -m venv $(VENV)
	@test -t 1 || quiet=--quiet; set -x; \
	  $(BIN)/python -m pip install $$quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup  ## train Multi-VAE on MovieLens 100K, print its table and how to open the UI
	$(BIN)/python -m recsweep model=multivae
	@echo 'activate  . $(BIN)/activate'

cluster-demo: setup  ## a sweep on a private PostgreSQL and MLflow server: a worker is killed, the database restarts
	$(BIN)/python benchmarks/cluster_demo.py

test: setup  ## checks and the default test suite, some minutes
	$(MAKE) --no-print-directory -j $(PROCESSES) lint types-linux imports
	$(PYTEST) $(ALL_CORES) --durations=20

test-extended: setup  ## every model, the other backend, new processes, notebooks, several sweeps
	$(PYTEST) $(ALL_CORES) -m 'extended and not postgres'

fuzz: setup  ## thousands of damaged files, settings and overrides, the same in every run
	$(PYTEST) $(ALL_CORES) -m fuzz tests/fuzz

guided-fuzz: setup  ## damage files one after another, guided by the branches that each case takes; 35 minutes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,fuzz]'
	$(BIN)/python benchmarks/guided_fuzz.py

postgres: setup  ## studies, locks and sweeps on a private PostgreSQL server
	$(PYTEST) -m 'postgres and not slow'

launchers: setup  ## sweeps on a private Slurm (as root) and a local Ray, with jobs and nodes killed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,ray,slurm]'
	$(PYTEST) -m 'slurm or ray' tests/sweeps/test_slurm_jobs.py tests/sweeps/test_ray_jobs.py

faults: setup  ## kill sweeps at random moments and check that nothing was lost, about 30 minutes
	$(PYTEST) -m slow tests/faults

faults-short: setup  ## the same with two short sweeps of two workers
	$(PYTEST) -m gate

test-cluster: setup  ## two hosts as network namespaces (as root): killed, cut off, their servers restarted; about 25 minutes
	$(PYTEST) -m cluster

cluster-short: setup  ## the same with a study of 24 trials
	$(PYTEST) -m 'cluster and not slow'

browser: setup  ## look at the MLflow UI and a comparison's page in a real Chromium
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,browser]'
	$(PYTEST) -m browser

site: setup  ## build the site into docs/_build/html, strictly
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

docs: site  ## build the site and run every block of README and docs
	$(PYTEST) $(ALL_CORES) -m 'docs and not slow'

docs-links: setup  ## check that every page linked from the docs exists; needs the internet
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	$(BIN)/python -m sphinx -W --keep-going -b linkcheck docs docs/_build/links

gate: site check  ## what .ci/run runs after make test: every other suite side by side, short where it has a short form
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,$(EXTRAS)]'
	$(PYTEST) $(SIDE_BY_SIDE) --durations=20 -m "gate or slurm or ray or not slow and ($(LATER))"

test-all: setup check  ## every test there is, more than an hour
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,$(EXTRAS)]'
	$(PYTEST) $(SIDE_BY_SIDE) -m "" --durations=20

lint: setup  ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: types-linux types-darwin types-win32  ## mypy, strict, for Linux, macOS and Windows

types-%: setup
	$(BIN)/mypy --platform $* --cache-dir .mypy_cache/$*

imports: setup  ## the layers of the package
	$(BIN)/lint-imports

check: lint types imports  ## everything but the tests

bench: setup  ## the quick benchmarks, with figures in build/bench: make bench DATA=FOLDER of ML-1M
	mkdir -p build/bench
	$(BIN)/python benchmarks/epoch.py --json build/bench/epoch.json --data $(or $(DATA),../shared/data/ml-1m-pro_sg)
	for each in ranking groups start; do $(BIN)/python benchmarks/$$each.py --json build/bench/$$each.json || exit 1; done

bench-peers: setup  ## environments of RecBole, Cornac and irspack, for make bench to add them
	benchmarks/peers.sh

dist: setup  ## build sdist and wheel into dist/; one commit gives the same bytes each time
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --outdir dist

clean:  ## remove what the tools left
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .grimp_cache .hypothesis
	rm -rf docs/_build docs/changelog.md docs/configuration.md docs/errors.md

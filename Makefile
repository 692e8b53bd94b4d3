# gan-sweep-harness. `make` alone prints help; every target installs what it needs, once.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
SWEEP ?= optimizers
RECIPE ?=
SEEDS ?=
WORKERS ?=
YES ?=
DEVICE ?= auto
SMOKE ?=
SET ?=
IMPORT ?=
RECIPES ?=
SECONDS ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SETTINGS := $(foreach pair,$(SET),--set $(pair))
IMPORTS := $(foreach module,$(IMPORT),--import $(module))
SWEEP_OPTIONS := --device $(DEVICE) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(WORKERS),--workers $(WORKERS)) \
	$(if $(filter-out 0,$(SMOKE)),--smoke) $(SETTINGS) \
	$(IMPORTS)
export PYTHONDONTWRITEBYTECODE ?=

.PHONY: help install sweep plan train report list test test-slow lint bench clean

help: ## print this help
	@echo "gan-sweep-harness: does this GAN design choice matter?"
	@echo
	@echo "  make sweep                     train the optimiser ablation and write its report"
	@echo "  make test                      run the tests"
	@echo
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'
	@echo
	@echo "Variables (default): SWEEP=optimizers RECIPE= SEEDS= WORKERS= DEVICE=auto SMOKE= SET=\"key=value ...\" \\"
	@echo "                     IMPORT=\"my_gan.nets ...\" YES= RECIPES= SECONDS="
	@echo "  make sweep SWEEP=optimizers-tuned SMOKE=1"
	@echo "  make train RECIPE=points-gan SEEDS=3 SET=\"optimizer.name=adam\""

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed, but $(PYTHON) is $$($(PYTHON) -V); set PYTHON=..." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (a few minutes the first time: PyTorch is large) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(INSTALLED) ## create the environment

sweep: $(INSTALLED) ## run the study SWEEP (a name or a path) and write its report; run again to resume
	@$(BIN)/harness sweep $(SWEEP) $(SWEEP_OPTIONS) $(if $(filter-out 0,$(YES)),--yes)

plan: $(INSTALLED) ## list every run of a study with its price, and start nothing
	@$(BIN)/harness plan $(SWEEP) $(SWEEP_OPTIONS)

train: $(INSTALLED) ## train one recipe: RECIPE=points-gan [SEEDS=3]
	@test -n "$(RECIPE)" || { echo "set RECIPE=..., one of:" >&2; $(BIN)/harness list recipes >&2; exit 2; }
	@$(BIN)/harness train $(RECIPE) --device $(DEVICE) $(if $(SEEDS),--seed $(SEEDS)) $(SETTINGS) $(IMPORTS)

report: $(INSTALLED) ## write a study's report anew
	@$(BIN)/harness report $(SWEEP) $(if $(filter-out 0,$(SMOKE)),--smoke) $(IMPORTS)

list: $(INSTALLED) ## list recipes, networks, losses, optimisers, data sets, metrics and sweeps
	@$(BIN)/harness list $(IMPORTS)

test: $(INSTALLED) ## run the tests
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test-slow: $(INSTALLED) ## run the tests that take longer
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m slow

lint: $(INSTALLED) ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(INSTALLED) ## compare speed with loops written by hand: [RECIPES="ring-gan points-gan"] [SECONDS=450]
	@PYTHONPATH=tests$${PYTHONPATH:+:$$PYTHONPATH} $(BIN)/python -m benchmarks.bench $(RECIPES) --device $(DEVICE) $(if $(SECONDS),--seconds $(SECONDS))

clean: ## remove the environment and caches; results in runs/ are kept
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

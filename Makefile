# Everything a newcomer needs: `make demo` and `make test` set themselves up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TESTS  := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test kills docs-commands lint style types docs bench simulate mutate clean

demo: $(READY)
	$(BIN)/earwitness demo --out demo-run

# Types and imports are checked beside the tests, and told after them.
test: $(READY) style
	@$(MAKE) --no-print-directory types >$(VENV)/types.log 2>&1 & types=$$!; \
	echo $(TESTS); $(TESTS); tested=$$?; \
	wait $$types; typed=$$?; cat $(VENV)/types.log; \
	exit $$((tested || typed))

# A run is killed once where it resumes; this kills it often, at random moments.
kills: $(READY)
	EARWITNESS_TEST_KILLS=4 $(BIN)/python -m pytest tests/cli -k kill

# `make test` parses the commands of the documentation; this runs them.
docs-commands: $(READY)
	$(BIN)/python -m pytest -m slow tests/cli/test_documented_pages.py

lint: style types

style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)
	$(BIN)/python docs/generate.py
	$(BIN)/python -m zensical build --strict

bench: $(READY)
	$(BIN)/python benchmarks/run.py $(if $(AUDIO),--audio "$(AUDIO)")
	$(BIN)/python benchmarks/audit.py $(if $(AUDIO),--audio "$(AUDIO)")
	$(BIN)/python benchmarks/planted.py $(if $(AUDIO),--audio "$(AUDIO)")

simulate: $(READY)
	$(BIN)/python benchmarks/simulate.py

mutate: $(READY)
	$(BIN)/python benchmarks/mutate.py

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "earwitness needs Python 3.11 or newer; found $$($(PYTHON) --version). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) demo-run build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -exec rm -rf {} +

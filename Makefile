# Every target installs what it needs into .venv, with the exact versions of constraints.txt.
# uv knows which build of torch suits the machine: without a GPU the small one for the CPU.
PYTHON ?= python3
ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder
VENV := .venv
EXTRAS := dev,bayes,bmi,experiments,places
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint bench docs docs-links test-docs test-types test-package test-newest test-oldest clean

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt uv
	UV_HTTP_RETRIES=0 $(BIN)/uv pip install --quiet --python $(BIN)/python --torch-backend=auto -c constraints.txt torch \
	  || echo "uv cannot reach PyTorch's own index; pip chooses the build of torch"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py

test: lint
	$(BIN)/python -m pytest $(ARGS)

# The pages: their examples run, their links and paths resolve, what they name and quote exists.
test-docs: $(INSTALLED)
	$(BIN)/python -m pytest tests/test_docs.py tests/test_docs_site.py tests/bridges/test_docs.py

# The pages as a site, in build/docs/index.html; a warning is an error, a link of a page to another that leads nowhere too.
# DOCS_EXECUTE=1 make docs runs the notebooks (minutes) and shows what they print and draw.
$(VENV)/.installed-docs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

SPHINX := $(BIN)/python -m sphinx --fail-on-warning --keep-going --doctree-dir build/doctrees
docs: $(VENV)/.installed-docs
	$(SPHINX) --builder html docs build/docs

# Links to other sites; needs the network.
docs-links: $(VENV)/.installed-docs
	$(SPHINX) --builder linkcheck docs build/links

# Shapes and types of canveg_jax checked at run time, in the tests of the equations. The front doors take more than they say
# (lists, whole numbers) and refuse the rest with messages of their own, so their tests are not among them.
test-types: $(INSTALLED)
	$(BIN)/python -m pytest --jaxtyping-packages=canveg_jax,tests.typechecking.check tests/physics $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# The wheel alone, in a fresh environment, by the commands of the README. Some minutes.
test-package: $(INSTALLED)
	$(BIN)/python tests/package/check_wheel.py

# The newest releases that pyproject.toml allows, or its lower bounds, in an environment of their own with the Python of PYTHON;
# ARGS replaces pytest's arguments: make test-oldest PYTHON=python3.12 ARGS="tests/io -x"
test-newest: RESOLUTION := highest
test-oldest: RESOLUTION := lowest-direct
test-newest test-oldest: test-%: $(INSTALLED)
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) .venv-$*
	UV_HTTP_RETRIES=0 $(BIN)/uv pip install --quiet --python .venv-$*/bin/python --torch-backend=auto \
	    --resolution=$(RESOLUTION) -e '.[$(EXTRAS)]' \
	  || $(BIN)/uv pip install --quiet --python .venv-$*/bin/python --resolution=$(RESOLUTION) -e '.[$(EXTRAS)]'
	.venv-$*/bin/python -m pytest $(ARGS)

# Training as the command canveg runs it: PyTorch's idle threads sleep.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.bench_bridge --out benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.bench_start --out benchmarks/RESULTS.md
	OMP_WAIT_POLICY=passive $(BIN)/python -m benchmarks.bench_epoch --out benchmarks/RESULTS.md
	mkdir -p .cache
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest benchmarks/bench_canopy.py -q -W ignore --benchmark-json=.cache/bench.json
	$(BIN)/python -m benchmarks.canopy_table .cache/bench.json --out benchmarks/RESULTS.md

clean:
	rm -rf $(VENV) .venv-newest .venv-oldest .cache build docs/api/generated docs/physics/generated .pytest_cache .ruff_cache .hypothesis *.egg-info

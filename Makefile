# Everything a developer or a curious stranger types. `make demo` and `make test` set up all they
# need in .venv first.
#
# TORCH_INDEX chooses the build of torch: the default is the small one for CPUs. For CUDA 13:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cu130
PYTHON ?= python3
TORCH ?= torch==2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check
BIN := .venv/bin
DEMO := demo-cache
HEAD := demo-head/

.PHONY: demo test check docs format clean install

demo: install
	$(BIN)/lef extract --cache $(DEMO) --data demo --model minilm --model tinylm --all-layers
	$(BIN)/lef sweep --cache $(DEMO) --models minilm,tinylm
	$(BIN)/lef fuse --cache $(DEMO) --models minilm:3,tinylm:5 --op hadamard-res --epochs 20 --width 256 --save $(HEAD)
	$(BIN)/lef predict $(HEAD) "Is there a way to see last year's bills?" \
	  "The parcel came a day early, and in the rain." "Please end my contract in May."

# Neighbours stay together, as they share what is set up once; who is done early takes from the rest.
test: install
	$(BIN)/pytest -n auto --maxprocesses 8 --dist worksteal

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tests/lengths.py lefcache cli
	$(BIN)/python data/make_demo.py --check

# The documentation as HTML, its notebook run anew; what Sphinx warns of is an error.
docs: .venv/docs
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/build

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: .venv/installed

# Torch first and alone: left to the resolver, it would come with several GB of CUDA packages.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "lefcache needs Python 3.11 or newer: make demo PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) --no-deps --extra-index-url $(TORCH_INDEX) "$(TORCH)"
	grep -v '^torch==' constraints.txt > .venv/constraints.txt  # whichever TORCH was asked for stays
	$(PIP) -c .venv/constraints.txt -e ".[dev]"
	touch .venv/installed

.venv/docs: .venv/installed
	$(PIP) -c .venv/constraints.txt -e ".[docs]"
	touch .venv/docs

clean:
	rm -rf .venv docs/build $(DEMO) $(HEAD) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

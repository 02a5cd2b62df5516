# `make` prints this map. Everything runs in .venv, made from constraints.txt.
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
# Spinning OpenMP threads make two runtimes in one process many times slower.
export OMP_WAIT_POLICY := PASSIVE

.DEFAULT_GOAL := help
.PHONY: help venv demo lint type unit test wheelhouse schema clean

help:  ## this map
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk 'BEGIN {FS = ":.*?## "} {printf "  make %-10s %s\n", $$1, $$2}'

$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -U "pip>=24" "setuptools>=77" wheel
	$(BIN)/python -m pip install -q --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip check
	touch $@

venv: $(VENV)/.ready  ## the environment for everything below

demo: venv  ## draw shapes, train on them, export, verify, report: runs/quickstart/report.html
	test -f runs/shapes/annotations/val.json || { rm -rf runs/shapes && \
	  $(BIN)/edgeseg data synth runs/shapes --images 400 --val 100 --size 160; }
	$(BIN)/edgeseg build cards/quickstart.yaml
	$(BIN)/edgeseg predict runs/quickstart/onnx-fp32/*.onnx 'runs/shapes/images/val/*0.jpg' --save runs/quickstart/drawn

lint: venv  ## ruff: style, complexity, banned imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: venv  ## mypy --strict
	$(BIN)/mypy edgeseg targets tests

unit: venv  ## pytest
	$(BIN)/pytest

test: lint type unit  ## set up, lint, types, tests

wheelhouse: venv  ## wheels for an image without network: make wheelhouse TARGET=onnx
	$(BIN)/python -m pip download -q --disable-pip-version-check --only-binary :all: --python-version 3.11 \
	  -d docker/$(TARGET)/wheelhouse -r targets/$(TARGET)/requirements.txt -r edgeseg/environments/core.txt

schema: venv  ## write cards/card.schema.json from the code
	$(BIN)/edgeseg card schema > cards/card.schema.json

clean:  ## remove the environment and build leftovers
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

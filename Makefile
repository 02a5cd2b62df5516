# `make` prints this map. Everything runs in .venv, made from constraints.txt.
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
# Spinning OpenMP threads make two runtimes in one process many times slower.
export OMP_WAIT_POLICY := PASSIVE

# Targets whose SDK excludes others: each is tested in an environment of its own.
OWN := paddle saved_model graphdef tflite edgetpu tfjs

.DEFAULT_GOAL := help
.PHONY: help venv demo lint type unit own browser test wheelhouse schema clean

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

own: $(OWN:%=own-%) own-tflite-runtime  ## tests of the targets whose SDK has an environment of its own

own-%: export EDGESEG_ENVIRONMENTS ?= $(CURDIR)/.environments
own-%: venv
	$(BIN)/python tests/targets/own/run.py $*

own-tflite-runtime: export EDGESEG_ENVIRONMENTS ?= $(CURDIR)/.environments
own-tflite-runtime: venv  ## the products of the tflite target, in the interpreter of older boards
	$(BIN)/python -m tests.targets.own.tflite_runtime.run

own-tfjs: browser

# Debian's packages where they are missing and may be installed; elsewhere the tests that need them say so and are skipped.
browser: export EDGESEG_ENVIRONMENTS ?= $(CURDIR)/.environments
browser:  ## Node, Chromium and the npm packages that run a TensorFlow.js model
	@missing=; command -v node > /dev/null && command -v npm > /dev/null || missing="nodejs npm"; \
	command -v chromium > /dev/null || missing="$$missing chromium"; \
	if test -n "$$missing" && test "$$(id -u)" = 0 && command -v apt-get > /dev/null; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; \
	elif test -n "$$missing"; then echo "not here: $$missing; tests of the tfjs target are skipped"; fi
	@cd targets/tfjs/page && to="$$EDGESEG_ENVIRONMENTS/tfjs-npm"; \
	if command -v npm > /dev/null && ! cmp -s package-lock.json "$$to/node_modules/.from-lock.json"; then \
	  mkdir -p "$$to" && cp package.json package-lock.json "$$to" && npm ci --ignore-scripts --no-audit --no-fund --prefix "$$to" \
	  && cp package-lock.json "$$to/node_modules/.from-lock.json"; fi

test: lint type unit own  ## set up, lint, types, tests

wheelhouse: venv  ## wheels for an image without network: make wheelhouse TARGET=onnx
	$(BIN)/python -c 'from edgeseg.environments.recipe import recipe_of; made = recipe_of("$(TARGET)"); \
	  print(*made.requirements, *made.core, sep="\n")' > docker/$(TARGET)/wheelhouse/.pins
	$(BIN)/python -m pip download -q --disable-pip-version-check --only-binary :all: --python-version 3.11 \
	  -d docker/$(TARGET)/wheelhouse -r docker/$(TARGET)/wheelhouse/.pins

schema: venv  ## write cards/card.schema.json from the code
	$(BIN)/edgeseg card schema > cards/card.schema.json

clean:  ## remove the environment and build leftovers
	rm -rf $(VENV) .environments build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

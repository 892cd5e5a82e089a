# make demo    set up, convert the clips that ship with the project, look at the result
# make test    set up with the test extra, run the tests
# make thorough  tests that are not run with every change: more of the same, and slow
# make lint    ruff and mypy
# make torture try to break a conversion for TORTURE_MINUTES, write benchmarks/RELIABILITY.md
#
# AUDIO=/my/folder  for the demo     VENV=…  where to set up     PYTHON=…  with which Python
# PIP_ARGS=…        e.g. an index with a CPU-only build of torch  TESTS=…   which tests

PYTHON ?= python3
VENV ?= .venv
AUDIO ?= tests/clips
DEMO ?= demo-out
TESTS ?= tests
JOBS ?= 3
PIP_ARGS ?=
TORTURE_MINUTES ?= 120

bin = $(VENV)/bin
install = $(bin)/python -m pip install --disable-pip-version-check --quiet $(PIP_ARGS) -c constraints.txt

.PHONY: demo test thorough lint torture clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	@mkdir -p "$(DEMO)"
	@# 3: done, but for files that cannot be converted, which it names
	$(bin)/specctl convert "$(AUDIO)" "$(DEMO)/demo.h5" --overwrite || [ $$? -eq 3 ]
	$(bin)/specctl info "$(DEMO)/demo.h5"
	@$(bin)/specctl info "$(DEMO)/demo.h5" "$$($(bin)/specctl info "$(DEMO)/demo.h5" --keys | grep -m1 music || $(bin)/specctl info "$(DEMO)/demo.h5" --keys | head -n 1)"
	@echo 'The store is $(DEMO)/demo.h5. Convert your own: make demo AUDIO=/my/folder'

test: $(VENV)/.installed-test
	$(bin)/python -m pytest -n $(JOBS) --dist worksteal $(TESTS)

thorough: $(VENV)/.installed-test
	$(bin)/python -m pytest -n $(JOBS) --dist worksteal -m thorough $(TESTS)

lint: $(VENV)/.installed-test
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy

torture: $(VENV)/.installed-test
	$(bin)/python -m tests.faults.torture --minutes $(TORTURE_MINUTES)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(install) -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(install) -e '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'specctl needs Python 3.11 or newer, $(PYTHON) is older or missing; try: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo 'Python cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

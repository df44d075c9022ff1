# Needs GNU make and one of Python 3.10 to 3.13, nothing else: the first target that needs packages installs them.

.DEFAULT_GOAL := help
.PHONY: help demo test lint format docs clean accelerator-tools FORCE

PYTEST_ARGS ?=
# A process per core, but no more than four (each takes some 3 GB at its largest); -n 0 in PYTEST_ARGS for one in all. A
# file stays in one process: its tests share runs and exports.
WORKERS := -n logical --maxprocesses=4 --dist=loadfile
# For pytest and the benchmarks, as main.py does: hides what TensorFlow's C++ side calls errors at its start and are none.
TF_CPP_MIN_LOG_LEVEL ?= 3
export TF_CPP_MIN_LOG_LEVEL

# Prints the stack of an interpreter (requirements.txt), its version and its own path (in an environment, that of the one
# it was made with), if it is a version we support and can make environments. Running it is the only test: a version
# manager's shim can be on the PATH for a version that is not there, and Debian splits ensurepip off.
PROBE := import ensurepip, sys, venv; version = sys.version_info[:2]; (3, 10) <= version <= (3, 13) and \
	print("tf215" if version < (3, 12) else "tf221", "%d.%d" % version, sys._base_executable)

# $(call probe,python): the three, or nothing.
probe = $(shell "$(1)" -c '$(PROBE)' 2>/dev/null)

# Of the first interpreter on the PATH; that of the stack with Addons comes first.
ON_PATH := $(shell for name in python3.11 python3.10 python3.13 python3.12; do \
	IFS=:; for folder in $$PATH; do \
	found=$$("$${folder:-.}/$$name" -c '$(PROBE)' 2>/dev/null) && [ -n "$$found" ] && echo "$$found" && exit; \
	done; done)
BASE := $(if $(PYTHON),$(call probe,$(PYTHON)),$(ON_PATH))

# PYTHON=... of the newer stack has an environment of its own where .venv is, or will be, the older stack's.
VENV := .venv
ifeq ($(if $(PYTHON),$(firstword $(BASE))),tf221)
ifneq ($(filter tf215,$(firstword $(ON_PATH)) $(firstword $(call probe,.venv/bin/python))),)
VENV := .venv-tf221
endif
endif
IN_VENV := $(VENV)/bin/python
# There while packages are being put in, then renamed: an environment left unfinished is made afresh, and a pin changed
# during the install is newer than the stamp.
UNFINISHED := $(VENV)/.unfinished
INSTALLED := $(VENV)/.installed

# An environment that is there, whole and of the version asked for is brought up to date, any other is replaced.
THERE := $(if $(wildcard $(UNFINISHED)),,$(shell $(IN_VENV) -c 'import pip; $(PROBE)' 2>/dev/null))
USABLE := $(if $(PYTHON),$(filter $(word 2,$(BASE)),$(word 2,$(THERE))),$(THERE))
STACK := $(firstword $(if $(USABLE),$(THERE),$(BASE)))
CONSTRAINTS := constraints$(patsubst %,-%,$(filter-out tf215,$(STACK))).txt

help:
	@echo 'make demo    train EfficientNet-B0 with AdvProp on a small data set, evaluate and export it (runs/demo)'
	@echo 'make test    lint, then all tests          PYTEST_ARGS="-k attack" passes arguments to pytest'
	@echo 'make lint    check style and formatting'
	@echo 'make format  repair what the linter can, and format'
	@echo 'make docs    these pages and the API reference as a site (site/index.html), in .venv-docs, without TensorFlow'
	@echo 'make clean   remove the environments and caches; runs/ stays'
	@echo 'make accelerator-tools   JAX and libtpu, for benchmarks/accelerator (Python 3.12 or later; 1 GB)'
	@echo 'demo, test, lint and format make .venv first if need be, with Python 3.11, 3.10, 3.13 or 3.12, or PYTHON=/path/to/python.'

demo: $(INSTALLED)
	@echo '== demo: EfficientNet-B0 with AdvProp, into runs/demo'
	@$(IN_VENV) main.py --model=efficientnet-b0 --advprop --model_dir=runs/demo

test: lint
	@echo '== pytest'
	@$(IN_VENV) -m pytest $(WORKERS) $(PYTEST_ARGS)

lint: $(INSTALLED)
	@echo '== ruff check, ruff format --check'
	@$(IN_VENV) -m ruff check --quiet .
	@$(IN_VENV) -m ruff format --check .

format: $(INSTALLED)
	@echo '== ruff check --fix, ruff format'
	@$(IN_VENV) -m ruff check --quiet --fix . ; status=$$? ; $(IN_VENV) -m ruff format --quiet . && exit $$status

clean:
	@echo '== clean: environments and caches'
	@rm -rf .venv .venv-tf221 .venv-accelerator .venv-docs site .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	@find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

docs: .venv-docs/.installed
	@echo '== mkdocs, into site'
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --quiet --strict

# --group needs pip 25.1, which no Python before 3.14 brings.
.venv-docs/.installed: pyproject.toml
	@python='$(base_python)' && echo "== .venv-docs: new, with $$python" && "$$python" -m venv --clear .venv-docs
	@.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --group docs
	@touch $@

accelerator-tools: .venv-accelerator/.installed

.venv-accelerator/.installed: benchmarks/accelerator/requirements.txt
	@python=; for name in $(or $(PYTHON),python3.12 python3.13); do \
		"$$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))' 2> /dev/null && python=$$name && break; \
	done; \
	[ -n "$$python" ] || { echo 'no working python3.12 or python3.13 found: give make PYTHON=/path/to/one' >&2; exit 1; }; \
	echo "== .venv-accelerator: new, with $$python (some 400 MB, a minute)" && "$$python" -m venv --clear .venv-accelerator
	@.venv-accelerator/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

base_python = $(or $(wordlist 3,$(words $(BASE)),$(BASE)),$(error $(if $(PYTHON),PYTHON=$(PYTHON) is not,no python3.11, \
	python3.10$(comma) python3.13 or python3.12 on the PATH is) a working Python 3.10 to 3.13 with venv and ensurepip \
	(TensorFlow has no wheels for 3.14): give make PYTHON=/path/to/one))
comma := ,

$(INSTALLED): requirements.txt $(CONSTRAINTS) pyproject.toml $(if $(USABLE),,FORCE)
	@$(if $(USABLE),:,python='$(base_python)' && echo "== $(VENV): new, with $$python" && "$$python" -m venv --clear $(VENV))
	@echo '== $(VENV): installing what $(CONSTRAINTS) pins (the first time, some 700 MB and a minute or more)'
	@touch $(UNFINISHED)
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) --upgrade pip setuptools wheel
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check -r requirements.txt --group dev \
		-c $(CONSTRAINTS) --build-constraint $(CONSTRAINTS)
	@$(IN_VENV) -m pip check > /dev/null || $(IN_VENV) -m pip check >&2
	@mv $(UNFINISHED) $(INSTALLED)

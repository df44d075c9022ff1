# Needs GNU make and Python 3.11 or 3.10, nothing else: the first target that needs packages installs them into .venv.

.DEFAULT_GOAL := help
.PHONY: help demo test lint format clean

PYTEST_ARGS ?=
# A process per core, but no more than four (each takes some 3 GB at its largest); -n 0 in PYTEST_ARGS for one in all. A
# file stays in one process: its tests share runs and exports.
WORKERS := -n logical --maxprocesses=4 --dist=loadfile
# 3 hides what TensorFlow's C++ side logs: 2.15 calls three harmless lines at start-up errors. Exceptions still show. To
# see why a GPU is not used, TF_CPP_MIN_LOG_LEVEL=0.
TF_CPP_MIN_LOG_LEVEL ?= 3
export TF_CPP_MIN_LOG_LEVEL

VENV := .venv
IN_VENV := $(VENV)/bin/python
# There while packages are being put in, then renamed: an environment left unfinished is made afresh, and a pin changed
# during the install is newer than the stamp.
UNFINISHED := $(VENV)/.unfinished
INSTALLED := $(VENV)/.installed

help:
	@echo 'make demo    train EfficientNet-B0 with AdvProp on a small data set, evaluate and export it (runs/demo)'
	@echo 'make test    lint, then all tests          PYTEST_ARGS="-k attack" passes arguments to pytest'
	@echo 'make lint    check style and formatting'
	@echo 'make format  repair what the linter can, and format'
	@echo 'make clean   remove .venv and caches; runs/ stays'
	@echo 'Each makes .venv first if need be, with Python 3.11 or 3.10, or PYTHON=/path/to/python.'

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
	@echo '== clean: .venv and caches'
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	@find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Prints the interpreter's own path (in an environment, that of the one it was made with) if it is a version we support
# and can make environments. Running it is the only test: a version manager's shim can be on the PATH for a version that
# is not there, and Debian splits ensurepip off.
PROBE := import ensurepip, sys, venv; (3, 10) <= sys.version_info[:2] <= (3, 11) and print(sys._base_executable)

# $(call probe,python): its path, or nothing.
probe = $(shell "$(1)" -c "$(PROBE)" 2>/dev/null)

search_path = $(shell for name in python3.11 python3.10; do \
	IFS=:; for folder in $$PATH; do \
	found=$$("$${folder:-.}/$$name" -c "$(PROBE)" 2>/dev/null) && [ -n "$$found" ] && echo "$$found" && exit; \
	done; done)

base_python = $(if $(PYTHON),$(call probe,$(PYTHON)),$(search_path))
no_python = $(if $(PYTHON),PYTHON=$(PYTHON) is not,no python3.11 or python3.10 on the PATH is) a working Python 3.11 or 3.10 \
	with venv and ensurepip: give make PYTHON=/path/to/one

# An environment that is there, whole and of a supported version is brought up to date, any other is replaced.
usable = $(if $(wildcard $(UNFINISHED)),,$(shell $(IN_VENV) -c "import pip; $(PROBE)" 2>/dev/null))

make_venv = $(or $(base_python),$(error $(no_python)))

$(INSTALLED): requirements.txt constraints.txt pyproject.toml
	@$(if $(usable),:,python='$(make_venv)' && echo "== .venv: new, with $$python" && "$$python" -m venv --clear $(VENV))
	@echo '== .venv: installing what constraints.txt pins (the first time, some 700 MB and a minute or more)'
	@touch $(UNFINISHED)
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check -c constraints.txt --upgrade pip setuptools wheel
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check -r requirements.txt --group dev \
		-c constraints.txt --build-constraint constraints.txt
	@$(IN_VENV) -m pip check > /dev/null || $(IN_VENV) -m pip check >&2
	@mv $(UNFINISHED) $(INSTALLED)

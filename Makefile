.PHONY: setup test bench conformance conformance-all fuzz soak ci

# Optional tools for the tests that use the field's own programs. Nothing here is needed to build or to run.
setup:
	conformance/setup

test:
	cargo test --workspace

bench:
	@for run in bench/*/run; do echo "== $$run"; "$$run" || exit 1; done

conformance:
	conformance/run

# With the slow groups of Kubernetes' own suite, too.
conformance-all:
	SIGS=all conformance/run

# Every test whose name begins with `fuzz_`, for a minute each.
fuzz:
	XEBEC_FUZZ_SECONDS=$${XEBEC_FUZZ_SECONDS:-60} cargo test --workspace --release fuzz_ -- --include-ignored --nocapture

# The platform under attack, beside those who are served. Nothing else should run.
soak:
	cargo test -p xebec --test alone -- --include-ignored --nocapture

ci:
	bash .ci/run

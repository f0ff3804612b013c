# Everything a developer does here. `make help` lists it.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TOOL    := go tool -modfile=tools/go.mod
GOFILES := $(shell git ls-files '*.go')

.PHONY: help build devstack demo up test fmt vet staticcheck workflowcheck floors unit replay cluster e2e faults bench bench-sql

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/mainstay
	go build -ldflags "-s -w -X main.version=$(VERSION)" -o bin/mainstay ./cmd/mainstay

devstack: ## bin/devstack: Temporal and a Kubernetes control plane on this machine
	cd devstack && go build -ldflags "-s -w" -o ../bin/devstack .

demo: ## the main job, told step by step on a devstack of its own (builds what it needs: some minutes the first time)
	@tests/demo/build.sh && exec bin/demo

up: ## the same parts, left running until Ctrl-C, to look around in
	@tests/demo/build.sh && exec bin/demo -up

test: fmt vet staticcheck workflowcheck floors unit replay build devstack cluster e2e ## all checks, the fast ones first

fmt: ## gofmt changes nothing
	@test -z "$$(gofmt -l $(GOFILES) | tee /dev/stderr)"

vet: ## go vet
	go vet ./...
	go vet -tags e2e ./tests/...
	cd devstack && go vet ./...

staticcheck: ## staticcheck
	$(TOOL) staticcheck -tags e2e ./...

workflowcheck: ## workflow code is deterministic
	$(TOOL) workflowcheck ./workflows/...

floors: ## who may import whom
	go test ./tests/floors

unit: ## unit tests: tables, txtar, the SDK's testsuite
	go test ./cmd/... ./worker/... ./workflows/... ./activities/... ./watcher/... ./specs/...
	cd devstack && go test -short ./...

replay: ## committed histories still replay
	go test ./tests/replay

cluster: build devstack ## commands and watcher against a real API server; devstack's own test
	tests/with-cluster.sh go test -count=1 ./activities/... ./watcher/... ./cmd/...
	cd devstack && go test -count=1 ./...

e2e: build devstack ## whole-system scenarios
	go test -tags e2e -count=1 -timeout 30m ./tests/e2e

faults: build devstack ## the scenarios with kills in full: 50 of the operator, 5 of Temporal, 9 of leading replicas
	MAINSTAY_FAULTS=full go test -tags e2e -count=1 -timeout 40m -v -run 'TestRandomHistoryThroughKills|TestTwoReplicas' ./tests/e2e

bench: build devstack bench-sql ## benchmarks, each beside its baseline in the same run
	go test -tags e2e -count=1 -timeout 60m -run '^$$' -bench . -benchtime 1x ./tests/bench

bench-sql: ## those of the virtual store and its SQL alone
	go test -count=1 -timeout 30m -run '^$$' -bench . -benchtime 1x ./tests/bench/virtual

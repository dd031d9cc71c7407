# Signalbox. `make help` lists the targets.
GO      ?= go
BIN     := bin
BINS    := signalbox signalbox-edge signalbox-core signalbox-sim
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
# The packages whose goroutines share memory run under the race detector.
RACE    := ./raftstore/... ./core/... ./edge/... ./sinks/...
# The real-process tests need the ports and the cores for themselves.
E2E     := ./cmd/signalbox/e2e/...

.DEFAULT_GOAL := help
.PHONY: help build test demo bench chaos lint deps unit race e2e cross

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build the four programs into bin/
	@mkdir -p $(BIN)
	@for b in $(BINS); do CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/$$b ./cmd/$$b || exit 1; done

demo: build ## three core nodes, agents, buses and a live page; ctrl-C stops it
	@$(BIN)/signalbox demo $(ARGS)

test: deps build lint unit race e2e cross ## install what the tests need and run everything

deps: ## install the services the tests talk to (mosquitto, Cassandra, Chromium)
	@bash deploy/dev/install.sh

lint: ## formatting, vet and staticcheck
	@test -z "$$(gofmt -l cmd core deploy edge engine raftstore simulator sinks)" || { gofmt -l cmd core deploy edge engine raftstore simulator sinks; echo "not formatted: run gofmt -w on these"; exit 1; }
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

unit: ## unit tests and fuzz seeds
	$(GO) test $$($(GO) list ./... | grep -v /e2e)

race: ## the packages that share memory, under the race detector
	$(GO) test -race -short $(RACE)

e2e: build ## real processes: cores, agents, mosquitto, Cassandra, Chromium
	SIGNALBOX_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -timeout 25m -v $(E2E)

cross: ## the agent for the machines it runs on
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/arm64/signalbox-edge ./cmd/signalbox-edge
	CGO_ENABLED=0 GOOS=linux GOARCH=arm GOARM=7 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/armv7/signalbox-edge ./cmd/signalbox-edge

bench: build ## the figures of docs/performance.md
	@bash deploy/bench/run.sh $(ARGS)

chaos: build ## kill and restart processes under load for 20 minutes, seed printed
	SIGNALBOX_BIN=$(CURDIR)/$(BIN) SIGNALBOX_CHAOS=$(or $(DURATION),20m) $(GO) test -count=1 -timeout 60m -v -run Chaos $(E2E)

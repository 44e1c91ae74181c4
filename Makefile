# Two commands matter: `make test-short` while working, `make test` before a commit. `make help` lists the rest.
#
# What is slow to fetch (Kafka's jars) or to build (Consul) is cached below the user's cache directory, or where
# CATAMARAN_CACHE says; whichever test comes first does it, `make deps` does it beforehand.

GO ?= go

# Packages that start real Kafka, Consul or Java clients, and the rest.
REAL := ./integration/...
UNIT := $$($(GO) list ./... | grep -v /integration/)

FUZZTIME ?= 10s  # for each fuzz test
SEEDS    ?= 1000 # of the simulation, under `make sim`

# The simulation runs the whole product in virtual time, which cannot pass while a mutex is waited for; the tag is
# franz-go's own and turns the locks of its client into channels.
SIM := -tags synctests ./sidecar/sim ./sidecar/inmem

.PHONY: help test test-short matrix lint deps sim fuzz

help:
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

lint: ## gofmt and go vet
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "run gofmt -w on:" $$unformatted >&2; exit 1; fi
	$(GO) vet ./...

# The integration packages run what needs no real Kafka; what they skip is printed, or green would say too much.
test-short: lint ## under a minute: everything that needs nothing but Go
	$(GO) test -race -short -timeout 120s $(UNIT)
	$(GO) test -timeout 120s $(SIM)
	@out=$$(mktemp); trap 'rm -f '$$out EXIT; \
	if ! $(GO) test -race -short -count=1 -v -timeout 120s $(REAL) >$$out 2>&1; then cat $$out; exit 1; fi; \
	grep -E '^ok' $$out; \
	echo; echo "LEFT TO make test, because they start real Kafka, Consul or Java clients:"; \
	sed -nE 's/.*NOT RUN with -short: ([^ ]+) needs ([^;]+);.*/  \1: \2/p' $$out

# One package at a time where processes are started: two cores do not carry two Kafka clusters, Consul and a JVM of
# clients per package at once, and a test that times out then says nothing about the product.
test: lint deps ## everything, real Kafka and Consul included
	$(GO) test -race -timeout 10m $(UNIT)
	$(GO) test -timeout 10m $(SIM)
	SIM_SEEDS=10 $(GO) test -race -timeout 10m $(SIM)
	$(GO) test -count=1 -p 1 -timeout 20m $(REAL)

# MATRIX=kafkajs,sarama runs these clients only. Missing libraries are installed into the cache.
MATRIX ?= all

matrix: ## every client library, directly, through the sidecar and across cutovers, as a table (four minutes)
	CATAMARAN_MATRIX=$(strip $(MATRIX)) $(GO) test -count=1 -v -timeout 20m ./integration/matrix

deps: ## fetch Kafka's jars and build Consul into the cache (five minutes the first time)
	$(GO) run ./integration/internal/deps

sim: ## the simulation with SEEDS=1000 seeds
	SIM_SEEDS=$(strip $(SEEDS)) $(GO) test -count=1 -timeout 60m $(SIM)

# Go before 1.27 may end a fuzz test that found nothing with "context deadline exceeded" (go.dev/issue/75804): that alone
# is no failure. What is found is written below testdata/fuzz and said so.
fuzz: ## every fuzz test for FUZZTIME=10s
	@set -e; for pkg in $$($(GO) list ./...); do \
		dir=$$($(GO) list -f '{{.Dir}}' $$pkg); \
		for fuzz in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go 2>/dev/null | sed 's/^func //'); do \
			echo "$$pkg $$fuzz"; \
			if out=$$($(GO) test -run '^$$' -fuzz "^$$fuzz\$$" -fuzztime $(strip $(FUZZTIME)) $$pkg 2>&1); then \
				echo "$$out" | tail -n 1; \
			elif echo "$$out" | grep -q 'context deadline exceeded' && ! echo "$$out" | grep -qE 'Failing input|panic:'; then \
				echo "ok, nothing found (go.dev/issue/75804)"; \
			else \
				echo "$$out"; exit 1; \
			fi; \
		done; \
	done

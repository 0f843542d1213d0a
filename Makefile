# Fairlead. `make help` lists what can be made.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
PREFIX  ?= /usr
DESTDIR ?=
ETC     ?= /etc/fairlead

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/fairlead/fairlead/agent/version.Version=$(VERSION)
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)"
UNITS   := $(wildcard deploy/systemd/fairlead*)

# One package after the other: many start containers, and two at once would wait for each other.
TEST_FLAGS ?= -p 1 -timeout 25m

# What a virtual machine is to run, and the tests of it; without an expression, all. With another runtime, the founding stories.
VM_TESTS ?= ./services/netagent/... ./services/natagent/... ./services/supervisor/... ./deploy/e2e
VM_RUN   ?=
VM_OTHER ?= TestStories/stories/one/s[0-9]

.PHONY: help setup build install uninstall demo test vmtest bench lint proto proto-check fuzz clean

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## Installs what building, running and testing need and this machine lacks
	@deploy/setup.sh test

build: ## Builds bin/fairlead and bin/fairlead-agent, static
	$(BUILD) -o bin/fairlead ./ctl/cmd/fairlead
	$(BUILD) -o bin/fairlead-agent ./agent/cmd/fairlead-agent

install: build ## Puts binaries, units and configuration in place (DESTDIR, PREFIX)
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin bin/fairlead bin/fairlead-agent
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system $(UNITS)
	sed -i 's|^ExecStart=/usr/bin/|ExecStart=$(PREFIX)/bin/|' $(addprefix $(DESTDIR)$(PREFIX)/lib/systemd/system/,$(notdir $(UNITS)))
	test -e $(DESTDIR)$(ETC)/daemon.json || install -D -m 0644 deploy/config/daemon.json $(DESTDIR)$(ETC)/daemon.json

uninstall: ## Takes away what install put there, but for the configuration, and what the agent put into the host's network
	test -n "$(DESTDIR)" || ! test -x $(PREFIX)/bin/fairlead-agent || $(PREFIX)/bin/fairlead-agent cleanup
	rm -f $(DESTDIR)$(PREFIX)/bin/fairlead $(DESTDIR)$(PREFIX)/bin/fairlead-agent
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/lib/systemd/system/,$(notdir $(UNITS)))

demo: ## Runs nginx in a container before your eyes, on machines of namespaces
	@deploy/setup.sh run
	@$(MAKE) --no-print-directory build
	@CGO_ENABLED=0 $(GO) build -o .cache/demo ./deploy/demo
	@exec .cache/demo

test: setup ## Runs every test, and ends with what passed, failed and was skipped, and why
	@$(GO) build -o .cache/report ./deploy/report
	@$(GO) test -json $(TEST_FLAGS) ./... | .cache/report

vmtest: setup build ## Runs the tests that need a kernel on Debian's stock one, in a virtual machine with cgroups v2 (VM_RUN, VM_TESTS)
	@deploy/vm/run -limit 90m -run '$(VM_RUN)' $(VM_TESTS)
	@FAIRLEAD_RUNTIME=runc deploy/vm/run -limit 30m -run '$(VM_OTHER)' ./deploy/e2e
	@CGO_ENABLED=0 $(GO) build -o .cache/demo ./deploy/demo # all that is compiled is in the cache then
	@deploy/vm/run -limit 30m -sh 'make demo'
	@$(GO) test -count=1 -timeout 20m ./deploy/vm

bench: setup build ## Measures against bare crun, raw netlink and the peers that are installed
	@CGO_ENABLED=0 $(GO) build -o .cache/bench ./deploy/bench
	@exec .cache/bench

lint: ## Checks formatting, go vet and the shell scripts
	@deploy/lint.sh

proto: ## Makes proto/gen again from the .proto files
	@deploy/proto.sh generate

proto-check: ## Lints the .proto files and finds generated code that is out of date
	@deploy/proto.sh check

fuzz: ## Runs each fuzz test for ten seconds
	@deploy/fuzz.sh

clean: ## Removes what was built and downloaded
	rm -rf bin .cache

# Fairlead. `make help` lists the targets.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
PREFIX  ?= /usr
DESTDIR ?=
ETC     ?= /etc/fairlead
# Where container runtimes find CNI plugins. Not all look in the same place: see docs/cni.md.
CNI     ?= $(PREFIX)/lib/cni

# The version, followed by the commit unless that is the release's.
VERSION := $(shell cat proto/version/VERSION)$(shell git describe --exact-match --tags >/dev/null 2>&1 || git log -1 --format=+g%h 2>/dev/null)
LDFLAGS := -s -w -X github.com/fairlead/fairlead/proto/version.Version=$(VERSION)
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)"
UNITS   := $(wildcard deploy/systemd/fairlead*)
# Completion of the command line. Debian's zsh reads vendor-completions, other distributions' site-functions.
COMPLETIONS := bash-completion/completions/fairlead zsh/vendor-completions/_fairlead zsh/site-functions/_fairlead \
               fish/vendor_completions.d/fairlead.fish
# Where make man writes, and the man pages as make uninstall finds them.
MAN      := .cache/man
MANPAGES := man/man1/fairlead.1.gz man/man1/fairlead-*.1.gz man/man5/fairlead-*.5.gz man/man8/fairlead-*.8.gz

# Where make deb and make rpm write.
DIST ?= dist

# Two packages at a time: the tests of deploy/e2e take as long as all others together, and those of deploy/vm use
# one core.
TEST_FLAGS ?= -p 2 -timeout 60m

TEST_PACKAGES ?= ./...

# The seed of the fault campaign in make test; make crashtest chooses one.
TEST_SEED := 4

# The tests to run in a virtual machine: all except those that start one. Timeouts are longer there.
VM_TESTS ?= $(shell $(GO) list ./... | grep -v '/deploy/vm$$')
VM_FLAGS ?= -p 1 -count=1 -timeout 2h
# The core scripts, which also run there with runc.
VM_OTHER ?= TestScripts/scripts/one/s[0-9]

# The number of containers in make hammer.
LOOPS ?= 2000

# The number of faults in make fleettest.
FLEET_KILLS ?= 200

# The number of containers and of kills in make stormtest.
STORM       ?= 300
STORM_KILLS ?= 10

# The duration of make policysoak in each mode; a half of it with each firewall backend.
SOAK ?= 1h

# The number of kills in make killtest.
KILLS ?= 1000

.PHONY: help setup clients etcd compare build man install uninstall deb rpm demo demo-fleet test fleettest hammer vmtest crashtest killtest stormtest toolstest policysoak bench lint check docs proto proto-check fuzz clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## Install missing packages for build and test
	@deploy/setup.sh test

clients: ## Build Docker's clients, BuildKit and containerd for the tests of the Engine API and of CNI; 20 minutes the first time
	@deploy/clients.sh docker compose buildx buildkitd libraries cri

etcd: ## Build servers of etcd for the tests of fleets; some minutes the first time
	@deploy/clients.sh etcd

build: ## Build the static binaries bin/fairlead, fairlead-agent, fairlead-store and fairlead-cni
	$(BUILD) -o bin/fairlead ./ctl/cmd/fairlead
	$(BUILD) -o bin/fairlead-agent ./services/cmd/fairlead-agent
	$(BUILD) -o bin/fairlead-store ./services/cmd/fairlead-store
	$(BUILD) -o bin/fairlead-cni ./ctl/cmd/fairlead-cni

man: build ## Write the man pages of all commands and of daemon.json to .cache/man
	rm -rf $(MAN)
	for program in fairlead fairlead-agent fairlead-store; do bin/$$program man $(MAN); done
	gzip -9n $(MAN)/*

install: man ## Install binaries, units, completion, man pages and configuration (DESTDIR, PREFIX)
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin bin/fairlead bin/fairlead-agent bin/fairlead-store
	install -D -m 0755 -t $(DESTDIR)$(CNI) bin/fairlead-cni
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system $(UNITS)
	sed -i 's|^ExecStart=/usr/bin/|ExecStart=$(PREFIX)/bin/|' $(addprefix $(DESTDIR)$(PREFIX)/lib/systemd/system/,$(notdir $(UNITS)))
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,$(dir $(COMPLETIONS)))
	for f in $(COMPLETIONS); do case $$f in *.fish) s=fish ;; zsh/*) s=zsh ;; *) s=bash ;; esac; \
	  bin/fairlead completion $$s >$(DESTDIR)$(PREFIX)/share/$$f; done
	for n in 1 5 8; do install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man$$n $(MAN)/*.$$n.gz; done
	test -e $(DESTDIR)$(ETC)/daemon.json || install -D -m 0644 deploy/config/daemon.json $(DESTDIR)$(ETC)/daemon.json

uninstall: ## Remove installed files, except the configuration, and all network state
	test -n "$(DESTDIR)" || ! test -x $(PREFIX)/bin/fairlead-agent || $(PREFIX)/bin/fairlead-agent cleanup
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,fairlead fairlead-agent fairlead-store) $(DESTDIR)$(CNI)/fairlead-cni
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/,$(COMPLETIONS) $(MANPAGES))
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/lib/systemd/system/,$(notdir $(UNITS)))

deb: ## Build a Debian package in dist (DIST)
	@deploy/package.sh deb '$(VERSION)' $(DIST)

rpm: ## Build an RPM package in dist (DIST)
	@deploy/package.sh rpm '$(VERSION)' $(DIST)

demo: ## Run nginx in a container, in network namespaces
	@deploy/setup.sh run
	@$(MAKE) --no-print-directory build
	@CGO_ENABLED=0 $(GO) build -o .cache/demo ./deploy/demo
	@exec .cache/demo

demo-fleet: ## Run a fleet of three hosts, in network namespaces
	@deploy/setup.sh run
	@$(MAKE) --no-print-directory build
	@CGO_ENABLED=0 $(GO) build -o .cache/demo ./deploy/demo
	@exec .cache/demo fleet

test: setup ## Run all tests, and print what passed, failed and was skipped
	@$(GO) build -o .cache/report ./deploy/report
	@CRASH_SEED=$${CRASH_SEED:-$(TEST_SEED)} $(GO) test -json $(TEST_FLAGS) $(TEST_PACKAGES) | .cache/report

hammer: setup ## Run 2,000 short-lived containers with both runtimes (LOOPS)
	@for runtime in crun runc; do FAIRLEAD_RUNTIME=$$runtime FAIRLEAD_HAMMER=$(LOOPS) $(GO) test -count=1 -timeout 60m -run 'TestScripts/scripts/(one|split)/verbs_race_exit$$' ./deploy/e2e; done

fleettest: setup build ## Run random faults on a fleet of four hosts while containers come and go (FLEET_KILLS)
	@FAIRLEAD_FLEET_KILLS=$(FLEET_KILLS) $(GO) test -count=1 -v -timeout 60m -run 'TestFleetSurvivesRandomFaults|TestFleetFaults' ./deploy/e2e

vmtest: setup build ## Run demo and tests on Debian's kernel in a VM; hours without KVM (VM_TESTS, VM_FLAGS)
	@echo 'vmtest: compiling on the host'
	@CGO_ENABLED=0 $(GO) build -o .cache/demo ./deploy/demo
	@$(GO) build -o .cache/report ./deploy/report
	@$(GO) test -exec true $(VM_TESTS) >/dev/null
	@echo 'vmtest: make demo in a virtual machine'
	@deploy/vm/run -limit 20m -sh 'make demo'
	@echo 'vmtest: the core scripts with runc in a virtual machine'
	@FAIRLEAD_RUNTIME=runc deploy/vm/run -limit 40m -run '$(VM_OTHER)' ./deploy/e2e
	@echo 'vmtest: make test in a virtual machine'
	@deploy/vm/run -limit 6h -sh 'FAIRLEAD_BIN=$$PWD/bin make test TEST_FLAGS="$(VM_FLAGS)" TEST_PACKAGES="$(VM_TESTS)"'
	@echo 'vmtest: several virtual machines on one hub'
	@$(GO) test -count=1 -timeout 60m ./deploy/vm

crashtest: setup ## Inject a fault at each crash point; hours (CRASH_FOR, CRASH_SEED, CRASH_ONLY, CRASH_BACKEND)
	@CRASH_FOR=$${CRASH_FOR:-0} $(GO) test -count=1 -v -timeout 24h ./deploy/crash

killtest: setup ## Kill the agent at random moments under load; half an hour (KILLS, CRASH_SEED, CRASH_BACKEND)
	@CRASH_KILLS=$(KILLS) $(GO) test -count=1 -v -timeout 24h -run '^TestKillsLoseNoConnection$$' ./deploy/crash

stormtest: setup ## Kill the agent among 300 containers that restart again and again (STORM, STORM_KILLS)
	@FAIRLEAD_STORM_CONTAINERS=$(STORM) FAIRLEAD_STORM_KILLS=$(STORM_KILLS) $(GO) test -count=1 -v -timeout 60m \
	  -run 'TestScripts/scripts/(one|split)/restart_storm$$' ./deploy/e2e

toolstest: setup ## Run git, npm and apt with egress policies, allowed and refused; a minute
	@FAIRLEAD_TOOLS=1 $(GO) test -count=1 -timeout 30m -run 'TestScripts/scripts/(one|split)/egress_tools$$' ./deploy/e2e

policysoak: setup ## Kill agents while containers with policies use changing addresses; an hour in each mode (SOAK)
	@FAIRLEAD_SOAK=$(SOAK) $(GO) test -count=1 -v -timeout 24h -run 'TestScripts/scripts/(one|split)/egress_soak$$' ./deploy/e2e

bench: setup build ## Run the benchmarks (BENCH: steps, see deploy/bench/main.go)
	@CGO_ENABLED=0 $(GO) build -o .cache/bench ./deploy/bench
	@exec .cache/bench $(BENCH)

compare: setup build ## Run 780 docker commands against Debian's dockerd and Fairlead, and compare; ten minutes
	@CGO_ENABLED=0 $(GO) build -o .cache/compare ./deploy/compare
	@exec .cache/compare deploy/compare/commands.txt

lint: ## Check formatting, vet, staticcheck, dead code and shell scripts
	@deploy/lint.sh

# Packages whose tests need neither root nor a kernel.
PURE ?= ./agent/config/... ./agent/events ./proto/fault ./proto/faultrpc ./proto/id ./proto/port/... ./proto/bandwidth ./proto/egress ./agent/laws ./ctl/... \
	$(shell $(GO) list -f '{{.ImportPath}}' ./services/... | grep -E '/(container|hostport|hostsfile|frame|ipam|lease|network|publication|registration|resolvconf|saga|zone)$$')

check: lint ## Run lint and the tests of pure packages; run it before each commit
	@$(GO) test $(PURE)

docs: ## Generate docs/reference from help texts and configuration keys, and the golden files of the API
	@$(GO) test ./agent/config ./ctl/internal/command -run Reference -update
	@$(GO) test ./agent/laws -run 'PromisedAPI|Reference' -update
	@$(GO) test ./services/cmd/fairlead-agent -run Reference -update

proto: ## Generate proto/gen from the .proto files
	@deploy/proto.sh generate

proto-check: ## Lint the .proto files and check proto/gen
	@deploy/proto.sh check

fuzz: ## Run each fuzz test for ten seconds
	@deploy/fuzz.sh

clean: ## Remove built and downloaded files
	rm -rf bin dist .cache

# Fairlead. `make help` lists what can be made.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
PREFIX  ?= /usr
DESTDIR ?=
ETC     ?= /etc/fairlead

# The version, followed by the commit unless that is the release's.
VERSION := $(shell cat proto/version/VERSION)$(shell git describe --exact-match --tags >/dev/null 2>&1 || git log -1 --format=+g%h 2>/dev/null)
LDFLAGS := -s -w -X github.com/fairlead/fairlead/proto/version.Version=$(VERSION)
BUILD   := CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)"
UNITS   := $(wildcard deploy/systemd/fairlead*)
# Completion of the command line. Debian's zsh reads vendor-completions, others site-functions.
COMPLETIONS := bash-completion/completions/fairlead zsh/vendor-completions/_fairlead zsh/site-functions/_fairlead \
               fish/vendor_completions.d/fairlead.fish

# One package after the other: many start containers, and two at once would wait for each other.
TEST_FLAGS ?= -p 1 -timeout 25m

TEST_PACKAGES ?= ./...

# The order in which make test interrupts commands; make crashtest chooses one.
TEST_SEED := 4

# What make test is to test in a virtual machine: all but what starts such machines itself. It waits longer there, where all is slower.
VM_TESTS ?= $(shell $(GO) list ./... | grep -v '/deploy/vm$$')
VM_FLAGS ?= -p 1 -count=1 -timeout 2h
# The founding stories, which are told there with the other runtime, too.
VM_OTHER ?= TestScripts/scripts/one/s[0-9]

# How many containers make hammer takes.
LOOPS ?= 2000

.PHONY: help setup build install uninstall demo test hammer vmtest crashtest bench lint check docs proto proto-check fuzz clean

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## Installs what building, running and testing need and this machine lacks
	@deploy/setup.sh test

build: ## Builds bin/fairlead and bin/fairlead-agent, static
	$(BUILD) -o bin/fairlead ./ctl/cmd/fairlead
	$(BUILD) -o bin/fairlead-agent ./services/cmd/fairlead-agent

install: build ## Puts binaries, units, completion and configuration in place (DESTDIR, PREFIX)
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/bin bin/fairlead bin/fairlead-agent
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system $(UNITS)
	sed -i 's|^ExecStart=/usr/bin/|ExecStart=$(PREFIX)/bin/|' $(addprefix $(DESTDIR)$(PREFIX)/lib/systemd/system/,$(notdir $(UNITS)))
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,$(dir $(COMPLETIONS)))
	for f in $(COMPLETIONS); do case $$f in *.fish) s=fish ;; zsh/*) s=zsh ;; *) s=bash ;; esac; \
	  bin/fairlead completion $$s >$(DESTDIR)$(PREFIX)/share/$$f; done
	test -e $(DESTDIR)$(ETC)/daemon.json || install -D -m 0644 deploy/config/daemon.json $(DESTDIR)$(ETC)/daemon.json

uninstall: ## Takes away what install put there, but for the configuration, and what the agent put into the host's network
	test -n "$(DESTDIR)" || ! test -x $(PREFIX)/bin/fairlead-agent || $(PREFIX)/bin/fairlead-agent cleanup
	rm -f $(DESTDIR)$(PREFIX)/bin/fairlead $(DESTDIR)$(PREFIX)/bin/fairlead-agent
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/,$(COMPLETIONS))
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/lib/systemd/system/,$(notdir $(UNITS)))

demo: ## Runs nginx in a container before your eyes, on machines of namespaces
	@deploy/setup.sh run
	@$(MAKE) --no-print-directory build
	@CGO_ENABLED=0 $(GO) build -o .cache/demo ./deploy/demo
	@exec .cache/demo

test: setup ## Runs every test, and ends with what passed, failed and was skipped, and why
	@$(GO) build -o .cache/report ./deploy/report
	@CRASH_SEED=$${CRASH_SEED:-$(TEST_SEED)} $(GO) test -json $(TEST_FLAGS) $(TEST_PACKAGES) | .cache/report

hammer: setup ## Takes 2,000 containers that end at once through their lives, with both runtimes (LOOPS)
	@for runtime in crun runc; do FAIRLEAD_RUNTIME=$$runtime FAIRLEAD_HAMMER=$(LOOPS) $(GO) test -count=1 -timeout 60m -run 'TestScripts/scripts/(one|split)/verbs_meet_ends$$' ./deploy/e2e; done

vmtest: setup build ## Runs demo and tests on Debian's stock kernel, in a virtual machine with cgroups v2; hours without KVM (VM_TESTS, VM_FLAGS)
	@echo 'vmtest: compiling here all that would take long there'
	@CGO_ENABLED=0 $(GO) build -o .cache/demo ./deploy/demo
	@$(GO) build -o .cache/report ./deploy/report
	@$(GO) test -exec true $(VM_TESTS) >/dev/null
	@echo 'vmtest: make demo, in a virtual machine'
	@deploy/vm/run -limit 20m -sh 'make demo'
	@echo 'vmtest: the founding stories with runc, in a virtual machine'
	@FAIRLEAD_RUNTIME=runc deploy/vm/run -limit 40m -run '$(VM_OTHER)' ./deploy/e2e
	@echo 'vmtest: make test, in a virtual machine'
	@deploy/vm/run -limit 6h -sh 'FAIRLEAD_BIN=$$PWD/bin make test TEST_FLAGS="$(VM_FLAGS)" TEST_PACKAGES="$(VM_TESTS)"'
	@echo 'vmtest: several virtual machines on one wire'
	@$(GO) test -count=1 -timeout 30m ./deploy/vm

crashtest: setup ## Interrupts every command at each of its crash points, in both deployment modes; hours (CRASH_FOR, CRASH_SEED, CRASH_ONLY, CRASH_KILLS)
	@CRASH_FOR=$${CRASH_FOR:-0} CRASH_KILLS=$${CRASH_KILLS:-1000} $(GO) test -count=1 -v -timeout 24h ./deploy/crash

bench: setup build ## Measures against bare crun, raw netlink and the peers that are installed (BENCH: only some of launches, many, busy, names, services)
	@CGO_ENABLED=0 $(GO) build -o .cache/bench ./deploy/bench
	@exec .cache/bench $(BENCH)

lint: ## Checks formatting, go vet, staticcheck, dead code and the shell scripts
	@deploy/lint.sh

# Packages whose tests need neither root nor a kernel.
PURE ?= ./agent/config/... ./agent/events ./proto/fault ./proto/faultrpc ./proto/id ./agent/laws ./agent/sources ./ctl/... \
	$(shell $(GO) list -f '{{.ImportPath}}' ./services/... | grep -E '/(container|hostport|hostsfile|frame|ipam|lease|network|publication|registration|resolvconf|saga|zone)$$')

check: lint ## Runs lint and the tests of pure packages, before each commit
	@$(GO) test $(PURE)

docs: ## Writes docs/reference again from the help of the commands and the configuration keys
	@$(GO) test ./agent/config ./ctl/internal/command -run Reference -update

proto: ## Makes proto/gen again from the .proto files
	@deploy/proto.sh generate

proto-check: ## Lints the .proto files and finds generated code that is out of date
	@deploy/proto.sh check

fuzz: ## Runs each fuzz test for ten seconds
	@deploy/fuzz.sh

clean: ## Removes what was built and downloaded
	rm -rf bin .cache

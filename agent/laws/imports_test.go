package laws_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// importRule defines packages that other packages must not import.
type importRule struct {
	name   string
	reason string
	in     []string // packages that the rule applies to
	but    []string // exceptions from in
	ban    []string // packages that must not be imported
	allow  []string // exceptions from ban
	deep   bool     // the rule applies to indirect imports too
	tests  bool     // the rule applies to imports of tests too

	caught [2]string // a package and an import that break the rule, to test it
}

var (
	netlinkLibraries = []string{
		"github.com/vishvananda/netlink/...", "github.com/vishvananda/netns/...", "github.com/mdlayher/netlink/...",
		"github.com/mdlayher/genetlink/...", "golang.zx2c4.com/wireguard/...",
	}
	firewallLibraries = []string{
		"github.com/google/nftables/...", "github.com/coreos/go-iptables/...", "sigs.k8s.io/knftables/...",
	}
	storeLibraries = []string{"github.com/hashicorp/go-memdb/...", "go.etcd.io/bbolt/..."}

	// purePackages lists the packages with domain logic. They perform no I/O.
	purePackages = []string{
		"agent/config", "proto/fault", "proto/id", "proto/port", "proto/bandwidth", "proto/egress", "proto/tunnel",
		"proto/dnsrecord", "agent/portrecord",
		"services/*/internal/ipam", "services/*/internal/network", "services/*/internal/endpoint",
		"services/*/internal/frame",
		"services/*/internal/lease", "services/*/internal/publication", "services/*/internal/ruleset",
		"services/*/internal/hostport", "services/*/internal/registration", "services/*/internal/hostsfile",
		"services/*/internal/resolvconf", "services/*/internal/zone",
		"services/*/internal/container", "services/*/internal/resource", "services/*/internal/signal",
		"services/*/internal/saga", "services/*/internal/volume",
		"services/*/internal/restart", "services/*/internal/tunnelkey", "services/*/internal/healthcheck",
		"services/*/internal/logdriver", "services/*/internal/cpulist", "services/*/internal/devicerequest",
		"services/*/internal/servername", "services/*/internal/servername/...",
		"services/*/internal/egress/plan", "services/*/internal/egress/prefixes", "services/*/internal/egress/answered",
	}
	identifiers = []string{"proto/fault", "proto/id", "proto/port", "proto/bandwidth", "proto/egress", "proto/tunnel",
		"proto/dnsrecord"}

	// testPackages lists the packages for tests only, such as suites and fakes.
	testPackages = []string{
		"agent/test/...", "services/*/internal/*test", "services/*/internal/*/*test", "services/*/internal/*/test*",
		"ctl/client/*test", "ctl/internal/*/*test",
	}
)

// importRules returns all import rules, with one rule for each of the given services.
func importRules(services []string) []importRule {
	all := []importRule{
		{
			name: "the command line uses no kernel libraries, stores or services", in: []string{"ctl/..."}, deep: true,
			but: []string{"ctl/cmd/fairlead-cni"},
			ban: slices.Concat(netlinkLibraries, firewallLibraries, storeLibraries,
				[]string{"agent/state", "services/..."}),
			reason: "the command line runs on any system without privileges, and gets all data of a host " +
				"from the API. CNI's library compares network namespaces; the plugin runs as root on the host anyway",
			caught: [2]string{"ctl/internal/command/network", "github.com/vishvananda/netlink"},
		}, {
			name: "the agent imports no service", in: []string{"agent/..."},
			ban:    []string{"services/...", "ctl/...", "deploy/..."},
			reason: "it runs services through the interface in agent/service; only package main selects services",
			caught: [2]string{"agent/internal/server", "services/netagent"},
		}, {
			name: "only commands import package agent", in: []string{"..."}, tests: true,
			but: []string{"services/cmd/..."}, ban: []string{"agent"},
			reason: "package agent is the whole daemon; services use the packages below it",
			caught: [2]string{"services/netagent", "agent"},
		}, {
			name: "no package imports a command or deploy", in: []string{"..."}, tests: true,
			but:    []string{"services/cmd/...", "ctl/cmd/...", "deploy/..."},
			ban:    []string{"services/cmd/...", "ctl/cmd/...", "deploy/..."},
			reason: "commands only connect packages, and deploy only tests and packages the binaries",
			caught: [2]string{"agent/internal/server", "deploy/e2e"},
		}, {
			name: "the API imports only itself", in: []string{"proto/..."},
			ban:    []string{"agent/...", "ctl/...", "deploy/...", "services/..."},
			reason: "clients of third parties use the API without the rest of Fairlead",
			caught: [2]string{"proto/gen/fairlead/dns/v1", "agent/state"},
		}, {
			name: "pure packages import only the standard library, identifiers and pure packages",
			in:   purePackages, ban: []string{"..."}, allow: slices.Concat([]string{"std", "golang.org/x/net/idna"},
				identifiers, purePackages),
			reason: "they perform no I/O, so that table, golden file and property tests cover them on any system",
			caught: [2]string{"services/netagent/internal/ipam", "agent/state"},
		}, {
			name: "pure packages perform no I/O", in: purePackages,
			ban:    []string{"os", "os/...", "net/http/...", "net/rpc/...", "database/...", "plugin", "unsafe"},
			reason: "code with I/O cannot be tested by its inputs alone; read files elsewhere and pass the content",
			caught: [2]string{"services/dnsagent/internal/resolvconf", "os/exec"},
		}, {
			name: "netlink only in the kernel packages", in: []string{"..."}, ban: netlinkLibraries,
			but: []string{
				"services/netagent/internal/kernel", "services/natagent/internal/conntrack",
				"services/natagent/internal/firewall/nflink", "services/netagent/internal/dnssockets/redirect",
				"services/natagent/internal/nflog", "services/natagent/internal/nfqueue",
				"services/natagent/internal/nlfile",
				"services/netagent/internal/wireguard",
			},
			reason: "only the kernel packages retry interrupted dumps. Package redirect sends its own transactions " +
				"in the namespaces of containers: it does not dump, and the socket of the firewall library fails for " +
				"descriptors above 1023. Package nflink replaces that socket. " +
				"Package nflog reads a log group, package nfqueue queues. " +
				"Package nlfile uses sockets that netagent has opened. " +
				"Package wireguard configures devices that only encrypted networks have",
			caught: [2]string{"services/netagent/internal/driver/bridge", "github.com/vishvananda/netlink"},
		}, {
			name: "firewall libraries only in the firewall packages", in: []string{"..."}, ban: firewallLibraries,
			but: []string{
				"services/natagent/internal/firewall/nflink", "services/natagent/internal/firewall/nftables",
				"services/natagent/internal/firewall/iptables", "services/natagent/internal/forwardpolicy",
				"services/natagent/internal/hostfirewall", "services/netagent/internal/dnssockets/redirect",
				"services/netagent/internal/portguard", "services/natagent/internal/egress/rules",
				"services/natagent/internal/egress/tables",
			},
			reason: "backends can be replaced only if no other package depends on the format of rules. In netagent, " +
				"package redirect adds rules in the namespaces of containers, where natagent has none, and package " +
				"portguard adds the elements of bridge ports during a launch, independently of the backend. " +
				"In natagent, packages rules and tables of egress policies keep their own tables with either backend",
			caught: [2]string{"services/natagent/internal/firewall", "github.com/google/nftables/expr"},
		}, {
			name: "D-Bus only in the firewalld package", in: []string{"..."},
			ban:    []string{"github.com/godbus/dbus/..."},
			but:    []string{"services/natagent/internal/firewalld"},
			reason: "a bus can belong to another host, a call can start services; package firewalld checks both",
			caught: [2]string{"services/natagent/internal/guard", "github.com/godbus/dbus/v5"},
		}, {
			name: "memdb and bbolt only in agent/state", in: []string{"..."}, ban: storeLibraries,
			but: []string{"agent/state"}, tests: true,
			reason: "the tests of agent/state check that disk and memory commit in one order, before the response",
			caught: [2]string{"services/netagent/internal/store", "go.etcd.io/bbolt/errors"},
		}, {
			name: "the DNS library only in the resolver", in: []string{"..."},
			ban:    []string{"github.com/miekg/dns/..."},
			but:    []string{"services/dnsagent/internal/resolver/...", "deploy/..."},
			reason: "a zone is data; only the resolver and its tests use the wire format",
			caught: [2]string{"services/dnsagent/internal/zone", "github.com/miekg/dns"},
		}, {
			name: "the DHCP library only in package dhcp", in: []string{"..."},
			ban:    []string{"github.com/insomniacslk/dhcp/..."},
			but:    []string{"services/netagent/internal/dhcp", "deploy/..."},
			reason: "package lease contains the state machine and its tests; only package dhcp uses the wire format",
			caught: [2]string{"services/netagent/internal/lease", "github.com/insomniacslk/dhcp/dhcpv4"},
		}, {
			name: "gRPC only in API packages", in: []string{"..."}, ban: []string{"google.golang.org/grpc/..."},
			but: []string{
				"services/*/internal/api/...", "services/cmd/...", "services/fleetagent/internal/etcd",
				"services/engine/internal/buildkit",
				"proto/faultrpc", "proto/noderpc", "agent/...", "ctl/client/...",
				"ctl/cmd/...", "proto/gen/...", "deploy/...",
			},
			reason: "all other packages return faults and domain types; proto/faultrpc converts them. Package " +
				"buildkit passes calls between Docker's clients and BuildKit, whose API is gRPC",
			caught: [2]string{"services/netagent", "google.golang.org/grpc/codes"},
		}, {
			name: "OpenTelemetry only in the tracing packages", in: []string{"..."},
			ban:    []string{"go.opentelemetry.io/..."},
			but:    []string{"agent/tracing", "agent/internal/traces", "agent/test/testcollector"},
			reason: "spans cost nothing without a collector, and its libraries can be replaced; see agent/tracing",
			caught: [2]string{"services/supervisor/internal/launch", "go.opentelemetry.io/otel"},
		}, {
			name: "no test packages in binaries", in: []string{"..."},
			but: append([]string{"deploy/..."}, testPackages...),
			ban: slices.Concat([]string{"testing", "testing/...", "pgregory.net/rapid/...",
				"go.uber.org/goleak/..."}, testPackages),
			reason: "binaries must not contain the fakes and shortcuts of tests",
			caught: [2]string{"services/netagent/internal/kernel", "agent/test/testns"},
		}, {
			name: "untrusted files only through package beneath",
			in: []string{"services/supervisor/internal/users", "services/supervisor/internal/mountpoint",
				"services/supervisor/internal/image/unpack"},
			ban: []string{"os", "os/...", "io/ioutil", "path/filepath", "syscall", "golang.org/x/sys/..."},
			reason: "images and containers control the paths below their files: os.Open follows symlinks to the " +
				"host, waits for FIFOs and leases, and opens devices",
			caught: [2]string{"services/supervisor/internal/users", "os"},
		}, {
			name: "launch and follow use no messages",
			in: []string{"services/supervisor/internal/launch", "services/supervisor/internal/follow",
				"services/supervisor/internal/session", "services/supervisor/internal/lives",
				"services/supervisor/internal/run"},
			ban:    []string{"proto/gen/...", "services/supervisor/internal/protoconv"},
			reason: "package agents converts the messages of the other services, package api those of clients",
			caught: [2]string{"services/supervisor/internal/launch", "proto/gen/fairlead/network/v1"},
		}, {
			name: "the tar-split library only in package tarsplit", in: []string{"..."},
			ban:    []string{"github.com/vbatts/tar-split/..."},
			but:    []string{"services/supervisor/internal/image/tarsplit"},
			reason: "its parser is a copy of archive/tar for records only; all other code uses archive/tar",
			caught: [2]string{"services/supervisor/internal/image/layers", "github.com/vbatts/tar-split/tar/asm"},
		}, {
			name: "no cgo", in: []string{"..."}, ban: []string{"C"}, tests: true,
			reason: "the binaries are static and are built with CGO_ENABLED=0 on any system",
			caught: [2]string{"services/supervisor/internal/cgroup", "C"},
		}, {
			name: "only slog and errors.Join", in: []string{"..."},
			ban: []string{"log", "github.com/sirupsen/logrus/...", "github.com/pkg/errors/...",
				"github.com/hashicorp/go-multierror/..."},
			reason: "all logs have one format, and all joined errors work with errors.Is",
			caught: [2]string{"agent/internal/server", "log"},
		},
	}

	for _, s := range services {
		all = append(all, importRule{
			name: s + " imports no other service", in: []string{"services/" + s + "/..."}, deep: true, tests: true,
			ban: []string{"services/...", "ctl/..."}, allow: []string{"services/" + s + "/..."},
			reason: "services share only proto, so that each can run, crash and be upgraded separately",
			caught: [2]string{"services/" + s, "services/another/store"},
		})
	}

	return all
}

// servicesOf returns the names of all services.
func servicesOf(g graph) []string {
	found := map[string]bool{}
	for _, p := range g.own() {
		if name, ok := strings.CutPrefix(p.ImportPath, "services/"); ok && first(name) != "cmd" {
			found[first(name)] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// forbids reports whether the rule forbids imports of the package name.
func (r importRule) forbids(name string) bool {
	if slices.Contains(r.allow, "std") && isStandard(name) {
		return false
	}
	return matchAny(r.ban, name) && !matchAny(r.allow, name)
}

// check returns one message for each import of p that breaks the rule.
func (r importRule) check(g graph, p *pkg) []string {
	if !matchAny(r.in, p.ImportPath) || matchAny(r.but, p.ImportPath) {
		return nil
	}

	var broken []string
	add := func(how string, imports []string) {
		for _, name := range imports {
			if r.forbids(name) {
				broken = append(broken, fmt.Sprintf("%s %s %s\n\trule: %s\n\treason: %s",
					p.ImportPath, how, name, r.name, r.reason))
			}
		}
	}

	add("imports", p.Imports)
	if r.tests {
		add("in its tests imports", slices.Concat(p.TestImports, p.XTestImports))
	}
	if r.deep {
		for name, via := range g.reach(p) {
			if r.forbids(name) {
				add("through "+via+" imports", []string{name})
			}
		}
	}

	slices.Sort(broken)
	return broken
}

// reach returns the indirect dependencies of p, each with the direct import that depends on it.
func (g graph) reach(p *pkg) map[string]string {
	via := map[string]string{}
	seen := map[string]bool{}
	for _, direct := range p.Imports {
		seen[direct] = true
	}

	for _, direct := range p.Imports {
		for queue := []string{direct}; len(queue) > 0; queue = queue[1:] {
			next, ok := g[queue[0]]
			if !ok {
				continue
			}
			for _, name := range next.Imports {
				if !seen[name] {
					seen[name], via[name] = true, direct
					queue = append(queue, name)
				}
			}
		}
	}
	return via
}

func TestImportRulesKept(t *testing.T) {
	g := load(t)
	for _, r := range importRules(servicesOf(g)) {
		for _, p := range g.own() {
			for _, line := range r.check(g, p) {
				t.Error(line)
			}
		}
	}
}

func TestImportRulesCatchTheirExamples(t *testing.T) {
	for _, r := range importRules([]string{"netagent", "dnsagent"}) {
		p := &pkg{ImportPath: r.caught[0], Imports: []string{"context", r.caught[1], "proto/gen/fairlead/dns/v1"}}
		found := strings.Join(r.check(graph{}, p), "\n")
		if !strings.Contains(found, r.caught[0]+" imports "+r.caught[1]) || !strings.Contains(found, r.reason) {
			t.Errorf("%s: got %q, want the import of %s by %s", r.name, found, r.caught[1], r.caught[0])
		}
		if strings.Contains(found, "context") {
			t.Errorf("%s: got a finding for context: %s", r.name, found)
		}

		indirect := &pkg{ImportPath: r.caught[0], Imports: []string{"example.org/innocent"}}
		between := graph{"example.org/innocent": {Imports: []string{r.caught[1]}}}
		found = strings.Join(r.check(between, indirect), "\n")
		if strings.Contains(found, "through example.org/innocent imports "+r.caught[1]) != r.deep {
			t.Errorf("%s: deep is %v, but an indirect import returns %q", r.name, r.deep, found)
		}

		tested := &pkg{ImportPath: r.caught[0], XTestImports: []string{r.caught[1]}}
		if found := r.check(graph{}, tested); (len(found) == 1) != r.tests {
			t.Errorf("%s: tests is %v, but an import in a test returns %q", r.name, r.tests, found)
		}
	}
}

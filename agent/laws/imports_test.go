package laws_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// importRule says what packages must not import.
type importRule struct {
	name   string
	reason string
	in     []string // the packages that it binds
	but    []string // those among them that it does not
	ban    []string // what they must not import
	allow  []string // what they may import all the same
	deep   bool     // nor may what they import, and so on
	tests  bool     // their tests are bound too

	caught [2]string // a package and an import of it that break the law, to show that it works
}

var (
	netlinkLibraries  = []string{"github.com/vishvananda/netlink/...", "github.com/vishvananda/netns/...", "github.com/mdlayher/netlink/..."}
	firewallLibraries = []string{"github.com/google/nftables/...", "github.com/coreos/go-iptables/...", "sigs.k8s.io/knftables/..."}
	storeLibraries    = []string{"github.com/hashicorp/go-memdb/...", "go.etcd.io/bbolt/..."}

	// purePackages are where the rules of the domain are. They are pure.
	purePackages = []string{
		"agent/config", "proto/fault", "proto/id", "agent/sources",
		"services/*/internal/ipam", "services/*/internal/network", "services/*/internal/frame", "services/*/internal/lease",
		"services/*/internal/publication", "services/*/internal/ruleset", "services/*/internal/hostport",
		"services/*/internal/registration", "services/*/internal/hostsfile", "services/*/internal/resolvconf", "services/*/internal/zone",
		"services/*/internal/container", "services/*/internal/saga",
	}
	identifiers = []string{"proto/fault", "proto/id", "agent/sources"}

	// testPackages are what tests share, suites and fakes among them. Their names say so.
	testPackages = []string{"agent/test/...", "services/*/internal/*test", "services/*/internal/*/*test", "services/*/internal/*/test*", "ctl/client/*test", "ctl/internal/*/*test"}
)

// laws gives all of them. Those about one service are made for each that there is.
func laws(services []string) []importRule {
	all := []importRule{
		{
			name: "the command line has no kernel, no store and no services", in: []string{"ctl/..."}, deep: true,
			ban:    slices.Concat(netlinkLibraries, firewallLibraries, storeLibraries, []string{"agent/state", "services/..."}),
			reason: "it runs anywhere, without privilege, and knows of a host only what the API answers",
			caught: [2]string{"ctl/internal/command/network", "github.com/vishvananda/netlink"},
		}, {
			name: "the frame knows no service", in: []string{"agent/..."},
			ban:    []string{"services/...", "ctl/...", "deploy/..."},
			reason: "it carries any service through the contract in agent/service; only the command chooses which",
			caught: [2]string{"agent/server", "services/netagent"},
		}, {
			name: "nobody imports a command or a test bench", in: []string{"..."}, but: []string{"services/cmd/...", "ctl/cmd/...", "deploy/..."}, tests: true,
			ban:    []string{"services/cmd/...", "ctl/cmd/...", "deploy/..."},
			reason: "commands only wire rooms together, and deploy only tries and packs them",
			caught: [2]string{"agent/server", "deploy/e2e"},
		}, {
			name: "the contract imports nothing of the house", in: []string{"proto/..."},
			ban:    []string{"agent/...", "ctl/...", "deploy/...", "services/..."},
			reason: "it is what others, in other languages too, must be able to use alone",
			caught: [2]string{"proto/gen/fairlead/dns/v1", "agent/state"},
		}, {
			name: "domain rooms import only the standard library, our identifiers and other domain rooms", in: purePackages,
			ban: []string{"..."}, allow: slices.Concat([]string{"std"}, identifiers, purePackages),
			reason: "they are pure, so that tables, golden files and properties can prove them without a machine around",
			caught: [2]string{"services/netagent/internal/ipam", "agent/state"},
		}, {
			name: "domain rooms touch nothing outside", in: purePackages,
			ban:    []string{"os", "os/...", "net/http/...", "net/rpc/...", "database/...", "plugin", "unsafe"},
			reason: "a rule that reads a file or starts a process cannot be proved by its inputs; let a door do that and hand in the bytes",
			caught: [2]string{"services/dnsagent/internal/resolvconf", "os/exec"},
		}, {
			name: "netlink only behind a service's one door", in: []string{"..."}, ban: netlinkLibraries, but: []string{"services/netagent/internal/kernel", "services/natagent/internal/conntrack", "services/natagent/internal/firewall/nflink", "services/netagent/internal/dnssockets/redirect"},
			reason: "interrupted dumps are retried in the door and nowhere else; whoever calls netlink beside it forgets to. The one room that " +
				"writes rules into containers' namespaces sends its transaction itself: it has no dumps, and the firewall library fails for descriptors above 1023; nflink is that library's socket without this fault",
			caught: [2]string{"services/netagent/internal/driver/bridge", "github.com/vishvananda/netlink"},
		}, {
			name: "firewall libraries only in their rooms", in: []string{"..."}, ban: firewallLibraries, but: []string{"services/natagent/internal/firewall/nflink", "services/natagent/internal/firewall/nftables", "services/natagent/internal/firewall/iptables", "services/natagent/internal/forwardpolicy", "services/natagent/internal/hostfirewall", "services/netagent/internal/dnssockets/redirect", "services/netagent/internal/portguard"},
			reason: "the backends can be exchanged only while nobody else knows how rules are written; netagent has one room for the rules that " +
				"lead to the sockets it opens in a container's namespace, where natagent has none, and one for the guard of bridge ports, " +
				"whose elements are part of a launch and of no backend",
			caught: [2]string{"services/natagent/internal/firewall", "github.com/google/nftables/expr"},
		}, {
			name: "D-Bus only in the room that speaks to firewalld", in: []string{"..."}, ban: []string{"github.com/godbus/dbus/..."}, but: []string{"services/natagent/internal/firewalld"},
			reason: "a bus may be another machine's, and a careless call starts services; that room knows whom it speaks to",
			caught: [2]string{"services/natagent/internal/guard", "github.com/godbus/dbus/v5"},
		}, {
			name: "memdb and bbolt only in the state room", in: []string{"..."}, ban: storeLibraries, but: []string{"agent/state"}, tests: true,
			reason: "that disk and memory commit in one order, before the answer, is proved there once for all",
			caught: [2]string{"services/netagent/internal/store", "go.etcd.io/bbolt/errors"},
		}, {
			name: "the DNS library only in the resolver", in: []string{"..."}, ban: []string{"github.com/miekg/dns/..."}, but: []string{"services/dnsagent/internal/resolver/...", "deploy/..."},
			reason: "a zone is data; the wire format is the resolver's business, and that of who tries it",
			caught: [2]string{"services/dnsagent/internal/zone", "github.com/miekg/dns"},
		}, {
			name: "the DHCP library only in its room", in: []string{"..."}, ban: []string{"github.com/insomniacslk/dhcp/..."}, but: []string{"services/netagent/internal/dhcp", "deploy/..."},
			reason: "what is said when is package lease's, and proved there; the wire format is nobody else's business",
			caught: [2]string{"services/netagent/internal/lease", "github.com/insomniacslk/dhcp/dhcpv4"},
		}, {
			name: "gRPC only at the edges", in: []string{"..."}, ban: []string{"google.golang.org/grpc/..."},
			but:    []string{"services/*/internal/api/...", "services/cmd/...", "proto/faultrpc", "agent/...", "ctl/client/...", "ctl/cmd/...", "proto/gen/...", "deploy/..."},
			reason: "rooms speak in faults and the domain's words; proto/faultrpc is the one translator",
			caught: [2]string{"services/netagent", "google.golang.org/grpc/codes"},
		}, {
			name: "nothing that tests need is in what is shipped", in: []string{"..."}, but: append([]string{"deploy/..."}, testPackages...),
			ban:    slices.Concat([]string{"testing", "testing/...", "pgregory.net/rapid/...", "go.uber.org/goleak/..."}, testPackages),
			reason: "a test's shortcuts must not be within reach of production code",
			caught: [2]string{"services/netagent/internal/kernel", "agent/test/testns"},
		}, {
			name: "untrusted content only through package beneath", in: []string{"services/supervisor/internal/users", "services/supervisor/internal/mountpoint",
				"services/supervisor/internal/image/unpack"},
			ban: []string{"os", "os/...", "io/ioutil", "path/filepath", "syscall", "golang.org/x/sys/..."},
			reason: "images and containers choose what a path below their files leads to: os.Open and its like follow a symlink to the host, " +
				"wait for a FIFO or a lease, and open devices",
			caught: [2]string{"services/supervisor/internal/users", "os"},
		}, {
			name: "no C", in: []string{"..."}, ban: []string{"C"}, tests: true,
			reason: "the binaries are static and build anywhere with CGO_ENABLED=0",
			caught: [2]string{"services/supervisor/internal/cgroup", "C"},
		}, {
			name: "one way to log and one to join errors", in: []string{"..."},
			ban:    []string{"log", "github.com/sirupsen/logrus/...", "github.com/pkg/errors/...", "github.com/hashicorp/go-multierror/..."},
			reason: "log/slog and errors.Join are the house's, and whoever reads the logs reads one format",
			caught: [2]string{"agent/server", "log"},
		},
	}
	for _, s := range services {
		all = append(all, importRule{
			name: s + " imports no other service", in: []string{"services/" + s + "/..."}, deep: true, tests: true,
			ban: []string{"services/...", "ctl/..."}, allow: []string{"services/" + s + "/..."},
			reason: "services meet in proto only, so that each can run, crash and be upgraded alone",
			caught: [2]string{"services/" + s, "services/another/store"},
		})
	}
	return all
}

// servicesOf names the services that there are.
func servicesOf(g graph) []string {
	found := map[string]bool{}
	for _, p := range g.own() {
		if name, ok := strings.CutPrefix(p.ImportPath, "services/"); ok && first(name) != "cmd" {
			found[first(name)] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// forbids tells whether a package that the law binds must not import another.
func (l importRule) forbids(name string) bool {
	if slices.Contains(l.allow, "std") && isStandard(name) {
		return false
	}
	return matchAny(l.ban, name) && !matchAny(l.allow, name)
}

// check gives one line for each import of p that breaks the law.
func (l importRule) check(g graph, p *pkg) []string {
	if !matchAny(l.in, p.ImportPath) || matchAny(l.but, p.ImportPath) {
		return nil
	}
	var broken []string
	add := func(how string, imports []string) {
		for _, name := range imports {
			if l.forbids(name) {
				broken = append(broken, fmt.Sprintf("%s %s %s\n\tlaw: %s\n\treason: %s", p.ImportPath, how, name, l.name, l.reason))
			}
		}
	}
	add("imports", p.Imports)
	if l.tests {
		add("in its tests imports", slices.Concat(p.TestImports, p.XTestImports))
	}
	if l.deep {
		for name, via := range g.reach(p) {
			if l.forbids(name) {
				add("through "+via+" imports", []string{name})
			}
		}
	}
	slices.Sort(broken)
	return broken
}

// reach gives every package that p needs but does not import itself, and which of its own imports
// leads there.
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

func TestTheLawsOfImportAreKept(t *testing.T) {
	g := load(t)
	for _, l := range laws(servicesOf(g)) {
		for _, p := range g.own() {
			for _, line := range l.check(g, p) {
				t.Error(line)
			}
		}
	}
}

func TestEachLawCatchesWhatItIsThereFor(t *testing.T) {
	for _, l := range laws([]string{"netagent", "dnsagent"}) {
		p := &pkg{ImportPath: l.caught[0], Imports: []string{"context", l.caught[1], "proto/gen/fairlead/dns/v1"}}
		found := strings.Join(l.check(graph{}, p), "\n")
		if !strings.Contains(found, l.caught[0]+" imports "+l.caught[1]) || !strings.Contains(found, l.reason) {
			t.Errorf("%s: %s importing %s is not caught: %q", l.name, l.caught[0], l.caught[1], found)
		}
		if strings.Contains(found, "context") {
			t.Errorf("%s: catches context too: %s", l.name, found)
		}
		indirect := &pkg{ImportPath: l.caught[0], Imports: []string{"example.org/innocent"}}
		between := graph{"example.org/innocent": {Imports: []string{l.caught[1]}}}
		if found := strings.Join(l.check(between, indirect), "\n"); strings.Contains(found, "through example.org/innocent imports "+l.caught[1]) != l.deep {
			t.Errorf("%s: deep is %v, but an import through another package gives %q", l.name, l.deep, found)
		}
		tested := &pkg{ImportPath: l.caught[0], XTestImports: []string{l.caught[1]}}
		if found := l.check(graph{}, tested); (len(found) == 1) != l.tests {
			t.Errorf("%s: tests is %v, but an import in a test gives %q", l.name, l.tests, found)
		}
	}
}

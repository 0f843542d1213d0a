package egress_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/egress"
)

func parse(t *testing.T, values ...string) egress.Policy {
	t.Helper()
	p, err := egress.Parse(values)
	if err != nil {
		t.Fatalf("%q: %v", values, err)
	}
	return p
}

func TestParse(t *testing.T) {
	for text, want := range map[string]egress.Rule{
		"github.com":      {Kind: egress.Domain, Name: "github.com"},
		"GitHub.COM.:443": {Kind: egress.Domain, Name: "github.com", Ports: egress.Ports{First: 443, Last: 443}},
		"*.npmjs.org:443/tcp": {Kind: egress.Domain, Name: "*.npmjs.org", Ports: egress.Ports{Protocol: egress.TCP,
			First: 443, Last: 443}},
		"bücher.example":   {Kind: egress.Domain, Name: "xn--bcher-kva.example"},
		"_srv._tcp.a.test": {Kind: egress.Domain, Name: "_srv._tcp.a.test"},
		"db:5432":          {Kind: egress.Domain, Name: "db", Ports: egress.Ports{First: 5432, Last: 5432}},
		"10.0.0.5":         {Kind: egress.Prefix, Prefix: netip.MustParsePrefix("10.0.0.5/32")},
		"10.0.0.0/8":       {Kind: egress.Prefix, Prefix: netip.MustParsePrefix("10.0.0.0/8")},
		"10.0.0.0/8:80-90": {Kind: egress.Prefix, Prefix: netip.MustParsePrefix("10.0.0.0/8"),
			Ports: egress.Ports{First: 80, Last: 90}},
		"10.0.0.0/8/icmp": {Kind: egress.Prefix, Prefix: netip.MustParsePrefix("10.0.0.0/8"),
			Ports: egress.Ports{Protocol: egress.ICMP}},
		"!192.0.2.1:53/udp": {Deny: true, Kind: egress.Prefix, Prefix: netip.MustParsePrefix("192.0.2.1/32"),
			Ports: egress.Ports{Protocol: egress.UDP, First: 53, Last: 53}},
		"2001:db8::1": {Kind: egress.Prefix, Prefix: netip.MustParsePrefix("2001:db8::1/128")},
		"host.:80":    {Kind: egress.Domain, Name: "host", Ports: egress.Ports{First: 80, Last: 80}},
		"intrnet.":    {Kind: egress.Domain, Name: "intrnet"},
		"!all:25/tcp": {Deny: true, Kind: egress.All, Ports: egress.Ports{Protocol: egress.TCP, First: 25,
			Last: 25}},
		"container:db:5432/tcp": {Kind: egress.Container, Name: "db", Ports: egress.Ports{Protocol: egress.TCP,
			First: 5432, Last: 5432}},
		"container:Web_1/udp": {Kind: egress.Container, Name: "Web_1", Ports: egress.Ports{Protocol: egress.UDP}},
		"!network:back.end":   {Deny: true, Kind: egress.Network, Name: "back.end"},
		"label:app":           {Kind: egress.Label, Name: "app"},
		"label:app=web:80-90": {Kind: egress.Label, Name: "app=web", Ports: egress.Ports{First: 80, Last: 90}},
		"label:k8s.io/name":   {Kind: egress.Label, Name: "k8s.io/name"},
		"label:k8s.io/name=x/icmp": {Kind: egress.Label, Name: "k8s.io/name=x",
			Ports: egress.Ports{Protocol: egress.ICMP}},
		"label:k8s.io/name/tcp": {Kind: egress.Label, Name: "k8s.io/name",
			Ports: egress.Ports{Protocol: egress.TCP}},
		"label:empty=":    {Kind: egress.Label, Name: "empty="},
		"container.:80":   {Kind: egress.Domain, Name: "container", Ports: egress.Ports{First: 80, Last: 80}},
		"[2001:db8::]/32": {},
		"[2001:db8::/32]:443": {Kind: egress.Prefix, Prefix: netip.MustParsePrefix("2001:db8::/32"),
			Ports: egress.Ports{First: 443, Last: 443}},
		"[2001:db8::1]/udp": {Kind: egress.Prefix, Prefix: netip.MustParsePrefix("2001:db8::1/128"),
			Ports: egress.Ports{Protocol: egress.UDP}},
		"host:8080": {Kind: egress.Host, Ports: egress.Ports{First: 8080, Last: 8080}},
		"Internet":  {Kind: egress.Internet},
		"internet:443/udp": {Kind: egress.Internet, Ports: egress.Ports{Protocol: egress.UDP, First: 443,
			Last: 443}},
		"lan":              {Kind: egress.LAN},
		"metadata":         {Kind: egress.Metadata},
		"dns":              {Kind: egress.DNS},
		"all":              {Kind: egress.All},
		"observe":          {Kind: egress.Observe},
		"!tracker.example": {Deny: true, Kind: egress.Domain, Name: "tracker.example"},
		"!metadata":        {Deny: true, Kind: egress.Metadata},
		" spaces.example ": {Kind: egress.Domain, Name: "spaces.example"},
		"a.test/sctp":      {Kind: egress.Domain, Name: "a.test", Ports: egress.Ports{Protocol: egress.SCTP}},
	} {
		p, err := egress.Parse([]string{text})
		if want == (egress.Rule{}) {
			if err == nil {
				t.Errorf("%q: got %v, want an error", text, p)
			}
			continue
		}
		if err != nil || len(p) != 1 || p[0] != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, p, err, want)
		}
	}
}

func TestParseRejects(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "is empty",
		"!":                             "is empty",
		"*":                             "use internet or all",
		"a.*.test":                      "only as the first label",
		"a.test:":                       "no port after the colon",
		"a.test:0":                      "invalid port",
		"a.test:70000":                  "invalid port",
		"a.test:90-80":                  "invalid port",
		"a.test:443/":                   "no protocol after the slash",
		"a.test:443/foo":                `unknown protocol "foo"`,
		"a.test:1/icmp":                 "icmp has no ports",
		"10.0.0.1/8":                    "must be 10.0.0.0/8",
		"10.0.0.300":                    "not a name and not an address",
		"fe80::1%eth0":                  "",
		"::ffff:1.2.3.4":                "plain IPv4 or IPv6",
		"a b.test":                      "not a valid name",
		"-a.test":                       "not a valid name",
		"!all":                          "denied already",
		"observe:443":                   "observe has no ports",
		"!dns":                          "without a rule",
		"none,a.test":                   "cannot be combined",
		"container:":                    "not a valid name",
		"container:-x":                  "not a valid name",
		"container:db:":                 "no port after the colon",
		"container:db/":                 "no protocol after the slash",
		"network:a b":                   "not a valid name",
		"label:=x":                      "is not a label",
		"label:a=b=c":                   "is not a label",
		"contaner:db":                   "did you mean container:db?",
		"lable:app=web":                 "did you mean label:app=web?",
		"networks:front":                "did you mean network:front?",
		"[a.test:443":                   "",
		"[::1]443":                      "brackets are for an IPv6 address",
		"[2001:db8::]/32":               "inside the brackets: [2001:db8::/32]:443",
		"https://a.test/":               "is a URL, write a name and a port",
		"a.test:443,80":                 `rule "80": is a port without a peer`,
		":8000-8010":                    "is a port without a peer",
		"tcp:443":                       "tcp is a protocol, write it after a peer: all/tcp; for the name, write tcp.",
		"icmp":                          "icmp is a protocol",
		"any":                           "use all for everything",
		"localhost":                     "use host for the host",
		strings.Repeat("a.test,", 1001): "at most 1000",
	} {
		if p, err := egress.Parse([]string{text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: got %v, %v, want an error with %q", text, p, err, want)
		}
	}
}

func TestParseReturnsAllErrors(t *testing.T) {
	_, err := egress.Parse([]string{"a.test:0,*", "10.0.0.1/8", "ok.test"})
	for _, want := range []string{"invalid port", "use internet", "must be 10.0.0.0/8"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: has no %q", err, want)
		}
	}
}

func TestNoPolicy(t *testing.T) {
	var none egress.Policy
	if none.Restricts() || !none.AllowsName("any.test") || none.Strings() != nil {
		t.Error("a container without a policy must reach everything")
	}
	if p := parse(t, "none"); p == nil || !p.Restricts() || p.AllowsName("any.test") ||
		!slices.Equal(p.Strings(), []string{"none"}) {
		t.Errorf("none: %v", p)
	}
}

func TestRestricts(t *testing.T) {
	for text, want := range map[string]bool{"all": false, "observe": true, "none": true, "internet": true, "dns": true,
		"all,!a.test": true, "all:443": true, "a.test": true, "a.test,all": false} {
		if got := parse(t, text).Restricts(); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

func TestAllowsName(t *testing.T) {
	for text, names := range map[string]map[string]bool{
		"github.com:443,*.npmjs.org": {"github.com": true, "GITHUB.com.": true, "api.github.com": false,
			"registry.npmjs.org": true, "a.b.npmjs.org": true, "npmjs.org": false, "evilnpmjs.org": false, "": false},
		"internet,!bad.test":              {"bad.test": false, "good.test": true, "a.bad.test": true},
		"internet,!bad.test:25":           {"bad.test": true},
		"10.0.0.0/8":                      {"a.test": false},
		"10.0.0.0/8,dns":                  {"a.test": true},
		"lan":                             {"printer.lan": true},
		"a.test,host":                     {"b.test": false, "a.test": true},
		"*.deep.test,!secret.deep.test":   {"x.deep.test": true, "secret.deep.test": false, "y.secret.deep.test": true},
		"*.deep.test,!*.secret.deep.test": {"y.secret.deep.test": false},
	} {
		for name, want := range names {
			if got := parse(t, text).AllowsName(name); got != want {
				t.Errorf("%s: %q: got %v, want %v", text, name, got, want)
			}
		}
	}
}

func TestRulesFor(t *testing.T) {
	p := parse(t, "a.test:443,*.test:80,10.0.0.0/8,!a.test:22,b.test")
	if got := p.RulesFor("A.test.").Strings(); !slices.Equal(got, []string{"a.test:443", "*.test:80", "!a.test:22"}) {
		t.Errorf("got %v", got)
	}
}

func TestRanges(t *testing.T) {
	for text, want := range map[string]bool{"8.8.8.8": true, "10.1.2.3": false, "172.31.0.1": false, "172.32.0.1": true,
		"169.254.169.254": false, "127.0.0.1": false, "64:ff9b::a01:101": false, "64:ff9b::a9fe:a9fe": false,
		"64:ff9b::c633:6401": true, "2002:c0a8:101::1": false, "2002:c633:6401::1": true, "fec0::1": false,
		"::10.0.0.1": false, "239.1.1.1": false, "255.255.255.255": false, "2001:db8::1": true,
		"fd00:ec2::254": false, "fe80::1": false, "::1": false, "::ffff:10.0.0.1": false, "ff02::1": false} {
		if got := egress.IsPublic(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
	for _, m := range egress.MetadataAddresses() {
		if egress.IsPublic(m.Addr()) {
			t.Errorf("%s is public", m)
		}
	}
}

func TestParseIngress(t *testing.T) {
	got, err := egress.ParseIngress([]string{"container:web:80", "lan,host,10.0.0.0/8:22/tcp,!internet", "observe"})
	if err != nil || !slices.Equal(got.Strings(), []string{"container:web:80", "lan", "host", "10.0.0.0/8:22/tcp",
		"!internet", "observe"}) {
		t.Errorf("got %v, %v", got, err)
	}
	if !slices.Equal(parse(t, "network:bb,container:aa,!network:bb:80,lan").Peers(), []string{"container:aa",
		"network:bb"}) {
		t.Error("peers")
	}
	for text, want := range map[string]string{"web:80": "did you mean container:web?", "a.test": "no domain names",
		"*.a.test": "no domain names", "dns": "not a source", "metadata": "not a source", "intrnet": "internet"} {
		if _, err := egress.ParseIngress([]string{text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]egress.Kind{"container:db": egress.Container, "label:a=b": egress.Label} {
		if kind, _, err := egress.ParsePeer(text); kind != want || err != nil {
			t.Errorf("%s: got %v, %v", text, kind, err)
		}
	}
	if _, _, err := egress.ParsePeer("db"); err == nil {
		t.Error("db is a peer")
	}
	labels := map[string]string{"a": "b", "empty": ""}
	for text, want := range map[string]bool{"a": true, "a=b": true, "a=c": false, "empty": true, "empty=": true,
		"other": false, "a=": false} {
		if egress.MatchesLabel(text, labels) != want {
			t.Errorf("label %s: want %v", text, want)
		}
	}
}

func TestDecide(t *testing.T) {
	to := func(addr string, port uint16, more ...func(*egress.Target)) egress.Target {
		target := egress.Target{Addr: netip.MustParseAddr(addr), Protocol: egress.TCP, Port: port}
		for _, m := range more {
			m(&target)
		}
		return target
	}
	host := func(t *egress.Target) { t.Host = true }
	udp := func(t *egress.Target) { t.Protocol = egress.UDP }
	is := func(name string) func(*egress.Target) {
		return func(t *egress.Target) { t.Has = func(r egress.Rule) bool { return r.Name == name } }
	}
	for _, c := range []struct {
		rules  string
		target egress.Target
		want   egress.Decision
	}{
		{"none", to("192.0.2.1", 80), egress.Decision{Reason: "policy"}},
		{"all", to("169.254.169.254", 80), egress.Decision{Allowed: true, Rule: "all"}},
		{"lan", to("169.254.169.254", 80), egress.Decision{Reason: "metadata"}},
		{"lan,metadata", to("169.254.169.254", 80), egress.Decision{Allowed: true, Rule: "metadata"}},
		{"observe", to("169.254.169.254", 80), egress.Decision{Reason: "metadata"}},
		{"observe", to("192.0.2.1", 80), egress.Decision{Allowed: true, Rule: "observe"}},
		{"metadata,!169.254.0.0/16:80", to("169.254.169.254", 80),
			egress.Decision{Rule: "!169.254.0.0/16:80", Reason: "rule"}},
		{"internet,!192.0.2.0/24:80", to("192.0.2.1", 80), egress.Decision{Rule: "!192.0.2.0/24:80", Reason: "rule"}},
		{"internet,!192.0.2.0/24:80", to("192.0.2.1", 81), egress.Decision{Allowed: true, Rule: "internet"}},
		{"internet", to("10.0.0.1", 80), egress.Decision{Reason: "policy"}},
		{"internet", to("192.0.2.1", 80, host), egress.Decision{Reason: "policy"}},
		{"host:80", to("192.0.2.1", 80, host), egress.Decision{Allowed: true, Rule: "host:80"}},
		{"internet,a.test", to("192.0.2.1", 53, udp), egress.Decision{Reason: "dns"}},
		{"a.test:443/tcp", to("192.0.2.1", 443, is("a.test")), egress.Decision{Allowed: true, Rule: "a.test:443/tcp"}},
		{"a.test:443/tcp", to("192.0.2.1", 443, is("a.test"), udp), egress.Decision{Reason: "policy"}},
		{"container:db", to("10.0.0.2", 1, is("db")), egress.Decision{Allowed: true, Rule: "container:db"}},
		{"network:nn", to("10.0.0.1", 1, is("nn"), host), egress.Decision{Reason: "policy"}},
		{"lan,!label:x=y", to("10.0.0.2", 1, is("x=y")), egress.Decision{Rule: "!label:x=y", Reason: "rule"}},
	} {
		if got := parse(t, c.rules).Decide(c.target); got != c.want {
			t.Errorf("%s to %v:%d: got %+v, want %+v", c.rules, c.target.Addr, c.target.Port, got, c.want)
		}
	}
}

func TestMistypedWords(t *testing.T) {
	for text, word := range map[string]string{"intrnet": "internet", "Internt": "internet", "intranet": "internet",
		"metdata": "metadata", "obsrve": "observe", "hots": "host", "hst": "host", "hosts": "host", "noen": "none",
		"nonee": "none", "lna": "lan", "laan": "lan", "dsn": "dns", "dnss": "dns", "lal": "all", "alll": "all"} {
		_, err := egress.Parse([]string{text})
		if err == nil || !strings.Contains(err.Error(), "did you mean "+word+"?") {
			t.Errorf("%s: got %v, want a question for %s", text, err, word)
		}
		p := parse(t, text+".")
		if p[0].Kind != egress.Domain || p[0].Name != strings.ToLower(text) {
			t.Errorf("%s.: got %v, want the name", text, p)
		}
	}
	for _, text := range []string{"db", "api", "app", "web", "post", "node", "note", "land", "plan", "dn",
		"one", "wan", "most", "intrnet.test", "smtp", "interface", "ns"} {
		if p := parse(t, text); p[0].Name != text || p.Strings()[0] != text {
			t.Errorf("%s: got %v", text, p)
		}
	}
}

// FuzzParse checks that what a rule prints is parsed to the same rule.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"a.test:443/tcp", "!*.b.test", "[2001:db8::/32]:1-2/udp", "10.0.0.0/8/icmp", "none",
		"lan,dns",
		"bücher.example", "_x.test", "host.", "none.", "lna.", "!all:25",
		"container:db:1/tcp", "label:a/b=c", "label:a/tcp", "label.:1", "network:xx/udp", "0\u00ad"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := egress.Parse([]string{text})
		if err != nil {
			return
		}
		again, err := egress.Parse(p.Strings())
		if err != nil || !slices.Equal(p, again) {
			t.Errorf("%q: %v, again %v, %v", text, p, again, err)
		}
	})
}

func TestSuggest(t *testing.T) {
	got := egress.Suggest([]egress.Connection{
		{Name: "a.test", Address: "192.0.2.1", Protocol: "tcp", Port: 443},
		{Name: "a.test", Address: "192.0.2.2", Protocol: "tcp", Port: 443},
		{Address: "2001:db8::1", Protocol: "udp", Port: 123},
		{Address: "192.0.2.9", Protocol: "icmp"},
		{Address: "192.0.2.9", Protocol: "47"},
		{Address: "invalid IP", Protocol: "tcp"},
	})
	want := []string{"192.0.2.9", "192.0.2.9/icmp", "[2001:db8::1]:123/udp", "a.test:443/tcp"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := egress.Parse(got); err != nil {
		t.Error(err)
	}
}

// TestNameableLabels checks which labels rules can name, and their limits.
func TestNameableLabels(t *testing.T) {
	got, whole := egress.NameableLabels(map[string]string{"app": "web", "com.example/x": "a b", "empty": "",
		"-bad":       "x",
		"with space": "y"})
	want := map[string]string{"app": "web", "com.example/x": "*", "empty": ""}
	if !whole || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, whole, want)
	}
	if got, whole := egress.NameableLabels(map[string]string{"_": ""}); got != nil || !whole {
		t.Errorf("got %v, %v, want none", got, whole)
	}

	many := map[string]string{"long": strings.Repeat("x", egress.MaxLabelBytes)}
	for i := range egress.MaxLabels + 1 {
		many[fmt.Sprintf("a%03d", i)] = "1"
	}
	got, whole = egress.NameableLabels(many)
	if _, last := got["a128"]; whole || len(got) != egress.MaxLabels || last || got["long"] != "" {
		t.Errorf("got %d labels, whole: %v", len(got), whole)
	}
}

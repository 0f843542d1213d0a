package dnsrecord_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/dnsrecord"
	"github.com/fairlead/fairlead/proto/fault"
)

func parse(t testing.TB, text string) dnsrecord.Record {
	t.Helper()
	r, err := dnsrecord.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestContradictionsFail(t *testing.T) {
	const base = "a.test A 10.0.0.1;alias.test CNAME a.test;one.test CNAME two.test;two.test CNAME three.test;" +
		"network=n up.test CNAME one.test"
	for text, want := range map[string]string{
		"a.test A 10.0.0.2":                      "",
		"a.test 5 A 10.0.0.1":                    "record a.test A: 10.0.0.1 already exists",
		"network=n a.test A 10.0.0.1":            "",
		"a.test CNAME b.test":                    "this one has A 10.0.0.1",
		"alias.test A 10.0.0.1":                  "this one has CNAME a.test",
		"alias.test TXT x":                       "this one has CNAME a.test",
		"alias.test CNAME b.test":                "a name has one CNAME record, this one has a.test",
		"self.test CNAME self.test":              "the aliases are a loop: self.test -> self.test",
		"three.test CNAME one.test":              "a loop: three.test -> one.test -> two.test -> three.test",
		"three.test CNAME other.test":            "",
		"network=n three.test CNAME up.test":     "a loop: three.test -> up.test -> one.test -> two.test -> three.test",
		"*.wild.test CNAME x.wild.test":          "a loop: *.wild.test -> x.wild.test",
		"*.wild.test CNAME wild.test":            "",
		"network=other three.test CNAME up.test": "", // up.test is of another network
	} {
		table := &dnsrecord.Table{}
		for one := range strings.SplitSeq(base, ";") {
			if err := table.Add(parse(t, one)); err != nil {
				t.Fatal(err)
			}
		}
		err := table.Add(parse(t, text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestChainsAndNamesAreBounded(t *testing.T) {
	table := &dnsrecord.Table{}
	var err error
	for i := 0; err == nil && i < 100; i++ { // from the end of the chain to its beginning
		err = table.Add(parse(t, fmt.Sprintf("n%d.test CNAME n%d.test", i+1, i)))
	}
	if err == nil || !strings.Contains(err.Error(), "more than 8 aliases in a row") {
		t.Errorf("got %v", err)
	}
	for i := range 65 {
		err = table.Add(parse(t, fmt.Sprintf("many.test A 10.0.0.%d", i)))
	}
	if !fault.Is(err, fault.Exhausted) {
		t.Errorf("got %v", err)
	}
}

func TestFindPrefersTheNearestName(t *testing.T) {
	var all []dnsrecord.Record
	for _, text := range []string{"*.test A 10.0.0.1", "*.dev.test A 10.0.0.2", "a.dev.test A 10.0.0.3",
		"network=n *.test A 10.1.0.1"} {
		all = append(all, parse(t, text))
	}
	table := dnsrecord.NewTable(all)
	for name, want := range map[string]string{
		"test": "", "x.test": "10.0.0.1", "dev.test": "10.0.0.1", "x.dev.test": "10.0.0.2", "y.x.dev.test": "10.0.0.2",
		"a.dev.test": "10.0.0.3", "b.a.dev.test": "10.0.0.2", "other": "", "": "",
	} {
		got := ""
		for _, e := range table.Find("", name) {
			got += e.Data
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := table.Find("n", "a.dev.test"); len(got) != 1 || got[0].Data != "10.1.0.1" {
		t.Errorf("on the network: got %v", got)
	}
	if got := table.Find("other", "a.dev.test"); got != nil {
		t.Errorf("on another network: got %v", got)
	}
}

func TestForwards(t *testing.T) {
	for text, want := range map[string]string{
		"Corp.Example. 10.0.0.53":                          "corp.example 10.0.0.53",
		". tls://1.1.1.1#Cloudflare-DNS.com tls://9.9.9.9": ". tls://1.1.1.1#cloudflare-dns.com tls://9.9.9.9",
		"network=n .corp 10.0.0.53:5353 [fd00::1]:5353":    "network=n corp 10.0.0.53:5353 [fd00::1]:5353",
		"corp fd00::1 tls://[fd00::2]#a.b":                 "corp fd00::1 tls://[fd00::2]#a.b",
		"corp tls://10.0.0.1:53":                           "corp tls://10.0.0.1:53",
		"10.0.0.0/8 10.0.0.53":                             "10.in-addr.arpa 10.0.0.53",
		"fd00::/16 10.0.0.53":                              "0.0.d.f.ip6.arpa 10.0.0.53",
		"corp ::ffff:10.0.0.1":                             "corp 10.0.0.1",
	} {
		f, err := dnsrecord.ParseForward(text)
		if err != nil || f.String() != want {
			t.Errorf("%s: got %v, %v, want %s", text, f, err, want)
		}
	}
	for text, want := range map[string]string{
		"corp":                                "is not [network=NAME] DOMAIN SERVER",
		"corp dns.example":                    "is not ADDRESS[:PORT]",
		"corp 10.0.0.1:0":                     "is not ADDRESS[:PORT]",
		"corp 10.0.0.1:70000":                 "is not ADDRESS[:PORT]",
		"corp 10.0.0.1#name":                  "write tls:// before the address",
		"corp tls://10.0.0.1#":                "has no valid name after #",
		"corp https://10.0.0.1":               "is not ADDRESS[:PORT]",
		"corp 0.0.0.0":                        "is not the address of a server",
		"corp 224.0.0.1":                      "is not the address of a server",
		"corp 10.0.0.1 10.0.0.1:53":           "server 10.0.0.1 already exists",
		"corp 10.0.0.1 10.0.0.2 10.0.0.3 ::1": "4 servers exceed the limit of 3",
		"*.corp 10.0.0.1":                     "* must be the whole first label",
		"10.0.0.0/12 10.0.0.1":                "does not end at a label",
		"10.0.0.1 10.0.0.1":                   "is an address, not a domain",
	} {
		if f, err := dnsrecord.ParseForward(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want %q", text, f, err, want)
		}
	}
}

// TestForwardsProperty compares Find with a search of all domains.
func TestForwardsProperty(t *testing.T) {
	label := rapid.SampledFrom([]string{"a", "b", "aa"})
	domain := rapid.Custom(func(t *rapid.T) string {
		if all := rapid.SliceOfN(label, 0, 3).Draw(t, "labels"); len(all) > 0 {
			return strings.Join(all, ".")
		}
		return "."
	})
	rapid.Check(t, func(t *rapid.T) {
		domains := rapid.SliceOfDistinct(domain, rapid.ID).Draw(t, "domains")
		var all []dnsrecord.Forward
		for _, d := range domains {
			all = append(all, dnsrecord.Forward{Domain: d})
		}
		name := strings.Join(rapid.SliceOfN(label, 1, 4).Draw(t, "name"), ".")
		want := ""
		for _, d := range domains {
			if (d == "." || d == name || strings.HasSuffix(name, "."+d)) && (want == "" || want == "." || d != "." &&
				len(d) > len(want)) {
				want = d
			}
		}
		if f, ok := dnsrecord.NewForwards(all).Find("", name); f.Domain != want || ok != (want != "") {
			t.Fatalf("%s of %v: got %q, want %q", name, domains, f.Domain, want)
		}
	})
}

// TestTableProperty adds random records: whatever is accepted has no CNAME record with others, no loop of
// aliases, and no duplicate.
func TestTableProperty(t *testing.T) {
	names := []string{"a.test", "b.test", "c.test", "*.test", "x.a.test"}
	rapid.Check(t, func(t *rapid.T) {
		table, byName := &dnsrecord.Table{}, map[string][]dnsrecord.Record{}
		for range rapid.IntRange(0, 12).Draw(t, "n") {
			name := rapid.SampledFrom(names).Draw(t, "name")
			text := name + " CNAME " + rapid.SampledFrom(names[:3]).Draw(t, "target")
			if rapid.Bool().Draw(t, "address") {
				text = name + " A 10.0.0." + fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "host"))
			}
			r, err := dnsrecord.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if table.Add(r) == nil {
				byName[r.Name] = append(byName[r.Name], r)
			}
		}

		for name, all := range byName {
			if slices.ContainsFunc(all, func(r dnsrecord.Record) bool { return r.Type == dnsrecord.CNAME }) &&
				len(all) > 1 {
				t.Fatalf("%s has %v", name, all)
			}
		}
		for _, start := range names[:3] {
			name, steps := start, 0
			for found := table.Find("", name); len(found) > 0 && found[0].Type == dnsrecord.CNAME; steps++ {
				if steps > len(names) {
					t.Fatalf("%s does not end: %v", start, byName)
				}
				name = found[0].Target
				found = table.Find("", name)
			}
		}
	})
}

package egress_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/proto/egress"
)

func TestAdvice(t *testing.T) {
	const (
		nothing  = " allows nothing, "
		onlyDeny = "the rules only deny, and what no rule allows is refused too; add what is allowed, such as all"
		loopback = " has no effect, a container always reaches itself; use host for the host"
	)
	for text, want := range map[string][]string{
		"github.com:443,*.npmjs.org,!all:25": nil, "none": nil, "all": nil, "observe": nil, "internet,lan,host": nil,
		"all,!metadata": nil, "lan,!10.0.0.0/8": nil, "a.test,a.test/quic": nil, "a.test,a.test:443/any-name": nil,
		"169.254.0.0/16": nil, "observe,metadata": nil, "internet,8.8.8.8:53": nil,
		"!lan,!a.test":                 {onlyDeny},
		"internet,!internet":           {"rule internet" + nothing + "!internet denies all of it"},
		"b.a.test,lan,!*.a.test":       {"rule b.a.test" + nothing + "!*.a.test denies all of it"},
		"all,!all:25,smtp.test:25/tcp": {"rule smtp.test:25/tcp" + nothing + "!all:25 denies all of it"},
		"metadata,all,!metadata":       {"rule metadata" + nothing + "!metadata denies all of it"},
		"10.0.0.0/8,10.1.0.0/16:80":    {"rule 10.1.0.0/16:80 adds nothing to 10.0.0.0/8"},
		"lan,lan":                      {"rule lan adds nothing to lan"},
		"all,!lan:80/tcp,!lan:80":      nil,
		"all,!lan:80,!lan:80/tcp":      {"rule !lan:80/tcp adds nothing to !lan:80"},
		"lan,169.254.169.254":          {"rule 169.254.169.254" + nothing + "metadata services need a rule: metadata"},
		"a.test,1.1.1.1:53": {"rule 1.1.1.1:53" + nothing +
			"with names in the rules a container can use only the embedded name server; set its servers with --dns"},
		"127.0.0.1:80,lan": {"rule 127.0.0.1:80" + loopback},
	} {
		if got := parse(t, text).Advice(); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// TestAdviceIsTrue checks that a rule which allows or adds nothing can be left out.
func TestAdviceIsTrue(t *testing.T) {
	addresses := []string{"10.0.0.1", "192.0.2.1", "198.51.100.1", "169.254.169.254", "2001:db8::1", "fd00::1"}
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rules(), 1, 6).Draw(t, "rules")
		p, err := egress.Parse(texts)
		if err != nil {
			t.Fatal(err)
		}
		advice := p.Advice()
		if strings.HasPrefix(strings.Join(advice, ""), "the rules only deny") {
			advice = nil
		}
		for _, line := range advice {
			rule := strings.Fields(line)[1]
			at := slices.Index(p.Strings(), rule)
			if slices.Contains(p.Strings()[at+1:], rule) { // the later one is superfluous
				continue
			}
			rest := slices.Delete(slices.Clone(p), at, at+1)
			known := rapid.SampledFrom([]string{"a.test", "b.a.test", "c.test"}).Draw(t, "name")
			address := rapid.SampledFrom(addresses).Draw(t, "address")
			target := egress.Target{Addr: netip.MustParseAddr(address),
				Protocol: rapid.SampledFrom([]egress.Protocol{egress.TCP, egress.UDP, egress.SCTP}).Draw(t, "protocol"),
				Port:     rapid.SampledFrom([]uint16{80, 443, 8005}).Draw(t, "port"),
				Host:     rapid.Bool().Draw(t, "host"),
				Has:      func(r egress.Rule) bool { return len(egress.Policy{r}.RulesFor(known)) > 0 }}
			if was, is := p.Decide(target).Allowed, rest.Decide(target).Allowed; was != is && len(rest) > 0 {
				t.Fatalf("%v: %q, but without it %+v is %v", texts, line, target, is)
			}
		}
	})
}

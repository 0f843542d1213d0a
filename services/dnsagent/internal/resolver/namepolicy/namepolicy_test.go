package namepolicy

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fairlead/fairlead/proto/egress"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// natagent records calls.
type natagent struct {
	natv1.PolicyServiceClient
	learned []*natv1.LearnAddressesRequest
	refused []string
	err     error

	answerable time.Duration
}

func (n *natagent) LearnAddresses(_ context.Context, req *natv1.LearnAddressesRequest,
	_ ...grpc.CallOption) (*natv1.LearnAddressesResponse, error) {
	n.learned = append(n.learned, req)
	if n.answerable == 0 {
		return &natv1.LearnAddressesResponse{}, n.err
	}
	return &natv1.LearnAddressesResponse{Answerable: durationpb.New(n.answerable)}, n.err
}

func (n *natagent) RecordRefusedName(_ context.Context, req *natv1.RecordRefusedNameRequest,
	_ ...grpc.CallOption) (*natv1.RecordRefusedNameResponse, error) {
	n.refused = append(n.refused, req.GetName())
	return &natv1.RecordRefusedNameResponse{}, n.err
}

func policyOf(t *testing.T, n *natagent, rules string) *Policy {
	t.Helper()
	parsed, err := egress.Parse([]string{rules})
	if err != nil {
		t.Fatal(err)
	}
	p := New("owner", parsed, n, new(Session), slog.New(slog.DiscardHandler))
	p.report = func(f func()) { f() }
	return p
}

// answerOf returns a message with a question and the given records.
func answerOf(t *testing.T, name string, records ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	return m
}

func TestAllowsRecordsRefusals(t *testing.T) {
	n := &natagent{}
	p := policyOf(t, n, "a.test,*.b.test")
	for name, want := range map[string]bool{"A.test.": true, "x.b.test.": true, "b.test.": false, "c.test.": false,
		"1.2.0.192.in-addr.arpa.": false} {
		if got := p.Allows(name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	slices.Sort(n.refused)
	if !slices.Equal(n.refused, []string{"b.test", "c.test"}) {
		t.Errorf("recorded %v", n.refused)
	}
}

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		name    string
		records []string
		want    string // addresses and the TTL
	}{
		{"one address", []string{"a.test. 300 IN A 192.0.2.1"}, "192.0.2.1 5m0s"},
		{"both families, smallest TTL", []string{"a.test. 300 IN A 192.0.2.1", "A.TEST. 20 IN AAAA 2001:db8::1"},
			"192.0.2.1,2001:db8::1 20s"},
		{"aliases in any order", []string{"end.test. 60 IN A 192.0.2.9", "mid.test. 50 IN CNAME end.test.",
			"a.test. 40 IN CNAME mid.test."}, "192.0.2.9 40s"},
		{"a record of another name", []string{"a.test. 60 IN A 192.0.2.1", "evil.test. 60 IN A 192.0.2.66"},
			"192.0.2.1 1m0s"},
		{"aliases in a circle", []string{"a.test. 60 IN CNAME b.test.", "b.test. 60 IN CNAME a.test."}, ""},
		{"no address", []string{"a.test. 60 IN TXT \"x\""}, ""},
		{"TTL 0", []string{"a.test. 0 IN A 192.0.2.1"}, "192.0.2.1 0s"},
	} {
		n := &natagent{}
		if err := policyOf(t, n, "a.test").Open(context.Background(), answerOf(t, "a.test.", c.records...),
			false); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		got := ""
		for _, r := range n.learned {
			got += strings.Join(r.GetAddresses(), ",") + " " + r.GetTtl().AsDuration().Round(time.Second).String()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestOpenFailsWithoutNatagent(t *testing.T) {
	n := &natagent{err: errors.New("away")}
	if policyOf(t, n, "a.test").Open(context.Background(), answerOf(t, "a.test.", "a.test. 60 IN A 192.0.2.1"),
		false) == nil {
		t.Error("the answer is given although its address is not open")
	}
}

func TestRebinding(t *testing.T) {
	for rules, want := range map[string]bool{"a.test": false, "a.test,internet": false, "a.test,lan": true,
		"a.test,10.0.0.0/8": true, "a.test,192.168.0.0/16": false, "internet": true, "a.test,!10.0.0.0/8": false,
		"observe": true} {
		n := &natagent{}
		err := policyOf(t, n, rules).Open(context.Background(), answerOf(t, "a.test.", "a.test. 60 IN A 10.1.1.1"),
			false)
		if (err == nil) != want || (len(n.refused) == 1) == want {
			t.Errorf("%s: got %v, recorded %v", rules, err, n.refused)
		}
		if want && (len(n.learned) != 1 || !n.learned[0].GetUpstream()) {
			t.Errorf("%s: natagent receives %v", rules, n.learned)
		}
	}
	n := &natagent{}
	if err := policyOf(t, n, "db").Open(context.Background(), answerOf(t, "db.", "db. 60 IN A 10.1.1.1"),
		true); err != nil || n.learned[0].GetUpstream() {
		t.Errorf("the name of a container: %v, %v", err, n.learned)
	}
}

// TestKnownAddressesNeedNoCall checks which answers natagent is asked for: it must have opened the addresses
// of all others for their name and TTL, and still run.
func TestKnownAddressesNeedNoCall(t *testing.T) {
	const first = "a.test. 300 IN A 192.0.2.1"
	for name, c := range map[string]struct {
		answerable time.Duration
		meanwhile  func(*Policy)
		question   string
		records    []string
		calls      int // of the second answer
	}{
		"the same":      {answerable: 330 * time.Second, records: []string{first}},
		"mixed case":    {answerable: 330 * time.Second, question: "A.test.", records: []string{first}},
		"a shorter TTL": {answerable: 330 * time.Second, records: []string{"a.test. 20 IN A 192.0.2.1"}},
		"no address":    {answerable: 330 * time.Second, records: []string{"a.test. 20 IN TXT x"}},
		"a longer TTL": {answerable: 330 * time.Second, records: []string{"a.test. 400 IN A 192.0.2.1"},
			calls: 1},
		"one address more": {answerable: 330 * time.Second, records: []string{first, "a.test. 300 IN A 192.0.2.2"},
			calls: 1},
		"another address": {answerable: 330 * time.Second, records: []string{"a.test. 300 IN A 192.0.2.2"},
			calls: 1},
		"another name": {answerable: 330 * time.Second, question: "b.a.test.",
			records: []string{"b.a.test. 300 IN A 192.0.2.1"}, calls: 1},
		"natagent returns none": {records: []string{first}, calls: 1},
		"time has passed":       {answerable: 300*time.Second - 1, records: []string{first}, calls: 1},
		"natagent is away": {answerable: 330 * time.Second, meanwhile: func(p *Policy) { p.session.Set(false) },
			records: []string{first}, calls: 1},
		"natagent was away": {answerable: 330 * time.Second, meanwhile: func(p *Policy) {
			p.session.Set(false)
			p.session.Set(true)
		}, records: []string{first}, calls: 1},
	} {
		n := &natagent{answerable: c.answerable}
		p := policyOf(t, n, "a.test,*.a.test")
		p.session.Set(true)
		open := func(question string, records ...string) {
			if err := p.Open(t.Context(), answerOf(t, question, records...), false); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		open("a.test.", first)
		if c.meanwhile != nil {
			c.meanwhile(p)
		}
		before := len(n.learned)
		open(cmp.Or(c.question, "a.test."), c.records...)
		if got := len(n.learned) - before; before != 1 || got != c.calls {
			t.Errorf("%s: got %d calls, want %d", name, got, c.calls)
		}
	}
}

// TestKnownAddressHasItsLastName checks that natagent gets every change of an address's name: it records it.
func TestKnownAddressHasItsLastName(t *testing.T) {
	n := &natagent{answerable: time.Hour}
	p := policyOf(t, n, "a.test,b.test")
	p.session.Set(true)
	for _, name := range []string{"a.test.", "a.test.", "b.test.", "b.test.", "a.test."} {
		if err := p.Open(t.Context(), answerOf(t, name, name+" 60 IN A 192.0.2.1"), false); err != nil {
			t.Fatal(err)
		}
	}
	if len(n.learned) != 3 {
		t.Errorf("got %d calls, want one for each change", len(n.learned))
	}
}

// TestFailedCallOpensNothing checks that the next answer asks again.
func TestFailedCallOpensNothing(t *testing.T) {
	n := &natagent{answerable: time.Hour, err: errors.New("away")}
	p := policyOf(t, n, "a.test")
	p.session.Set(true)
	for range 2 {
		if p.Open(t.Context(), answerOf(t, "a.test.", "a.test. 60 IN A 192.0.2.1"), false) == nil {
			t.Error("the answer is given although its address is not open")
		}
	}
}

func TestKnownAddressesAreBounded(t *testing.T) {
	var k known
	for i := range 3 * maxKnown {
		k.put(1, "a.test.", []netip.Addr{netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})},
			time.Now().Add(time.Hour))
	}
	if len(k.all) > maxKnown {
		t.Errorf("got %d addresses", len(k.all))
	}
}

// TestFloodOfNamesIsBounded checks that a container cannot fill the records, nor the memory, by questions.
func TestFloodOfNamesIsBounded(t *testing.T) {
	var r rate
	start, recorded := time.Unix(1000, 0), 0
	for range 5000 {
		if lost, ok := r.take(start); ok {
			recorded += 1 + int(lost)
		}
	}
	lost, ok := r.take(start.Add(time.Second))
	if recorded != recordRate || !ok || lost != 5000-recordRate {
		t.Errorf("recorded %d, then %d lost, %v", recorded, lost, ok)
	}
	if lost, ok := r.take(start.Add(time.Second)); !ok || lost != 0 {
		t.Errorf("the next one: %d lost, %v", lost, ok)
	}
}

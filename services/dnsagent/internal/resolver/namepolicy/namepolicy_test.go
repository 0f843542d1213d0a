package namepolicy

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/proto/egress"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// natagent records calls.
type natagent struct {
	natv1.PolicyServiceClient
	learned []*natv1.LearnAddressesRequest
	refused []string
	err     error
}

func (n *natagent) LearnAddresses(_ context.Context, req *natv1.LearnAddressesRequest,
	_ ...grpc.CallOption) (*natv1.LearnAddressesResponse, error) {
	n.learned = append(n.learned, req)
	return &natv1.LearnAddressesResponse{}, n.err
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
	p := New("owner", parsed, n, slog.New(slog.DiscardHandler))
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
	}
	n := &natagent{}
	if err := policyOf(t, n, "db").Open(context.Background(), answerOf(t, "db.", "db. 60 IN A 10.1.1.1"),
		true); err != nil {
		t.Errorf("the name of a container: %v", err)
	}
}

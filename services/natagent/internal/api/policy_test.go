package api

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/proto/fault"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/answered"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
	"github.com/fairlead/fairlead/services/natagent/internal/refusals"
)

// policies is a fake of Policies that records the calls.
type policies struct {
	Policies
	stored  []*plan.Container
	learned answered.Answer
	fails   error

	starting   bool
	answerable time.Duration

	mu      sync.Mutex
	kept    []refusals.Refusal
	lost    uint64
	changed chan struct{}
}

func (p *policies) Put(_ context.Context, c *plan.Container, starting bool) error {
	p.stored, p.starting = append(p.stored, c), starting
	return p.fails
}

func (p *policies) List(context.Context) ([]*plan.Container, error) { return p.stored, p.fails }

func (p *policies) Refused(owner string) uint64 { return uint64(len(owner)) }

func (p *policies) Learn(_ context.Context, _ string, a answered.Answer) (time.Duration, error) {
	p.learned = a
	return p.answerable, p.fails
}

func (p *policies) Since(t time.Time) (found []refusals.Refusal, lost uint64, more <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.kept {
		if r.Time.After(t) {
			found = append(found, r)
		}
	}
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return found, p.lost, p.changed
}

func (p *policies) Firsts(t time.Time) (found []refusals.Refusal, more <-chan struct{}) {
	all, _, more := p.Since(t)
	for _, r := range all {
		if r.First {
			found = append(found, r)
		}
	}
	return found, more
}

// add records a refusal with the current time, and wakes readers.
func (p *policies) add(owner, reason, domain string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = append(p.kept, refusals.Refusal{Time: time.Now(), Owner: owner, Reason: reason, Domain: domain})
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// refusals is a stream that keeps what is sent.
type stream struct {
	grpc.ServerStream
	ctx   context.Context
	sent  []*natv1.WatchRefusalsResponse
	fails error
}

func (r *stream) Context() context.Context { return r.ctx }

func (r *stream) Send(m *natv1.WatchRefusalsResponse) error {
	r.sent = append(r.sent, m)
	return r.fails
}

// names returns the names of all refusals that were sent, and the number of messages.
func (r *stream) names() (text string, messages int) {
	for _, m := range r.sent {
		for _, one := range m.GetRefusals() {
			text += one.GetName() + " "
		}
	}
	return strings.TrimSpace(text), len(r.sent)
}

func TestWatchRefusalsFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &policies{lost: 3}
		for _, r := range [][3]string{{"a", "name", "old"}, {"a", "policy", "first"}, {"b", "rule", "second"},
			{"a", "observe", "third"}, {"b", "observe", "fourth"}} {
			p.add(r[0], r[1], r[2])
			time.Sleep(time.Second)
		}
		since := timestamppb.New(p.kept[0].Time)
		p.kept[2].First = true

		for name, c := range map[string]struct {
			req  *natv1.WatchRefusalsRequest
			want string
		}{
			"all":            {&natv1.WatchRefusalsRequest{}, "old first second"},
			"since":          {&natv1.WatchRefusalsRequest{Since: since}, "first second"},
			"owner":          {&natv1.WatchRefusalsRequest{Owner: "a"}, "old first"},
			"observed":       {&natv1.WatchRefusalsRequest{Observed: true}, "third fourth"},
			"owner observed": {&natv1.WatchRefusalsRequest{Observed: true, Owner: "b", Since: since}, "fourth"},
			"first of each":  {&natv1.WatchRefusalsRequest{First: true}, "second"},
			"none":           {&natv1.WatchRefusalsRequest{Owner: "c"}, ""},
		} {
			s := &stream{ctx: t.Context()}
			if err := (&policyServer{policies: p}).WatchRefusals(c.req, s); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			got, messages := s.names()
			if got != c.want || messages != 1 || s.sent[0].GetLost() != 3 && !c.req.GetFirst() {
				t.Errorf("%s: got %q in %d messages, want %q: %v", name, got, messages, c.want, s.sent)
			}
		}
	})
}

func TestWatchRefusalsFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &policies{}
		p.add("a", "policy", "kept")
		ctx, stop := context.WithCancel(t.Context())
		s := &stream{ctx: ctx}
		done := make(chan error, 1)
		go func() {
			done <- (&policyServer{policies: p}).WatchRefusals(&natv1.WatchRefusalsRequest{Owner: "a", Follow: true}, s)
		}()

		expect := func(want string, messages int) {
			t.Helper()
			synctest.Wait()
			if got, n := s.names(); got != want || n != messages {
				t.Errorf("got %q in %d messages, want %q in %d", got, n, want, messages)
			}
			time.Sleep(time.Second)
		}
		expect("kept", 1)
		p.add("b", "policy", "foreign")
		expect("kept", 1)
		p.add("a", "observe", "observed")
		expect("kept", 1)
		p.add("a", "name", "new")
		expect("kept new", 2)

		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("after the client has left: got %v", err)
		}
	})
}

// A follower knows that it follows before the first refusal, so that it continues after a restart.
func TestWatchRefusalsRespondsWithoutAny(t *testing.T) {
	gone := errors.New("gone")
	s := &stream{ctx: t.Context(), fails: gone}
	err := (&policyServer{policies: &policies{}}).WatchRefusals(&natv1.WatchRefusalsRequest{Follow: true}, s)
	if !errors.Is(err, gone) || len(s.sent) != 1 || len(s.sent[0].GetRefusals()) != 0 {
		t.Errorf("got %v, %v", s.sent, err)
	}
}

func TestWatchRefusalsEndsWithClient(t *testing.T) {
	p, gone := &policies{}, errors.New("gone")
	p.add("a", "policy", "kept")
	s := &stream{ctx: t.Context(), fails: gone}
	err := (&policyServer{policies: p}).WatchRefusals(&natv1.WatchRefusalsRequest{Follow: true}, s)
	if !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
}

func TestRefusalConversion(t *testing.T) {
	at := time.Unix(1_700_000_000, 42)
	got := refusalToProto(refusals.Refusal{Time: at, Owner: "id", Name: "web", Reason: "rule", Protocol: "tcp",
		Address: netip.MustParseAddr("192.0.2.1"), Port: 443, Domain: "example.com"})
	if !got.GetTime().AsTime().Equal(at) || got.GetOwner() != "id" || got.GetOwnerName() != "web" ||
		got.GetReason() != "rule" || got.GetProtocol() != "tcp" || got.GetAddress() != "192.0.2.1" ||
		got.GetPort() != 443 || got.GetName() != "example.com" {
		t.Errorf("got %v", got)
	}
	if got := refusalToProto(refusals.Refusal{Time: at}); got.GetAddress() != "" {
		t.Errorf("refused name: got address %q", got.GetAddress())
	}
}

func TestPutPolicyValidates(t *testing.T) {
	p := &policies{}
	s := &policyServer{policies: p}
	for name, req := range map[string]*natv1.PutPolicyRequest{
		"no rules": {Owner: "id"},
		"address": {Owner: "id", Rules: []string{"none"},
			Endpoints: []*natv1.PolicyEndpoint{{Addresses: []string{"10.0.0"}}}},
	} {
		if _, err := s.PutPolicy(t.Context(), req); !fault.Is(err, fault.Invalid) || len(p.stored) > 0 {
			t.Errorf("%s: got %v, stored %v", name, err, p.stored)
		}
	}

	_, err := s.PutPolicy(t.Context(), &natv1.PutPolicyRequest{Owner: "id", OwnerName: "web", Rules: []string{"dns"},
		Endpoints: []*natv1.PolicyEndpoint{{NetworkId: "n", MacAddress: "02:00:00:00:00:01",
			Addresses: []string{"::ffff:10.0.0.2", "fd00::2"}}}})
	if err != nil || len(p.stored) != 1 {
		t.Fatalf("got %v, stored %v", err, p.stored)
	}
	if _, err := s.PutPolicy(t.Context(), &natv1.PutPolicyRequest{Owner: "new", Rules: []string{"dns"},
		Starting: true}); err != nil || !p.starting {
		t.Errorf("got %v, starting %v", err, p.starting)
	}
	p.stored = p.stored[:1]
	c := p.stored[0]
	want := []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")}
	if c.Owner != "id" || c.Name != "web" || len(c.Endpoints) != 1 || c.Endpoints[0].NetworkID != "n" ||
		c.Endpoints[0].MAC != "02:00:00:00:00:01" || !slices.Equal(c.Endpoints[0].Addresses, want) {
		t.Errorf("got %+v", c)
	}

	list, err := s.ListPolicies(t.Context(), &natv1.ListPoliciesRequest{})
	if err != nil || len(list.GetPolicies()) != 1 || list.GetPolicies()[0].GetRefused() != uint64(len("id")) ||
		!slices.Equal(list.GetPolicies()[0].GetRules(), []string{"dns"}) {
		t.Errorf("list: got %v, %v", list, err)
	}
}

func TestLearnAddresses(t *testing.T) {
	p := &policies{}
	s := &policyServer{policies: p}
	req := &natv1.LearnAddressesRequest{Owner: "id", Name: "example.com", Addresses: []string{"192.0.2.1", "x"},
		Ttl: durationpb.New(time.Minute), Upstream: true}
	if _, err := s.LearnAddresses(t.Context(), req); !fault.Is(err, fault.Invalid) || p.learned.Addresses != nil {
		t.Errorf("got %v, learned %v", err, p.learned)
	}
	req.Addresses = []string{"::ffff:192.0.2.1"}
	if _, err := s.LearnAddresses(t.Context(), req); err != nil || p.learned.TTL != time.Minute ||
		!p.learned.Upstream || !slices.Equal(p.learned.Addresses, []netip.Addr{netip.MustParseAddr("192.0.2.1")}) {
		t.Errorf("got %v, learned %v", err, p.learned)
	}
	for _, p.answerable = range []time.Duration{0, time.Minute} {
		resp, err := s.LearnAddresses(t.Context(), req)
		if err != nil || resp.GetAnswerable().AsDuration() != p.answerable ||
			(resp.GetAnswerable() == nil) != (p.answerable == 0) {
			t.Errorf("got %v, %v, want %s", resp, err, p.answerable)
		}
	}
	p.fails = fault.NotFoundf("container id", "has no policy")
	if _, err := s.LearnAddresses(t.Context(), req); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v", err)
	}
}

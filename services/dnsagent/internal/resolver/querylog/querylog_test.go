package querylog_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver"
	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver/querylog"
)

// answered returns an answer with addresses, which a CNAME precedes.
func answered(owner, name string, addresses ...string) resolver.Answered {
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	m.Answer = []dns.RR{&dns.CNAME{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET},
		Target: "cdn.test."}}
	for _, a := range addresses {
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: "cdn.test.", Rrtype: dns.TypeA,
			Class: dns.ClassINET}, A: netip.MustParseAddr(a).AsSlice()})
	}
	data, _ := m.Pack()
	return resolver.Answered{Owner: owner, Question: m.Question[0], Message: data, Begun: time.Unix(1000, 0),
		Took: time.Millisecond, Origin: resolver.Origin{Source: resolver.FromServer,
			Server: netip.MustParseAddrPort("192.0.2.53:53")}}
}

func TestLogKeepsQuestions(t *testing.T) {
	l := querylog.New()
	found, more := l.Since("", time.Time{})
	if len(found) != 0 {
		t.Fatalf("got %v from an empty log", found)
	}
	l.Add(answered("a", "Www.Test.", "198.51.100.1", "198.51.100.2"))
	l.Add(answered("b", "other.test.", "198.51.100.1"))
	select {
	case <-more:
	default:
		t.Error("no wake-up")
	}

	found, _ = l.Since("", time.Time{})
	if len(found) != 2 || !found[1].Time.After(found[0].Time) {
		t.Fatalf("got %v", found)
	}
	q := found[0]
	if q.Name != "www.test" || q.Type != "A" || q.Code != "NOERROR" || q.Source != "server" ||
		q.Server != "192.0.2.53:53" || fmt.Sprint(q.Addresses) != "[198.51.100.1 198.51.100.2]" {
		t.Errorf("got %+v", q)
	}
	if one, _ := l.Since("b", time.Time{}); len(one) != 1 || one[0].Owner != "b" {
		t.Errorf("questions of b: got %v", one)
	}
	if later, _ := l.Since("", found[1].Time); len(later) != 0 {
		t.Errorf("after the last: got %v", later)
	}
	if n := l.Names(); n["a"][q.Addresses[0]] != "www.test" || n["b"][q.Addresses[0]] != "other.test" {
		t.Errorf("names: got %v", n)
	}
	l.Forget("a")
	if n := l.Names(); n["a"] != nil {
		t.Errorf("names after Forget: got %v", n)
	}
}

// TestLogHasTimesOfAnswers checks that a slow answer does not change the times of later questions.
func TestLogHasTimesOfAnswers(t *testing.T) {
	l := querylog.New()
	quick, slow := answered("a", "quick.test."), answered("a", "slow.test.")
	slow.Took = 5 * time.Second
	quick.Begun = quick.Begun.Add(time.Second)
	for _, a := range []resolver.Answered{quick, slow, slow} { // in the order of their answers
		l.Add(a)
	}
	found, _ := l.Since("", time.Time{})
	for i, want := range []time.Time{quick.Begun.Add(quick.Took), slow.Begun.Add(slow.Took),
		slow.Begun.Add(slow.Took).Add(1)} {
		if got := found[i].Time; !got.Equal(want) {
			t.Errorf("%s: got %v, want %v", found[i].Name, got, want)
		}
	}
}

func TestLogIsBounded(t *testing.T) {
	l := querylog.New()
	for i := range 20000 {
		l.Add(answered("a", "x.test.", netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String()))
		l.Exchanged(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 53), time.Second, nil)
	}
	found, _ := l.Since("", time.Time{})
	if len(found) > 2*4096 || len(found) < 4096 || len(l.Names()["a"]) > 1024 {
		t.Errorf("got %d questions, %d names", len(found), len(l.Names()["a"]))
	}
	answers, servers := l.Counts()
	if len(servers) > 65 || servers[netip.AddrPort{}].Answers.Count == 0 ||
		answers[querylog.Kind{Source: "server", Code: "NOERROR"}] != 20000 {
		t.Errorf("got %d upstreams, answers %v", len(servers), answers)
	}

	l.Exchanged(netip.MustParseAddrPort("10.1.0.0:53"), time.Second, errors.New("timeout"))
	want := querylog.Upstream{Failures: 1}
	want.Answers.Add(time.Second)
	if _, servers := l.Counts(); servers[netip.MustParseAddrPort("10.1.0.0:53")] != want {
		t.Errorf("got %v", servers[netip.MustParseAddrPort("10.1.0.0:53")])
	}
}

func TestBadAnswersAreKept(t *testing.T) {
	l := querylog.New()
	a := answered("a", "x.test.", "10.0.0.1")
	a.Message = a.Message[:20]
	l.Add(a)
	if found, _ := l.Since("", time.Time{}); len(found) != 1 || found[0].Addresses != nil {
		t.Errorf("got %v", found)
	}
}

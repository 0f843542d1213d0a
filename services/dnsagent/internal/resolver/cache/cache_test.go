package cache_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/services/dnsagent/internal/resolver/cache"
)

var (
	start    = time.Unix(1_000_000, 0)
	question = dns.Question{Name: "www.example.org.", Qtype: dns.TypeA, Qclass: dns.ClassINET}
)

// answer returns a packed response with a code and records in zone file syntax. "|" starts the
// authority section, a second one the additional section.
func answer(t testing.TB, code int, records ...string) []byte {
	t.Helper()
	m := new(dns.Msg).SetRcode(&dns.Msg{Question: []dns.Question{question}}, code)
	sections := []*[]dns.RR{&m.Answer, &m.Ns, &m.Extra}
	for _, text := range records {
		if text == "|" {
			sections = sections[1:]
			continue
		}
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		*sections[0] = append(*sections[0], rr)
	}

	data, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}

	return data
}

func key(t testing.TB, scope string, change ...func(*dns.Msg)) cache.Key {
	t.Helper()
	m := &dns.Msg{Question: []dns.Question{question}}
	for _, c := range change {
		c(m)
	}
	k, ok := cache.KeyOf(scope, m)
	if !ok {
		t.Fatal("no key")
	}
	return k
}

const soa = "example.org. %d IN SOA ns.example.org. a.example.org. 1 2 3 4 %d"

func TestCacheTTL(t *testing.T) {
	truncated := answer(t, dns.RcodeSuccess, "www.example.org. 60 IN A 1.2.3.4")
	truncated[2] |= 2
	for name, c := range map[string]struct {
		answer []byte
		want   time.Duration
	}{
		"one record": {answer(t, 0, "www.example.org. 60 IN A 1.2.3.4"), time.Minute},
		"shortest TTL": {answer(t, 0, "www.example.org. 60 IN CNAME x.org.",
			"x.org. 5 IN A 1.2.3.4"), 5 * time.Second},
		"TTL of additional records": {answer(t, 0, "www.example.org. 60 IN A 1.2.3.4", "|", "|",
			"ns.org. 7 IN A 1.1.1.1"), 7 * time.Second},
		"EDNS has no TTL": {answer(t, 0, "www.example.org. 60 IN A 1.2.3.4", "|", "|",
			". 0 CLASS4096 OPT"), time.Minute},
		"none":             {answer(t, 0, "www.example.org. 0 IN A 1.2.3.4"), 0},
		"highest bit set":  {answer(t, 0, "www.example.org. 2147483648 IN A 1.2.3.4"), 0},
		"a day is an hour": {answer(t, 0, "www.example.org. 86400 IN A 1.2.3.4"), time.Hour},
		"no such name": {answer(t, dns.RcodeNameError, "|", fmt.Sprintf(soa, 900, 30)),
			30 * time.Second},
		"no such name, a short SOA": {answer(t, dns.RcodeNameError, "|", fmt.Sprintf(soa, 20, 300)),
			20 * time.Second},
		"no such name, and no SOA": {answer(t, dns.RcodeNameError), 0},
		"no such name behind an alias": {answer(t, dns.RcodeNameError, "www.example.org. 9 IN CNAME x.org.",
			"|", fmt.Sprintf(soa, 900, 30)), 9 * time.Second},
		"no such record": {answer(t, 0, "|", fmt.Sprintf(soa, 900, 30)), 30 * time.Second},
		"alias without records": {answer(t, 0, "www.example.org. 60 IN CNAME x.org.", "|",
			fmt.Sprintf(soa, 900, 30)), 30 * time.Second},
		"incomplete alias": {answer(t, 0, "www.example.org. 60 IN CNAME x.org."), 0},
		"a referral":       {answer(t, 0, "|", "example.org. 60 IN NS ns.example.org."), 0},
		"nothing at all":   {answer(t, 0), 0},
		"a failure":        {answer(t, dns.RcodeServerFailure, "|", fmt.Sprintf(soa, 900, 30)), 0},
		"a refusal":        {answer(t, dns.RcodeRefused), 0},
		"truncated":        {truncated, 0},
		"noise":            {[]byte(strings.Repeat("x", 100)), 0},
		"half a header":    {[]byte{1, 2, 3}, 0},
		"too long": {answer(t, 0, "www.example.org. 60 IN A 1.2.3.4", "|", "|",
			"x.org. 60 IN TXT "+strings.Repeat(strings.Repeat("x", 200)+" ", 11)), 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := cache.CacheTTL(question, c.answer); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			cached := cache.New(8)
			cached.Put(key(t, "up"), c.answer, start)
			if got := cached.Get(key(t, "up"), start.Add(c.want)); got != nil {
				t.Errorf("got expired response:\n%v", got)
			}
			if got := cached.Get(key(t, "up"), start); c.want == 0 && got != nil {
				t.Errorf("got uncacheable response:\n%v", got)
			}
		})
	}
}

func TestTTLDecreasesWithAge(t *testing.T) {
	cached := cache.New(8)
	cached.Put(key(t, "up"), answer(t, 0, "www.example.org. 60 IN CNAME x.org.", "x.org. 10 IN A 1.2.3.4", "|",
		"|", ". 0 CLASS4096 OPT"), start)
	for age, want := range map[int]string{0: "60 10", 1: "59 9", 9: "51 1"} {
		m := cached.Get(key(t, "up"), start.Add(time.Duration(age)*time.Second+time.Millisecond))
		if m == nil {
			t.Fatalf("no response after %d s", age)
		}
		if got := fmt.Sprint(m.Answer[0].Header().Ttl, m.Answer[1].Header().Ttl); got != want {
			t.Errorf("after %d s: got %s, want %s", age, got, want)
		}
		if opt := m.IsEdns0(); opt == nil || opt.UDPSize() != 4096 || opt.Hdr.Ttl != 0 {
			t.Errorf("got EDNS %v", opt)
		}
	}
}

func TestNegativeTTLDecreasesWithAge(t *testing.T) {
	cached := cache.New(8)
	cached.Put(key(t, "up"), answer(t, dns.RcodeNameError, "|", fmt.Sprintf(soa, 900, 30)), start)
	m := cached.Get(key(t, "up"), start.Add(10*time.Second))
	if m == nil || m.Rcode != dns.RcodeNameError || m.Ns[0].Header().Ttl != 20 {
		t.Errorf("%v", m)
	}
}

func TestKeyDependsOnQuestionAndScope(t *testing.T) {
	cached := cache.New(8)
	cached.Put(key(t, "host 9.9.9.9"), answer(t, 0, "www.example.org. 60 IN A 1.2.3.4"), start)
	other := func(change func(*dns.Msg)) cache.Key { return key(t, "host 9.9.9.9", change) }
	for name, k := range map[string]cache.Key{
		"other servers":     key(t, "host 8.8.8.8"),
		"another network":   key(t, "c1 9.9.9.9"),
		"another name":      other(func(m *dns.Msg) { m.Question[0].Name = "ftp.example.org." }),
		"another type":      other(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }),
		"another class":     other(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }),
		"recursion":         other(func(m *dns.Msg) { m.RecursionDesired = true }),
		"authentic data":    other(func(m *dns.Msg) { m.AuthenticatedData = true }),
		"checking disabled": other(func(m *dns.Msg) { m.CheckingDisabled = true }),
		"EDNS":              other(func(m *dns.Msg) { m.SetEdns0(1232, false) }),
		"EDNS with DO":      other(func(m *dns.Msg) { m.SetEdns0(1232, true) }),
	} {
		if got := cached.Get(k, start); got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}

	if cached.Get(other(func(m *dns.Msg) { m.Question[0].Name = "WWW.example.ORG." }), start) == nil {
		t.Error("lookup is case-sensitive")
	}

	m := &dns.Msg{Question: []dns.Question{question}}
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1}}
	if _, ok := cache.KeyOf("host 9.9.9.9", m); ok {
		t.Error("got a key for a query with an EDNS option")
	}
}

func TestLeastRecentlyUsedIsEvicted(t *testing.T) {
	cached := cache.New(2)
	a, b, c := key(t, "a"), key(t, "b"), key(t, "c")
	cachedKeys := func() string {
		var all []string
		for name, k := range map[string]cache.Key{"a": a, "b": b, "c": c} {
			if cached.Get(k, start) != nil {
				all = append(all, name)
			}
		}
		if len(all) > 2 {
			t.Errorf("got %v, want at most 2", all)
		}
		return strings.Join(all, " ")
	}

	data := answer(t, 0, "www.example.org. 60 IN A 1.2.3.4")
	cached.Put(a, data, start)
	cached.Put(b, data, start)
	cached.Get(a, start)
	cached.Put(c, data, start)
	if got := cachedKeys(); strings.Contains(got, "b") || len(got) != 3 {
		t.Errorf("got %s", got)
	}

	cached.Put(c, answer(t, dns.RcodeServerFailure), start)
	if got := cachedKeys(); len(got) != 3 {
		t.Errorf("after an uncacheable response: got %s", got)
	}

	cached.Reset(1)
	if got := cachedKeys(); got != "" {
		t.Errorf("after Reset: got %s", got)
	}

	cached.Reset(0)
	cached.Put(a, data, start)
	if got := cachedKeys(); got != "" {
		t.Errorf("with bound 0: got %s", got)
	}
}

func TestBackwardClockExpiresResponse(t *testing.T) {
	cached := cache.New(2)
	cached.Put(key(t, "a"), answer(t, 0, "www.example.org. 60 IN A 1.2.3.4"), start)
	if got := cached.Get(key(t, "a"), start.Add(-time.Second)); got != nil {
		t.Errorf("%v", got)
	}
}

// FuzzPutGet checks that arbitrary responses are returned unchanged except for shorter TTLs.
func FuzzPutGet(f *testing.F) {
	f.Add(answer(f, 0, "www.example.org. 60 IN A 1.2.3.4"), uint16(3))
	f.Add(answer(f, dns.RcodeNameError, "www.example.org. 9 IN CNAME x.org.", "|", fmt.Sprintf(soa, 900, 30)),
		uint16(0))
	f.Add([]byte{1, 2, 3}, uint16(1))
	f.Fuzz(func(t *testing.T, data []byte, age uint16) {
		cached := cache.New(1)
		k := key(t, "up")
		cached.Put(k, data, start)
		got := cached.Get(k, start.Add(time.Duration(age)*time.Second))
		if got == nil {
			return
		}
		was := new(dns.Msg)
		if err := was.Unpack(data); err != nil {
			t.Fatalf("cached an invalid message: %v", err)
		}
		if got.Rcode != was.Rcode || got.Truncated || len(got.Answer) != len(was.Answer) ||
			len(got.Ns) != len(was.Ns) || len(got.Extra) != len(was.Extra) {
			t.Errorf("got\n%v\nwant\n%v", got, was)
		}
		for i, rr := range got.Answer {
			if h := rr.Header(); h.Ttl+uint32(age) != was.Answer[i].Header().Ttl {
				t.Errorf("after %d s: got %d, was %d", age, h.Ttl, was.Answer[i].Header().Ttl)
			}
		}
	})
}

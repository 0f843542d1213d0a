package dnsagent_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/proto/dnsrecord"
	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/dnsagent"
)

// programmable is an agent with all of its clients.
type programmable struct {
	*machine
	names    dnsv1.NameServiceClient
	records  dnsv1.RecordServiceClient
	forwards dnsv1.ForwardServiceClient
	svc      service.Service
	stop     func()
}

// startWith runs an agent with a configuration, without its background work.
func (m *machine) startWith(t *testing.T, cfg dnsagent.Config) *programmable {
	t.Helper()
	svc, err := dnsagent.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &programmable{machine: m, svc: svc}
	conn, disconnect := dialService(t, svc)
	p.names, p.records = dnsv1.NewNameServiceClient(conn), dnsv1.NewRecordServiceClient(conn)
	p.forwards = dnsv1.NewForwardServiceClient(conn)
	p.stop = func() {
		disconnect()
		_ = svc.Close()
	}
	return p
}

// add adds records in the text form of the configuration.
func (p *programmable) add(t *testing.T, texts ...string) error {
	t.Helper()
	req := &dnsv1.AddRecordsRequest{}
	for _, text := range texts {
		r, err := dnsrecord.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		req.Records = append(req.Records, &dnsv1.Record{Network: r.Network, Name: r.Name, Type: string(r.Type),
			Ttl: &r.TTL, Data: r.Data})
	}
	_, err := p.records.AddRecords(t.Context(), req)
	return err
}

// list returns all pages of the records as text.
func (p *programmable) list(t *testing.T, network string) (all []string) {
	t.Helper()
	req := &dnsv1.ListRecordsRequest{Network: network}
	for {
		res, err := p.records.ListRecords(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res.GetRecords() {
			text := dnsrecord.Record{Network: r.GetNetwork(), Name: r.GetName(), TTL: r.GetTtl(),
				Type: dnsrecord.Type(r.GetType()), Data: r.GetData()}.String()
			if r.GetConfigured() {
				text += " (configured)"
			}
			all = append(all, text)
		}
		if req.PageToken = res.GetNextPageToken(); req.PageToken == "" {
			return all
		}
	}
}

func TestRecordsSplitHorizons(t *testing.T) {
	m := newMachine(t)
	k := m.keeper(t)
	cfg := m.config()
	for _, text := range []string{"fixed.test A 10.9.0.1", "db.test A 10.9.0.2",
		"network=front fixed.test A 10.9.0.3"} {
		r, err := dnsrecord.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Records = append(cfg.Records, r)
	}
	p := m.startWith(t, cfg)
	front, back, both := id.New(), id.New(), id.New()
	register(t, p.names, onNetworks(front, "front 10.1.0.2 one"))
	register(t, p.names, onNetworks(back, "back 10.2.0.2 two"))
	register(t, p.names, onNetworks(both, "back 10.2.0.3 three", "front 10.1.0.3 three"))
	if err := p.add(t, "db.test A 10.0.0.1", "network=front db.test A 10.0.0.2", "network=back db.test CNAME two",
		"network=front *.dev.test A 10.0.0.3", "x.dev.test A 10.0.0.4"); err != nil {
		t.Fatal(err)
	}

	expect := func(want map[string]string) {
		t.Helper()
		for question, answer := range want {
			owner, name, _ := strings.Cut(question, " ")
			owner = map[string]string{"front": front, "back": back, "both": both}[owner]
			if got := k.ask("udp", owner, name); got != answer {
				t.Errorf("%s: got %s, want %s", question, got, answer)
			}
		}
	}
	answers := map[string]string{"front db.test": "10.0.0.2", "both fixed.test": "10.9.0.3",
		"front fixed.test": "10.9.0.3",
		"back fixed.test":  "10.9.0.1", "front x.dev.test": "10.0.0.3", "back x.dev.test": "10.0.0.4",
		"back db.test": "10.2.0.2", "both db.test": "10.2.0.2", "front one": "10.1.0.2"}
	expect(answers)

	// Everything is there after a restart.
	listed := p.list(t, "")
	if len(listed) != 8 {
		t.Errorf("got %q", listed)
	}
	p.stop()
	p = m.startWith(t, cfg)
	if got := p.list(t, ""); strings.Join(got, "\n") != strings.Join(listed, "\n") {
		t.Errorf("after a restart:\ngot  %q\nwant %q", got, listed)
	}
	if got := p.list(t, "back"); len(got) != 1 || got[0] != "network=back db.test 60 CNAME two" {
		t.Errorf("of a network: got %q", got)
	}
	p.stop()
	m.write("host/etc/resolv.conf", "nameserver 127.9.0.58\n") // where no server listens

	client, stop := m.start() // with the background work, which serves the containers again
	_ = client
	expect(map[string]string{"front db.test": "10.0.0.2", "back fixed.test": "SERVFAIL"}) // m.config has no records
	stop()
}

func TestRecordRequests(t *testing.T) {
	m := newMachine(t)
	cfg := m.config()
	fixed, err := dnsrecord.Parse("fixed.test A 10.9.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Records, cfg.Forwards = []dnsrecord.Record{fixed}, []dnsrecord.Forward{forward(t, "fixed.test 10.9.9.9")}
	p := m.startWith(t, cfg)
	defer p.stop()

	if err := p.add(t, "a.test A 10.0.0.1", "a.test A 10.0.0.2", "a.test TXT x"); err != nil {
		t.Fatal(err)
	}
	if err := p.add(t, "b.test A 10.0.0.1", "a.test A 10.0.0.1"); !fault.Is(err, fault.Exists) {
		t.Errorf("duplicate: got %v", err)
	}
	if got := p.list(t, ""); len(got) != 4 {
		t.Errorf("got %q, want nothing of the failed request", got)
	}
	for _, c := range []struct {
		req  *dnsv1.RemoveRecordsRequest
		kind fault.Kind // 0: succeeds
		left int
	}{
		{&dnsv1.RemoveRecordsRequest{Name: "a.test", Type: "A", Data: "10.0.0.3"}, fault.NotFound, 4},
		{&dnsv1.RemoveRecordsRequest{Name: "fixed.test"}, fault.Conflict, 4},
		{&dnsv1.RemoveRecordsRequest{Name: "a..test"}, fault.Invalid, 4},
		{&dnsv1.RemoveRecordsRequest{Name: "a.test", Data: "10.0.0.2"}, fault.Invalid, 4},
		{&dnsv1.RemoveRecordsRequest{Name: "a.test", Network: "front"}, fault.NotFound, 4},
		{&dnsv1.RemoveRecordsRequest{Name: "A.Test.", Type: "a", Data: "10.0.0.2"}, 0, 3},
		{&dnsv1.RemoveRecordsRequest{Name: "a.test"}, 0, 1},
	} {
		_, err := p.records.RemoveRecords(t.Context(), c.req)
		if c.kind == 0 && err != nil || c.kind != 0 && !fault.Is(err, c.kind) {
			t.Errorf("remove %v: got %v", c.req, err)
		}
		if got := p.list(t, ""); len(got) != c.left {
			t.Errorf("remove %v: left %q, want %d", c.req, got, c.left)
		}
	}
	for _, r := range []*dnsv1.Record{{Name: "a.test", Type: "MX", Data: "x"}, {Name: "a.test", Type: "A", Data: "x"},
		{Network: "two words", Name: "a.test", Type: "A", Data: "10.0.0.1"},
		{Network: "bridge", Name: "a.test", Type: "A", Data: "10.0.0.1"}} {
		if _, err := p.records.AddRecords(t.Context(),
			&dnsv1.AddRecordsRequest{Records: []*dnsv1.Record{r}}); !fault.Is(
			err, fault.Invalid) {
			t.Errorf("add %v: got %v", r, err)
		}
	}

	// Lists have pages.
	var many []string
	for i := range 999 {
		many = append(many, fmt.Sprintf("n%d.test A 10.0.0.1", i))
	}
	if err := p.add(t, append(many, "z.test A 10.0.0.1")...); err != nil {
		t.Fatal(err)
	}
	if err := p.add(t, "z.test A 10.0.0.2"); err != nil {
		t.Fatal(err)
	}
	res, err := p.records.ListRecords(t.Context(), &dnsv1.ListRecordsRequest{})
	if err != nil || len(res.GetRecords()) != 1000 || res.GetNextPageToken() == "" {
		t.Errorf("got a page of %d records, %v", len(res.GetRecords()), err)
	}
	if got := p.list(t, ""); len(got) != 1002 || got[1001] != "z.test 60 A 10.0.0.2" {
		t.Errorf("got %d records in all pages", len(got))
	}
}

func TestForwardRequests(t *testing.T) {
	m := newMachine(t)
	cfg := m.config()
	cfg.Forwards = []dnsrecord.Forward{forward(t, "fixed.test 10.9.9.9")}
	p := m.startWith(t, cfg)
	add := func(domain string, servers ...string) error {
		_, err := p.forwards.AddForward(t.Context(), &dnsv1.AddForwardRequest{Forward: &dnsv1.Forward{Domain: domain,
			Servers: servers}})
		return err
	}
	remove := func(domain string, servers ...string) error {
		_, err := p.forwards.RemoveForward(t.Context(), &dnsv1.RemoveForwardRequest{Domain: domain, Servers: servers})
		return err
	}
	list := func() (all string) {
		t.Helper()
		res, err := p.forwards.ListForwards(t.Context(), &dnsv1.ListForwardsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range res.GetForwards() {
			all += fmt.Sprint(f.GetDomain(), " ", strings.Join(f.GetServers(), ","), ";")
		}
		return all
	}

	const fixed = "fixed.test 10.9.9.9;"
	for _, c := range []struct {
		what string
		err  error
		kind fault.Kind
	}{
		{"add", add("Corp.", "10.0.0.1"), 0},
		{"add another", add("corp", "tls://10.0.0.2#dns.corp"), 0},
		{"add one again", add("corp", "10.0.0.1:53"), fault.Exists},
		{"add too many", add("corp", "10.0.0.3", "10.0.0.4"), fault.Exhausted},
		{"add a name", add("corp", "dns.corp"), fault.Invalid},
		{"add none", add("corp"), fault.Invalid},
		{"remove another", remove("corp", "10.0.0.9"), fault.NotFound},
		{"remove a configured one", remove("fixed.test"), fault.Conflict},
		{"remove an unknown one", remove("other.test"), fault.NotFound},
	} {
		if c.kind == 0 && c.err != nil || c.kind != 0 && !fault.Is(c.err, c.kind) {
			t.Errorf("%s: got %v", c.what, c.err)
		}
	}
	if got, want := list(), "corp 10.0.0.1,tls://10.0.0.2#dns.corp;"+fixed; got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	p.stop()
	p = m.startWith(t, cfg)
	defer p.stop()
	if err := remove("corp", "10.0.0.1"); err != nil {
		t.Error(err)
	}
	if got, want := list(), "corp tls://10.0.0.2#dns.corp;"+fixed; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := remove("corp"); err != nil {
		t.Error(err)
	}
	if got := list(); got != fixed {
		t.Errorf("got %s", got)
	}
}

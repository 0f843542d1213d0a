package dnsagent_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/proto/id"
)

func sharing(owner, with string) *dnsv1.RegisterRequest {
	return &dnsv1.RegisterRequest{Owner: owner, FileSource: dnsv1.FileSource_FILE_SOURCE_SHARED, SharesWith: with}
}

func TestSharedNetworkHasOwnHostname(t *testing.T) {
	m := newMachine(t)
	m.keeper(t)
	client, stop := m.start()
	web, sharer := id.New(), id.New()
	req := onNetworks(web, "front 10.1.0.2 web")
	req.Hostname, req.ExtraHosts = "webhost", []*dnsv1.ExtraHost{{Name: "db", Address: "10.9.9.9"}}
	owner := register(t, client, req)
	f := register(t, client, sharing(sharer, web))
	if name := sharer[:12]; f.GetHostname() != name || m.read(f.GetHostnamePath()) != name+"\n" {
		t.Errorf("host name: got %q, %q", f.GetHostname(), m.read(f.GetHostnamePath()))
	}

	if m.read(f.GetResolvConfPath()) != m.read(owner.GetResolvConfPath()) {
		t.Errorf("resolv.conf: got %q", m.read(f.GetResolvConfPath()))
	}

	has := func(when string, lines ...string) {
		t.Helper()
		_, got, _ := strings.Cut(m.read(f.GetHostsPath()), "ip6-allrouters\n")
		if want := strings.Join(lines, "\n") + "\n"; got != want {
			t.Errorf("hosts %s: got %q, want %q", when, got, want)
		}
	}

	has("at first", "10.9.9.9\tdb", "10.1.0.2\twebhost", "10.1.0.2\t"+sharer[:12])
	update(t, client, web, "front 10.1.0.2 web", "back 10.2.0.2 web")
	has("on another network", "10.9.9.9\tdb", "10.1.0.2\twebhost", "10.2.0.2\twebhost",
		"10.1.0.2\t"+sharer[:12], "10.2.0.2\t"+sharer[:12])
	stop()
	client, _ = m.start()
	update(t, client, web)
	has("without a network", "10.9.9.9\tdb", "127.0.0.1\t"+sharer[:12])
	update(t, client, web, "front 10.1.0.7 web")
	has("on a network again", "10.9.9.9\tdb", "10.1.0.7\twebhost", "10.1.0.7\t"+sharer[:12])
	if _, err := client.Release(t.Context(), &dnsv1.ReleaseRequest{Owner: web}); err != nil {
		t.Fatal(err)
	}

	has("after the release of the other", "127.0.0.1\t"+sharer[:12])
	register(t, client, req)
	update(t, client, web, "front 10.1.0.8 web")
	has("after the other was started again", "127.0.0.1\t"+sharer[:12])
}

func TestSharedHostNetworkHasHostsFiles(t *testing.T) {
	m := newMachine(t)
	client, _ := m.start()
	host, sharer := id.New(), id.New()
	register(t, client, &dnsv1.RegisterRequest{Owner: host, FileSource: dnsv1.FileSource_FILE_SOURCE_HOST})
	f := register(t, client, sharing(sharer, host))
	if got, want := m.read(f.GetHostsPath()),
		m.read(m.path("host/etc/hosts"))+"127.0.0.1\t"+sharer[:12]+"\n"; got != want {
		t.Errorf("hosts: got %q, want %q", got, want)
	}
}

func TestSharedNetworkRejectsOwnSettings(t *testing.T) {
	m := newMachine(t)
	client, _ := m.start()
	owner, other := id.New(), id.New()
	for name, change := range map[string]func(*dnsv1.RegisterRequest){
		"itself":   func(r *dnsv1.RegisterRequest) { r.SharesWith = owner },
		"nothing":  func(r *dnsv1.RegisterRequest) { r.SharesWith = "" },
		"no ID":    func(r *dnsv1.RegisterRequest) { r.SharesWith = "../x" },
		"servers":  func(r *dnsv1.RegisterRequest) { r.Servers = []string{"1.1.1.1"} },
		"a source": func(r *dnsv1.RegisterRequest) { r.FileSource = dnsv1.FileSource_FILE_SOURCE_GENERATED },
	} {
		req := sharing(owner, other)
		change(req)
		if _, err := client.Register(t.Context(), req); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want an Invalid fault", name, err)
		}
	}
}

package dnsagent_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
	"github.com/fairlead/fairlead/proto/id"
	"github.com/fairlead/fairlead/services/dnsagent"
)

// onNetworks returns a registration on networks such as "front 10.1.0.2 web www".
func onNetworks(owner string, networks ...string) *dnsv1.RegisterRequest {
	req := &dnsv1.RegisterRequest{Owner: owner, FileSource: dnsv1.FileSource_FILE_SOURCE_RESOLVER}
	for _, text := range networks {
		words := strings.Fields(text)
		req.Addresses = append(req.Addresses, words[1])
		req.Networks = append(req.Networks, &dnsv1.NetworkRegistration{NetworkId: "id-" + words[0],
			NetworkName: words[0], Addresses: words[1:2], Names: words[2:]})
	}
	return req
}

func update(t *testing.T, c dnsv1.NameServiceClient, owner string, networks ...string) {
	t.Helper()
	req := onNetworks(owner, networks...)
	if _, err := c.Update(t.Context(), &dnsv1.UpdateRequest{Owner: owner, Addresses: req.Addresses,
		Networks: req.Networks}); err != nil {
		t.Fatal(err)
	}
}

func TestUserNetworkNames(t *testing.T) {
	m := newMachine(t)
	k := m.keeper(t)
	client, _ := m.start()
	web, db := id.New(), id.New()
	f := register(t, client, onNetworks(web, "front 10.1.0.2 web www"))
	register(t, client, onNetworks(db, "front 10.1.0.3 db", "back 10.2.0.3 db"))
	if got := m.read(f.GetResolvConfPath()); got != "nameserver 127.0.0.11\noptions ndots:0\n" {
		t.Errorf("resolv.conf: %q", got)
	}

	if got := m.read(f.GetHostsPath()); !strings.HasSuffix(got, "10.1.0.2\t"+web[:12]+"\n") {
		t.Errorf("hosts: %q", got)
	}

	for _, network := range []string{"udp", "tcp"} {
		if got := k.ask(network, web, "DB"); got != "10.1.0.3" {
			t.Errorf("db from web over %s: got %s", network, got)
		}
		if got := k.ask(network, db, "www.front"); got != "10.1.0.2" {
			t.Errorf("www.front from db over %s: got %s", network, got)
		}
	}

	if again := register(t, client, onNetworks(web, "front 10.1.0.2 web www")); again.String() != f.String() {
		t.Errorf("got %v, then %v", f, again)
	}

	if _, err := client.Release(t.Context(), &dnsv1.ReleaseRequest{Owner: db}); err != nil {
		t.Fatal(err)
	}

	if got := k.ask("udp", web, "db"); got == "10.1.0.3" {
		t.Error("released name still resolves")
	}

	if k.has(db) {
		t.Error("sockets of a released container still exist")
	}
}

func TestHostServersNeedExternalNetwork(t *testing.T) {
	m := newMachine(t)
	k := m.keeper(t)
	outside(t, "127.9.0.53")
	client, _ := m.start()
	open, closed := id.New(), id.New()
	register(t, client, onNetworks(open, "front 10.1.0.2 open"))
	inner := onNetworks(closed, "inside 10.3.0.2 closed")
	inner.Networks[0].Internal = true
	register(t, client, inner)
	m.write("host/etc/resolv.conf", "nameserver 127.9.0.53\n") // changed after the start
	if got := k.ask("udp", open, "example.org"); got != "1.2.3.4" {
		t.Errorf("on an external network: got %s", got)
	}

	if got := k.ask("udp", closed, "example.org"); got != "SERVFAIL" {
		t.Errorf("on an internal network: got %s", got)
	}
}

func TestConnectUpdatesNamesAndHosts(t *testing.T) {
	m := newMachine(t)
	k := m.keeper(t)
	client, stop := m.start()
	web, db := id.New(), id.New()
	req := scenario7(web) // on the default bridge, with its own server
	f := register(t, client, req)
	register(t, client, onNetworks(db, "back 10.2.0.3 db"))
	published := m.read(f.GetHostsPath())
	m.write(strings.TrimPrefix(f.GetHostsPath(), m.root), published+"9.9.9.9\tmine") // stays until the next change

	update := func(networks ...string) {
		t.Helper()
		u := &dnsv1.UpdateRequest{Owner: web, Addresses: []string{"172.17.0.2"}, Networks: onNetworks(web,
			networks...).Networks}
		for _, n := range u.Networks {
			u.Addresses = append(u.Addresses, n.Addresses...)
		}
		if _, err := client.Update(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}

	update("back 10.2.0.2 web")
	if got, want := m.read(f.GetHostsPath()), published+"10.2.0.2\tdocker.test.com docker\n"; got != want {
		t.Errorf("hosts after connect: got\n%q\nwant\n%q", got, want)
	}

	if got := m.read(f.GetResolvConfPath()); got != "search baidu.com\nnameserver 127.0.0.11\noptions ndots:0\n" {
		t.Errorf("resolv.conf after connect: got %q", got)
	}

	if got := k.ask("udp", db, "web") + ", " + k.ask("udp", web, "db"); got != "10.2.0.2, 10.2.0.3" {
		t.Errorf("after connect: got %s", got)
	}

	stop()
	client, _ = m.start()
	if got := k.ask("udp", db, "web"); got != "10.2.0.2" {
		t.Errorf("after a restart: got %s", got)
	}

	update()
	if got, want := m.read(f.GetHostsPath()), published; got != want {
		t.Errorf("hosts after disconnect: got\n%q\nwant\n%q", got, want)
	}

	if got := k.ask("udp", db, "web"); got == "10.2.0.2" {
		t.Error("web still resolves after disconnect")
	}

	if _, err := client.Update(t.Context(), &dnsv1.UpdateRequest{Owner: id.New()}); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown owner: got %v, want a NotFound fault", err)
	}
}

func TestUpdateWritesChangedFilesOnly(t *testing.T) {
	m := newMachine(t)
	m.keeper(t)
	client, _ := m.start()
	owner := id.New()
	f := register(t, client, &dnsv1.RegisterRequest{Owner: owner,
		FileSource: dnsv1.FileSource_FILE_SOURCE_GENERATED, Addresses: []string{"172.17.0.2"}})
	m.write("host/etc/resolv.conf", "nameserver 10.8.0.1\n") // changed in the meantime
	edit := func(path, content string) { m.write(strings.TrimPrefix(path, m.root), content) }
	edit(f.GetResolvConfPath(), "nameserver 6.6.6.6\n")
	edit(f.GetHostnamePath(), "mine\n")
	update(t, client, owner, "front 10.1.0.2 web")
	if got := m.read(f.GetResolvConfPath()); got != "nameserver 127.0.0.11\noptions ndots:0\n" {
		t.Errorf("resolv.conf with the first user network: got %q", got)
	}

	edit(f.GetResolvConfPath(), "nameserver 6.6.6.6\n")
	update(t, client, owner, "back 10.2.0.2 web")
	if got := m.read(f.GetResolvConfPath()) + m.read(f.GetHostnamePath()); got != "nameserver 6.6.6.6\nmine\n" {
		t.Errorf("edited files that did not change: got %q", got)
	}

	if got := m.read(f.GetHostsPath()); !strings.Contains(got, "10.2.0.2\t") {
		t.Errorf("hosts: got %q", got)
	}
}

func TestReloadAppliesToRunningResolvers(t *testing.T) {
	m := newMachine(t)
	k := m.keeper(t)
	cfg := m.config()
	svc, err := dnsagent.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}

	client, disconnect := connect(t, svc)
	defer func() {
		disconnect()
		_ = svc.Close()
	}()

	web := id.New()
	register(t, client, onNetworks(web, "front 10.1.0.2 web"))
	if k.askedOutside() {
		t.Error("socket in the container's network requested before the reload")
	}

	cfg.Servers = []netip.Addr{netip.MustParseAddr("9.9.9.9")}
	if err := svc.Reload(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}

	k.ask("udp", web, "example.org")
	if !k.askedOutside() {
		t.Error("configured server not queried from the container's network")
	}
}

func TestQueryDuringRestartIsAnswered(t *testing.T) {
	m := newMachine(t)
	k := m.keeper(t)
	client, stop := m.start()
	web := id.New()
	register(t, client, onNetworks(web, "front 10.1.0.2 web"))
	stop()
	answers := make(chan string, 2)
	for _, network := range []string{"udp", "tcp"} {
		go func() { answers <- k.ask(network, web, "web") }()
	}

	m.start()
	for range 2 {
		if got := <-answers; got != "10.1.0.2" {
			t.Errorf("got %s", got)
		}
	}
}

func TestResolversWaitForNetagentAfterARestart(t *testing.T) {
	m := newMachine(t)
	k := m.keeper(t)
	client, stop := m.start()
	web := id.New()
	register(t, client, onNetworks(web, "front 10.1.0.2 web"))
	stop()
	k.stop()
	m.start() // does not need netagent
	again := m.keeper(t)
	for range 1000 {
		if again.has(web) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}

	if got := again.ask("udp", web, "web"); got != "10.1.0.2" {
		t.Errorf("got %s", got)
	}
}

func TestRegistrationWithoutNetagentLeavesNoState(t *testing.T) {
	m := newMachine(t)
	client, _ := m.start()
	owner := id.New()
	if _, err := client.Register(t.Context(), onNetworks(owner, "front 10.1.0.2 web")); !fault.Is(err,
		fault.Unavailable) {
		t.Errorf("got %v, want an Unavailable fault", err)
	}

	if got := owners(t, client); len(got) != 0 {
		t.Errorf("owners: %v", got)
	}

	if _, err := client.Release(t.Context(), &dnsv1.ReleaseRequest{Owner: owner}); err != nil {
		t.Error(err)
	}
}

func TestInvalidNetworkNamesFail(t *testing.T) {
	m := newMachine(t)
	m.keeper(t)
	client, _ := m.start()
	owner := id.New()
	const generated = dnsv1.FileSource_FILE_SOURCE_GENERATED
	alias := []*dnsv1.LinkAlias{{Alias: "db"}}
	for want, change := range map[string]func(*dnsv1.RegisterRequest){
		"the embedded resolver":      func(r *dnsv1.RegisterRequest) { r.FileSource = generated },
		"specified twice":            func(r *dnsv1.RegisterRequest) { r.Networks = append(r.Networks, r.Networks[0]) },
		"no id":                      func(r *dnsv1.RegisterRequest) { r.Networks[0].NetworkId = "" },
		"network name":               func(r *dnsv1.RegisterRequest) { r.Networks[0].NetworkName = "a b" },
		`"a\nb" is not a valid`:      func(r *dnsv1.RegisterRequest) { r.Networks[0].Names = []string{"a\nb"} },
		`"10.1.0.2/24" is not an IP`: func(r *dnsv1.RegisterRequest) { r.Networks[0].Addresses = []string{"10.1.0.2/24"} },
		"is not a valid DNS name":    func(r *dnsv1.RegisterRequest) { r.LinkAliases = alias },
	} {
		req := onNetworks(owner, "front 10.1.0.2 web")
		change(req)
		if _, err := client.Register(t.Context(), req); !fault.Is(err, fault.Invalid) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an Invalid fault with %q", err, want)
		}
	}
}

func TestLinkAliasIsPrivate(t *testing.T) {
	m := newMachine(t)
	k := m.keeper(t)
	client, _ := m.start()
	web, db := id.New(), id.New()
	register(t, client, onNetworks(db, "front 10.1.0.3 db"))
	req := onNetworks(web, "front 10.1.0.2 web")
	req.LinkAliases = []*dnsv1.LinkAlias{{Alias: "store", Name: "db"}}
	register(t, client, req)
	if got := k.ask("udp", web, "store"); got != "10.1.0.3" {
		t.Errorf("store from web: got %s", got)
	}

	if got := k.ask("udp", db, "store"); got == "10.1.0.3" {
		t.Error("link alias resolves in db too")
	}
}

func TestRenameTakesEffectImmediately(t *testing.T) {
	m := newMachine(t)
	k := m.keeper(t)
	client, _ := m.start()
	web, db := id.New(), id.New()
	register(t, client, onNetworks(web, "front 10.1.0.2 web"))
	register(t, client, onNetworks(db, "front 10.1.0.3 db"))
	update(t, client, db, "front 10.1.0.3 database")
	if got := k.ask("udp", web, "database"); got != "10.1.0.3" {
		t.Errorf("new name: got %s", got)
	}

	if got := k.ask("udp", web, "db"); got == "10.1.0.3" {
		t.Error("old name still resolves")
	}
}

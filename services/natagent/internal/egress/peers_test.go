package egress_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/services/natagent/internal/egress/plan"
)

// exchange sends a byte over a connection to an echo server.
func exchange(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

// TestPeers checks rules with containers, networks and labels while their addresses change.
func TestPeers(t *testing.T) {
	w := newWorld(t)
	db := []string{"container:db", "10.9.0.3/32", "fd09::3/128"}
	w.put("container:db:80", "label:app=web", "network:back:443", "other.test") // a name of any port
	w.check("before the addresses", "10.9.0.3:80", "[fd09::3]:80", "10.9.0.3:443")
	w.putPeers(db)
	w.check("container", "+10.9.0.3:80", "+[fd09::3]:80", "10.9.0.3:443", web4+":80")
	w.putPeers(db, []string{"label:app=web", "198.51.100.2/32", "198.51.100.3/32"}, []string{"network:back",
		"10.9.0.0/24"})
	w.check("all", "+10.9.0.3:80", "+10.9.0.3:443", "+"+web4+":80", "10.9.0.1:443", "10.9.0.1:80")

	w.start()
	w.check("after a restart", "+10.9.0.3:80", "+10.9.0.3:443", "+"+web4+":80", "["+web6+"]:80")
	if err := w.enforcer.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	open, err := w.a.Dial("tcp", "10.9.0.3:80", 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := exchange(open); err != nil {
		t.Fatal(err)
	}
	w.putPeers([]string{"container:db", "10.9.0.4/32"}, []string{"label:app=web", "198.51.100.3/32"})
	if exchange(open) == nil {
		t.Error("a connection to a container that has gone continues")
	}
	w.check("moved", "10.9.0.3:80", "[fd09::3]:80", "10.9.0.3:443", web4+":80")

	w.putPeers([]string{"label:app=bad", "10.9.0.3/32"})
	w.put("lan", "!label:app=bad:80")
	w.check("denied", "10.9.0.3:80", "+10.9.0.3:443")
	w.putPeers()
	w.check("not denied any more", "+10.9.0.3:80")
	if n := strings.Count(w.host.Run("nft", "list", "sets", "inet"), "set peer_"); n != 2 {
		t.Errorf("%d sets of peers, want those of one label", n)
	}
	w.checkOtherHosts()
	if err := w.enforcer.PutPeers(context.Background(), []plan.Peer{{Name: "db"}}, false); err == nil {
		t.Error("a peer without a kind was accepted")
	}
}

// checkOtherHosts checks that addresses of other hosts remain while they are not known.
func (w *world) checkOtherHosts() {
	w.t.Helper()
	put := func(unknown bool, all ...plan.Peer) {
		w.t.Helper()
		if err := w.enforcer.PutPeers(w.t.Context(), all, unknown); err != nil {
			w.t.Fatal(err)
		}
	}
	one := func(text string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(text)} }
	w.put("label:app=db:80")
	put(false, plan.Peer{Name: "label:app=db", OtherHosts: one("10.9.0.3/32")})
	w.check("of another host", "+10.9.0.3:80", web4+":80")
	put(true, plan.Peer{Name: "label:app=db", Prefixes: one(web4 + "/32"), OtherHosts: one("192.0.2.1/32")})
	w.check("not known", "+10.9.0.3:80", "+"+web4+":80")
	w.start()
	put(true, plan.Peer{Name: "label:app=db"})
	w.check("not known after a restart", "+10.9.0.3:80", web4+":80")
	put(false, plan.Peer{Name: "label:app=db"})
	w.check("none", "10.9.0.3:80")
}

// TestIngress checks rules for incoming traffic: of the same bridge, from outside and from the host.
func TestIngress(t *testing.T) {
	w := newWorld(t)
	w.web.Run("sh", "-c", "ip route add 10.9.0.0/24 via 198.51.100.1 2>/dev/null || true")
	into := func(when string, list ...string) {
		t.Helper()
		from := map[string]*testns.NS{"b": w.b, "host": w.host, "web": w.web}
		for _, one := range list {
			one, open := strings.CutPrefix(one, "+")
			name, to, _ := strings.Cut(one, " ")
			want := "refused"
			if open {
				want = ""
			}
			if got := w.connect(from[name], to); got != want {
				t.Errorf("%s: %s: got %q, want %q", when, one, got, want)
			}
		}
	}
	if !w.frameArrives(0x88b5, answerTime) {
		t.Error("a frame of another protocol is lost without a policy")
	}
	into("no policy", "+b 10.9.0.2:80", "+host 10.9.0.2:80", "+web 10.9.0.2:80", "+host [fd09::2]:80")
	for _, c := range []struct {
		rules string
		want  []string
	}{
		{"none", []string{"b 10.9.0.2:80", "b [fd09::2]:80", "host 10.9.0.2:80", "host [fd09::2]:80", "web 10.9.0.2:80",
			"web [fd09::2]:80"}},
		{"lan:80", []string{"+b 10.9.0.2:80", "b 10.9.0.2:443", "+b [fd09::2]:80", "host 10.9.0.2:80",
			"web 10.9.0.2:80"}},
		{"internet", []string{"b 10.9.0.2:80", "+web 10.9.0.2:80", "+web [fd09::2]:443", "host 10.9.0.2:80"}},
		{"host", []string{"+host 10.9.0.2:80", "+host [fd09::2]:443", "b 10.9.0.2:80", "web 10.9.0.2:80"}},
		{"198.51.100.2:443/tcp", []string{"web 10.9.0.2:80", "+web 10.9.0.2:443", "b 10.9.0.2:443"}},
		{"all,!10.9.0.3:80", []string{"+web 10.9.0.2:80", "b 10.9.0.2:80", "+b 10.9.0.2:443", "+host 10.9.0.2:80"}},
		{"container:bb,!label:app", []string{"+b 10.9.0.2:80", "web 10.9.0.2:80", "host 10.9.0.2:80"}},
	} {
		w.putPeers([]string{"container:bb", "10.9.0.3/32"}, []string{"label:app", "198.51.100.2/32"})
		w.putIngress(nil, strings.Split(c.rules, ","))
		into(c.rules, c.want...)
		w.check(c.rules+", outgoing", "+"+web4+":80", "+10.9.0.3:80", "+10.9.0.1:80")
	}

	w.putIngress([]string{"10.9.0.3:80"}, []string{"host"})
	into("both", "b 10.9.0.2:80", "+host 10.9.0.2:80")
	w.check("both", "+10.9.0.3:80", web4+":80")
	w.start()
	into("after a restart", "b 10.9.0.2:80", "+host 10.9.0.2:80")
	if text := w.refusals(1); !strings.Contains(text, "box policy tcp 10.9.0.3 80  in") {
		t.Errorf("recorded:\n%s", text)
	}

	w.putIngress(nil, []string{"lan"})
	if w.frameArrives(0x88b5, silenceTime) {
		t.Error("a frame of another protocol reached a container with an ingress policy")
	}
	open, err := w.b.Dial("tcp", "10.9.0.2:80", 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := exchange(open); err != nil {
		t.Fatal(err)
	}
	w.putIngress(nil, []string{"lan:443"})
	if exchange(open) == nil {
		t.Error("an incoming connection that is not allowed any more continues")
	}
	if n := w.enforcer.Refused(owner); n == 0 {
		t.Error("no refused packets counted")
	}
	if err := w.enforcer.Release(context.Background(), owner); err != nil {
		t.Fatal(err)
	}
	into("released", "+b 10.9.0.2:80", "+host 10.9.0.2:80", "+web 10.9.0.2:80")
	if text := w.host.Run("nft", "list", "ruleset"); strings.Contains(text, owner[:12]) ||
		strings.Contains(text, "peer_") {
		t.Errorf("left in the kernel:\n%s", text)
	}
}

package hostfirewall

import (
	"context"
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// rules are typical host firewalls, with the ports that they block for 10.9.0.5 on eth0. Port 80 is
// closed, 22 open, 8080 open for 10.9.0.0/16.
var rules = map[string]struct{ script, by string }{
	"nothing":            {"true", ""},
	"everything is open": {`iptables-nft -A INPUT -j ACCEPT`, ""},
	"a policy": {`iptables-nft -P INPUT DROP; iptables-nft -A INPUT -i lo -j ACCEPT; iptables-nft -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
		iptables-nft -A INPUT -p tcp --dport 22 -j ACCEPT; iptables-nft -A INPUT -s 10.9.0.0/16 -p tcp -m multiport --dports 8000:8080,9 -j ACCEPT`, "ip filter INPUT"},
	"a policy of the older iptables": {`iptables-legacy -P INPUT DROP; iptables-legacy -A INPUT -p tcp --dport 22 -j ACCEPT
		iptables-legacy -A INPUT -s 10.9.0.0/16 -p tcp --dport 8080 -j ACCEPT`, "ip filter INPUT"},
	"chains such as ufw's": {`iptables-nft -N user; iptables-nft -N logged; iptables-nft -A INPUT -j user; iptables-nft -A INPUT -j logged
		iptables-nft -A user -p tcp --dport 22 -m comment --comment "for all, as -j DROP" -j ACCEPT
		iptables-nft -A user -s 10.9.0.0/16 -p tcp --dport 8080 -j ACCEPT
		iptables-nft -A user ! -s 10.8.0.0/16 -j RETURN
		iptables-nft -A user -j ACCEPT
		iptables-nft -A logged -m limit --limit 3/min -j LOG; iptables-nft -A logged -j REJECT`, "ip filter INPUT"},
	"a table of nft's": {`nft 'table inet mine { set open { type inet_service; elements = { 22 }; }
		chain in { type filter hook input priority 0; policy drop; ct state vmap { established : accept,
			related : accept, invalid : drop }; iifname "lo" accept
		tcp dport { 22,
			2222-2230 } accept; ip saddr 10.9.0.0/16 tcp dport 8000-8080 accept; meta l4proto icmp accept; jump more; };
		chain more { tcp dport 80 reject; tcp dport 22 accept; }; }'`, "inet mine in"},
	"a chain that they accept in": {`nft 'table inet one { chain in { type filter hook input priority 0; tcp dport { 80, 22, 8080 } accept; }; }'
		nft 'table inet two { chain in { type filter hook input priority 5; tcp dport 80 drop; }; }'`, "inet two in"},
	"what cannot be known": {`iptables-nft -P INPUT DROP; iptables-nft -A INPUT -m mark --mark 7 -j ACCEPT`, ""},
	"rules that only watch": {`iptables-nft -A INPUT -j LOG; iptables-legacy -A INPUT -j LOG; iptables-nft -P INPUT DROP
		iptables-nft -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT; iptables-nft -A INPUT -s 10.9.0.5/32 -p tcp -m state --state NEW -m tcp --dport 8000:8100 -j ACCEPT`, "ip filter INPUT"},
	"names and numbers of interfaces": {`nft 'table ip mine { chain in { type filter hook input priority 0; policy drop; iif "lo" accept
		ct state established,related accept; fib daddr type != local drop; ip protocol icmp accept;
		iifname "eth*" tcp flags & (fin|syn|rst|ack) == syn tcp dport { 22, 8000-9000 } ip saddr { 10.9.0.0/16, 192.168.0.0/24 } accept; }; }'`, "ip mine in"},
	"verdicts in a map": {`nft 'table inet mine { chain in { type filter hook input priority 0; policy accept
		meta l4proto udp drop; tcp dport vmap { 22 : jump open, 80 : jump closed, 8000-8100 : goto open }; }; chain open { accept; }; chain closed { counter drop; }; }'`, "inet mine in"},
	"a map with a name":   {`nft 'table inet mine { map who { type inet_service : verdict; }; chain in { type filter hook input priority 0; policy drop; tcp dport vmap @who; }; }'`, ""},
	"pairs":               {`nft 'table inet mine { chain in { type filter hook input priority 0; policy drop; ip saddr . tcp dport { 10.9.0.5 . 80 } accept; }; }'`, ""},
	"a table that sleeps": {`nft 'table inet mine { flags dormant; chain in { type filter hook input priority 0; policy drop; }; }'`, ""},
	"a set that is not shown": {`nft 'table inet mine { set open { type inet_service; }
		chain in { type filter hook input priority 0; policy drop; tcp dport @open accept; }; }'`, ""},
}

// ofTCP are the rules with uncertain results for TCP only.
var ofTCP = map[string]bool{"a set that is not shown": true, "a map with a name": true, "pairs": true}

func TestOnlyCertainBlocksCount(t *testing.T) {
	for name, row := range rules {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, peer := testns.New(t), testns.New(t)
			testns.Connect(t, host, "eth0", "10.9.0.1/24", peer, "eth0", "10.9.0.5/24")
			host.Run("sh", "-ec", row.script)
			r := New(hostns.At(host.Fd()), nfevents.New(hostns.At(host.Fd())), "fairlead")
			defer func() { _ = r.Close() }()
			for _, number := range []uint16{22, 80, 8080} {
				c, closed := r.Blocked(context.Background(), port.TCP,
					netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), number), netip.MustParseAddr("10.9.0.5"))
				got := c.Family + " " + c.Table + " " + c.Chain
				want := row.by != "" && number == 80
				if closed != want || closed && got != row.by {
					t.Errorf("port %d: got blocked %v by %q, want %v by %q", number, closed, got, want, row.by)
				}
				if actual := isClosed(host, peer, number); closed && !actual {
					t.Errorf("port %d: got blocked, want open", number)
				}
			}
			if c, closed := r.Blocked(context.Background(), port.UDP, netip.MustParseAddrPort("10.9.0.1:22"),
				netip.MustParseAddr("10.9.0.5")); closed != (row.by != "" && name != "a chain that they accept in" ||
				ofTCP[name]) {
				t.Errorf("22/udp: closed %v by %v", closed, c)
			}
		})
	}
}

// isClosed checks with a real connection.
func isClosed(host, peer *testns.NS, port uint16) bool {
	l := host.Listen("tcp4", netip.AddrPortFrom(netip.IPv4Unspecified(), port).String())
	defer func() { _ = l.Close() }()
	c, err := peer.Dial("tcp4", netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), port).String(), 300e6)
	if err == nil {
		_ = c.Close()
	}
	return err != nil
}

package explain_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/services/natagent/internal/explain"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall/nfevents"
	"github.com/fairlead/fairlead/services/natagent/internal/hostfirewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

// The subnet of the address decides: the rules of three tables accept 10.9.0.0/16.
func TestBlockedPortsOfSubnet(t *testing.T) {
	for name, row := range map[string]struct{ script, address, want string }{
		"nft": {`nft 'table inet mine { chain in { type filter hook input priority 0; policy drop; iifname "lo" accept
			tcp dport 7450 accept; ip saddr 10.9.0.0/16 tcp dport 7451 accept; }; }'`, "10.9.0.1",
			"udp 4789 closed to hosts of 10.9.0.0/24, blocked in the host firewall by the policy of inet mine in"},
		"iptables": {`iptables-nft -A INPUT -i lo -j ACCEPT; iptables-nft -A INPUT -p tcp --dport 7450 -j ACCEPT
			iptables-nft -A INPUT -s 10.9.0.0/16 -p tcp --dport 7451 -j ACCEPT; iptables-nft -A INPUT -j REJECT`,
			"10.9.0.1",
			"udp 4789 closed to hosts of 10.9.0.0/24, blocked in the host firewall by a rule of ip filter INPUT"},
		"older iptables": {`iptables-legacy -P INPUT DROP; iptables-legacy -A INPUT -p tcp --dport 7450 -j ACCEPT
			iptables-legacy -A INPUT -s 10.9.0.0/16 -p tcp --dport 7451 -j ACCEPT`, "10.8.0.255",
			"tcp 7451 closed to hosts of 10.8.0.0/16, blocked in the host firewall by the policy of ip filter " +
				"INPUT; udp 4789 closed to hosts of 10.8.0.0/16, blocked in the host firewall by the policy of ip " +
				"filter INPUT"},
		"single address": {`nft 'table ip mine { chain in { type filter hook input priority 0;
			ip saddr 203.0.113.1 udp dport 4789 drop; }; }'`, "10.7.0.1",
			"udp 4789 closed to other hosts, blocked in the host firewall by a rule of ip mine in"},
		"end of a subnet": {`nft 'table ip mine { chain in { type filter hook input priority 0;
			ip saddr 10.6.0.253 udp dport 4789 drop; }; }'`, "10.6.0.254",
			"udp 4789 closed to hosts of 10.6.0.0/24, blocked in the host firewall by a rule of ip mine in"},
		"IPv6": {`nft 'table ip6 mine { chain in { type filter hook input priority 0; tcp dport 7451 reject; }; }'`,
			"fd00:9::1",
			"tcp 7451 closed to hosts of fd00:9::/64, blocked in the host firewall by a rule of ip6 mine in"},
		"nothing": {"true", "10.9.0.1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := testns.New(t)
			ns.Run("sh", "-ec", `ip link set lo up; ip link add eth0 type veth peer name other; ip link set eth0 up
				for a in 10.9.0.1/24 10.8.0.255/16 10.7.0.1/32 10.6.0.254/24 fd00:9::1/64; do ip address add $a dev eth0
				done; `+row.script)
			reader := hostfirewall.New(hostns.At(ns.Fd()), nfevents.New(hostns.At(ns.Fd())), "fairlead")
			defer func() { _ = reader.Close() }()
			e := explain.New(hostns.At(ns.Fd()), nil, nil, reader, nil)

			all, err := e.BlockedPorts(context.Background(), netip.MustParseAddr(row.address),
				[]explain.Port{{port.TCP, 7450}, {port.TCP, 7451}, {port.UDP, 4789}})
			var got []string
			for _, b := range all {
				got = append(got, fmt.Sprintf("%s %d %s", b.Protocol, b.Number, b.Reason()))
			}
			if err != nil || strings.Join(got, "; ") != row.want {
				t.Errorf("got %q, error %v, want %q", strings.Join(got, "; "), err, row.want)
			}
		})
	}
}

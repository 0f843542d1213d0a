package command_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/id"
)

func networkNamed(name string, change func(*networkv1.Network)) *networkv1.Network {
	n := &networkv1.Network{Id: strings.Repeat(name[len(name)-1:], 64), Name: name, Driver: "bridge", Ipv4: true,
		CreatedAt: ago(time.Hour)}
	change(n)
	return n
}

func someNetworks() clienttest.Call {
	return clienttest.Answers(&networkv1.ListNetworksResponse{Networks: []*networkv1.Network{
		networkNamed("neta", func(n *networkv1.Network) {
			n.Labels = map[string]string{"env": "test",
				"a": ""}
			n.Internal = true
		}),
		networkNamed("netb", func(n *networkv1.Network) { n.Ipv6 = true; n.CreatedAt = ago(time.Minute) }),
		networkNamed("bridge", func(n *networkv1.Network) { n.Predefined = true }),
	}})
}

func TestNetworkCreateRequests(t *testing.T) {
	made := clienttest.Script{"CreateNetwork": {clienttest.Answers(
		&networkv1.CreateNetworkResponse{Network: &networkv1.Network{Id: "new"}})}}
	on, off := true, false
	for _, c := range []struct {
		args string
		want *networkv1.CreateNetworkRequest
	}{
		{"network create n1", &networkv1.CreateNetworkRequest{Name: "n1", Driver: "bridge"}},
		{"network create --subnet 10.1.0.0/16 --subnet fd00::/64 --ip-range 10.1.2.0/24 --gateway 10.1.0.9 " +
			"--aux-address a=10.1.0.5 --ipv6 --ipv4=false n1",
			&networkv1.CreateNetworkRequest{Name: "n1", Driver: "bridge", Ipv4: &off, Ipv6: &on,
				Pools: []*networkv1.PoolSpec{
					{Subnet: "10.1.0.0/16", IpRange: "10.1.2.0/24", Gateway: "10.1.0.9",
						AuxAddresses: map[string]string{"a": "10.1.0.5"}}, {Subnet: "fd00::/64"}}}},
		{"network create --attachable --ipam-opt a=b --ipam-opt c=d n1", &networkv1.CreateNetworkRequest{Name: "n1",
			Driver: "bridge", Attachable: true, IpamOptions: map[string]string{"a": "b", "c": "d"}}},
		{"network create -d bridge --internal --label env=test --label x -o com.docker.network.driver.mtu=1400 n1",
			&networkv1.CreateNetworkRequest{Name: "n1",
				Driver: "bridge", Internal: true, Labels: map[string]string{"env": "test",
					"x": ""}, Options: map[string]string{"com.docker.network.driver.mtu": "1400"}}},
	} {
		got := execute(t, row{args: c.args, script: made})
		if got.stdout != "new\n" || got.stderr != "" || len(got.requests) != 1 {
			t.Fatalf("%s: %+v", c.args, got)
		}
		req := got.requests[0].(*networkv1.CreateNetworkRequest)
		if !id.Valid(req.GetId()) {
			t.Errorf("%s: the id is %q", c.args, req.GetId())
		}
		if req.Id = ""; !proto.Equal(req, c.want) {
			t.Errorf("%s\nasked %v\n want %v", c.args, req, c.want)
		}
	}

	checkAll(t, []row{
		{args: "network create --gateway 10.1.0.1 n1", code: 1, requests: []proto.Message{},
			stderr: "fairlead: --subnet: every ip-range or gateway must have a corresponding subnet\n"},
		{args: "network create --subnet 10.1.0.0/16 --gateway 10.2.0.1 n1", code: 1, requests: []proto.Message{},
			stderr: "fairlead: --gateway 10.2.0.1: no matching subnet for gateway 10.2.0.1\n"},
		{args: "network create --scope swarm n1", code: 1, requests: []proto.Message{},
			stderr: "fairlead: --scope swarm: only the scope local is supported, and global with -d overlay; " +
				"omit --scope\n"},
		{args: "network create --ingress n1", code: 1, requests: []proto.Message{},
			stderr: "fairlead: --ingress: not supported (Swarm only); omit it and publish ports with -p\n"},
		{args: "network create", code: 1,
			stderr: "fairlead: 'fairlead network create' requires exactly 1 argument; see 'fairlead network " +
				"create --help'\n"},
	})
}

func TestNetworkListFiltersAndFormats(t *testing.T) {
	list := clienttest.Script{"ListNetworks": {someNetworks()}}
	checkAll(t, []row{
		{args: "network ls", script: list,
			stdout: "NETWORK ID     NAME      DRIVER    SCOPE\neeeeeeeeeeee   bridge    bridge    local\n" +
				"aaaaaaaaaaaa   neta      bridge    local\nbbbbbbbbbbbb   netb      bridge    local\n"},
		{args: "network ls -f label=env=test -f dangling=true --format '{{.Name}} {{.Labels}} {{.Internal}} " +
			"{{.IPv4}} {{.IPv6}}'", script: list,
			stdout: "bridge  false true false\nneta a=,env=test true true false\nnetb  false true true\n",
			requests: []proto.Message{&networkv1.ListNetworksRequest{Filters: []string{"label=env=test",
				"dangling=true"}}}},
		{args: "network ls -f x", code: 1, script: clienttest.Script{"ListNetworks": {clienttest.Fails(
			fault.Invalidf("filter x", "filters", "bad format of filter (expected name=value)"))}},
			stderr: "fairlead: --filter x: bad format of filter (expected name=value); see 'fairlead network ls " +
				"--help'\n"},
	})
}

func TestNetworkEditWaitsForContainers(t *testing.T) {
	mtu := uint32(1400)
	done := clienttest.Script{"UpdateNetwork": {clienttest.Answers(
		&networkv1.UpdateNetworkResponse{Network: &networkv1.Network{Id: "1d"}})},
		"WaitNetwork": {clienttest.Answers(&networkv1.WaitNetworkResponse{Network: &networkv1.Network{Name: "n1"}})}}
	var rows []row
	for args, want := range map[string]*networkv1.UpdateNetworkRequest{
		"--mtu 1400 --label a=b --label-rm c": {Mtu: &mtu, Labels: map[string]string{"a": "b", "c": ""}},
		"--subnet 10.2.0.0/24 --renumber":     {Subnets: []string{"10.2.0.0/24"}, Renumber: true},
		"--renumber":                          {Renumber: true},
		"--ipv6 --dns 9.9.9.9,1.1.1.1 --dns 2620:fe::fe": {Ipv6: true,
			Dns: &networkv1.NameServers{Addresses: []string{"9.9.9.9", "1.1.1.1", "2620:fe::fe"}}},
		"--dns ''": {Dns: &networkv1.NameServers{}},
	} {
		want.Reference = "n1"
		rows = append(rows, row{args: "network update " + args + " n1", script: done, stdout: "n1\n",
			requests: []proto.Message{want, &networkv1.WaitNetworkRequest{Reference: "1d"}}})
	}

	checkAll(t, append(rows,
		row{args: "network update n1", code: 1, requests: []proto.Message{},
			stderr: "fairlead: network update: no change given: use --mtu, --subnet, --dns, --egress, --bandwidth, " +
				"--packets, --max-connections, --ipv6, " +
				"--renumber, --label or --label-rm\n"},
		row{args: "network update --ipv6=false n1", code: 1, requests: []proto.Message{},
			stderr: "fairlead: network n1: IPv6 cannot be removed; create a new network and connect the " +
				"containers to it\n"},
		row{args: "network update --dns 1.1.1.1 n1", code: 1,
			stderr: "fairlead: network n1: containers are not updated yet: web\n", script: clienttest.Script{
				"UpdateNetwork": done["UpdateNetwork"], "WaitNetwork": {clienttest.Fails(fault.New(fault.Unavailable,
					"network n1", "containers are not updated yet: web"))}}},
	))
}

func TestNetworkRemove(t *testing.T) {
	ok := clienttest.Answers(&networkv1.DeleteNetworkResponse{Id: "x"})
	gone := clienttest.Fails(fault.NotFoundf("network n2", "not found"))
	busy := clienttest.Fails(fault.New(fault.Busy, "network n2",
		"error while removing network: network n2 has active endpoints (name:\"c1\" id:\"d8\")"))
	checkAll(t, []row{
		{args: "network rm n1", script: clienttest.Script{"DeleteNetwork": {ok}}, stdout: "n1\n",
			requests: []proto.Message{&networkv1.DeleteNetworkRequest{Reference: "n1"}}},
		{args: "network rm n2", script: clienttest.Script{"DeleteNetwork": {busy}}, code: 1,
			stderr: "fairlead: network n2: error while removing network: network n2 has active endpoints " +
				"(name:\"c1\" id:\"d8\")\n"},
		{args: "network rm n2", script: clienttest.Script{"DeleteNetwork": {gone}},
			stderr: "fairlead: network n2: not found\n", code: 1},
		{args: "network rm -f n2", script: clienttest.Script{"DeleteNetwork": {gone}},
			stderr: "fairlead: network n2: not found\n"},
	})
}

func TestNetworkPrune(t *testing.T) {
	script := clienttest.Script{"PruneNetworks": {clienttest.Answers(
		&networkv1.PruneNetworksResponse{Deleted: []string{"neta", "netb"}})}}
	const question = "WARNING! This will remove all custom networks not used by at least one " +
		"container.\nAre you sure you want to continue? [y/N] "
	const gone = "Deleted Networks:\nneta\nnetb\n\n"
	asked := func(req *networkv1.PruneNetworksRequest) []proto.Message { return []proto.Message{req} }
	checkAll(t, []row{
		{args: "network prune -f", script: script, stdout: gone, requests: asked(&networkv1.PruneNetworksRequest{})},
		{args: "network prune -f",
			script: clienttest.Script{"PruneNetworks": {clienttest.Answers(&networkv1.PruneNetworksResponse{})}}},
		{args: "network prune -f --filter until=30m", script: script, stdout: gone,
			requests: asked(&networkv1.PruneNetworksRequest{Until: ago(30 * time.Minute)})},
		{args: "network prune -f --filter until=2h --filter until=30m", script: script, stdout: gone,
			requests: asked(&networkv1.PruneNetworksRequest{Until: ago(2 * time.Hour)})},
		{args: "network prune -f --filter label!=env --filter label=a --filter label=b=1", script: script, stdout: gone,
			requests: asked(&networkv1.PruneNetworksRequest{Labels: []string{"a", "b=1"},
				ExcludeLabels: []string{"env"}})},
		{args: "network prune", stdin: "y\n", script: script, stdout: question + gone},
		{args: "network prune", stdin: "\n", stdout: question, stderr: "operation canceled\n", code: 1,
			requests: []proto.Message{}},
		{args: "network prune -f",
			script: clienttest.Script{"PruneNetworks": {clienttest.Fails(fault.New(fault.Unavailable, "network neta",
				"cannot be deleted"))}}, code: 1,
			stderr: "fairlead: network neta: cannot be deleted\n"},
		{args: "network prune -f --filter until=x", code: 1,
			stderr: "fairlead: --filter until=x: \"x\" is not a duration or an RFC 3339 time; see 'fairlead " +
				"network prune --help'\n"},
		{args: "network prune -f --filter foo=1", code: 1,
			stderr: "fairlead: --filter foo=1: invalid filter 'foo'; use until, label or label!; see 'fairlead " +
				"network prune --help'\n"},
	})
}

func TestNetworkConnectAndDisconnect(t *testing.T) {
	script := clienttest.Script{"ConnectNetwork": {clienttest.Answers(&containerv1.ConnectNetworkResponse{})},
		"DisconnectNetwork": {clienttest.Answers(&containerv1.DisconnectNetworkResponse{})}}
	checkAll(t, []row{
		{args: "network connect n1 web", script: script,
			requests: []proto.Message{&containerv1.ConnectNetworkRequest{Reference: "web",
				Network: &containerv1.NetworkAttachment{Network: "n1"}}}},
		{args: "network connect --ip 10.0.0.5 --ip6 fd00::5 --mac-address 02-00-00-00-00-01 --alias a --alias b " +
			"--gw-priority 4 --driver-opt com.docker.network.endpoint.ifname=lan n1 web",
			script: script, requests: []proto.Message{&containerv1.ConnectNetworkRequest{Reference: "web",
				Network: &containerv1.NetworkAttachment{Network: "n1",
					Ipv4Address: "10.0.0.5", Ipv6Address: "fd00::5", MacAddress: "02:00:00:00:00:01",
					Aliases: []string{"a", "b"}, GatewayPriority: 4, InterfaceName: "lan"}}}},
		{args: "network connect --ip x n1 web", stderr: "fairlead: --ip x: invalid IP address: x\n", code: 1,
			requests: []proto.Message{}},
		{args: "network disconnect -f n1 web",
			script: clienttest.Script{"DisconnectNetwork": {clienttest.Fails(fault.NotFoundf("container web",
				"not connected"))}}},
		{args: "network disconnect n1 web", script: script,
			requests: []proto.Message{&containerv1.DisconnectNetworkRequest{Reference: "web", Network: "n1"}}},
	})
}

func TestRunNetworkFlags(t *testing.T) {
	script := clienttest.Script{"RunContainer": {clienttest.Answers(runStarted("c1"))}}
	for args, want := range map[string]*containerv1.NetworkConfig{
		"":                        {},
		"--network none":          {Mode: "none"},
		"--net n1":                {Mode: "n1"},
		"--network container:web": {Mode: "container:web"},
		"--ip 10.0.0.5": {Networks: []*containerv1.NetworkAttachment{{Network: "default",
			Ipv4Address: "10.0.0.5"}}},
		"--network n1 --ip 10.0.0.5 --ip6 fd00::5 --mac-address 02:00:00:00:00:01 --network-alias " +
			"a": {Networks: []*containerv1.NetworkAttachment{{Network: "n1",
			Ipv4Address: "10.0.0.5", Ipv6Address: "fd00::5", MacAddress: "02:00:00:00:00:01", Aliases: []string{"a"}}}},
		"--network name=n1,ip=10.0.0.5,gw-priority=1 --network n2": {Networks: []*containerv1.NetworkAttachment{
			{Network: "n1", Ipv4Address: "10.0.0.5", GatewayPriority: 1}, {Network: "n2"}}},
	} {
		got := execute(t, row{args: "run -d " + args + " nginx", script: script})
		if len(got.requests) != 1 {
			t.Fatalf("%s: %+v", args, got)
		}
		if req := got.requests[0].(*containerv1.RunContainerRequest); !proto.Equal(
			req.GetRun().GetConfig().GetNetwork(), want) {
			t.Errorf("%s: asked for %v, want %v", args, req.GetRun().GetConfig().GetNetwork(), want)
		}
	}

	for args, want := range map[string]string{
		"--network n1 --network n1":                   `network "n1" is specified multiple times`,
		"--network name=n1,ip=10.0.0.5 --ip 10.0.0.6": "conflicting options: --ip is also given with --network",
		"--mac-address xx":                            "xx is not a valid mac address",
		"--ip fd00::1 --network n1":                   "invalid IP address: fd00::1",
	} {
		got := execute(t, row{args: "run -d " + args + " nginx"})
		if !strings.Contains(got.stderr, want) || got.code != 125 || len(got.requests) != 0 {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

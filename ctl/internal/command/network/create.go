package network

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/networkspec"
	"github.com/fairlead/fairlead/proto/fault"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/id"
)

type createOptions struct {
	driver                         string
	subnets, ranges, gateways, aux []string
	labels, options                []string
	internal, ipv4, ipv6           bool
	dns                            []string
	configOnly                     bool
	configFrom                     string
	scope                          string
	attachable, ingress            bool
	ipamOptions                    []string
	ipam                           string
}

func newCreate(c *cli.CLI) *cobra.Command {
	var o createOptions
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] NETWORK",
		Short: "Create a network",
		Long: `Create a network.

A subnet that is not given is taken from the default pools, where nothing else of this host is. One of Docker's ranges is a /26 that
grows in its place when its addresses run out; one of configured default-address-pools stays as large as they say. Options of bridge
networks: com.docker.network.bridge.name, .bridge.enable_icc, .bridge.enable_ip_masquerade, .bridge.host_binding_ipv4,
.bridge.inhibit_ipv4, .bridge.gateway_mode_ipv4 and _ipv6 (nat; nat-unprotected: others reach containers at their own addresses;
routed: so too, but only by published ports and ICMP, and what leaves keeps its address; isolated: with --internal, not even the
host does), .bridge.trusted_host_interfaces (by these others do, names with colons between), .host_ipv4 and .host_ipv6 (the address
that what leaves takes), .advertise_addr_nmsgs and .advertise_addr_ms (how often neighbours are told of a new container's addresses,
0 to 3 times, and the time between, 100 to 2000), .driver.mtu and .container_iface_prefix.

Containers of macvlan and ipvlan networks are on the LAN of a link of the host, their parent: parent=LINK, or LINK.VLAN, which
is made if it is not there; without one they only have each other. Their default route is the --gateway, if one is given, and of
ipvlan in mode l3 and l3s the link. Options: parent, macvlan_mode (bridge, private, vepa, passthru), ipvlan_mode (l2, l3, l3s),
ipvlan_flag (bridge, private, vepa), host_access (false: the host has no way to them), conflict_detection (false: addresses are
taken without asking the LAN for 0.2 seconds whether somebody has them), and of the above .advertise_addr_nmsgs, .advertise_addr_ms,
.driver.mtu and .container_iface_prefix.

With --ipam-driver dhcp their addresses, routes, name servers, search domains and MTU come from the LAN: by DHCP, and with --ipv6 by
DHCPv6, or as the router advertises where it does not say that addresses are managed (SLAAC). The server knows a container by its name
and by a client id and hardware address that stay while there is the container. Leases are renewed by the agent, and what changes with
that is followed. They are held while the container is stopped; rm, network disconnect and network rm give them back. One that nobody
prolongs ends on time: the address is taken off, and another is asked for; names and ports follow it. --ip asks for a certain address,
and fails if the server gives another. --dns and --dns-search win over what the LAN tells, and so do routes that a container has laid
itself; routes into a subnet of another network of the container are left out.`,
		Example: `  $ fairlead network create --subnet 10.9.0.0/24 backend
  $ fairlead network create -d macvlan --subnet 192.168.8.0/24 --ip-range 192.168.8.64/26 --gateway 192.168.8.1 -o parent=eth0 lan
  $ fairlead network create -d macvlan --ipam-driver dhcp -o parent=eth0 lan`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := o.request(args[0])
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("ipv4") {
				req.Ipv4 = &o.ipv4
			}
			if cmd.Flags().Changed("ipv6") {
				req.Ipv6 = &o.ipv6
			}
			return create(cmd.Context(), c, req)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.driver, "driver", "d", "bridge", "`DRIVER` that makes the network: bridge, macvlan or ipvlan (overlay needs a fleet)")
	f.StringArrayVar(&o.subnets, "subnet", nil, "Subnet `CIDR`, for a bridge one a family; 0.0.0.0/25 is any of that length")
	f.StringArrayVar(&o.ranges, "ip-range", nil, "Part `CIDR` of the subnet that containers' addresses come from")
	f.StringArrayVar(&o.gateways, "gateway", nil, "`IP` address of the host in the subnet; the first unless given")
	f.StringArrayVar(&o.aux, "aux-address", nil, "Address `NAME=IP` that no container gets")
	f.StringVar(&o.ipam, "ipam-driver", "default", "Who gives addresses, `DRIVER`: default, or dhcp for the LAN's DHCP server")
	f.StringVar(&o.ipam, "ipam", "default", "Short for --ipam-driver, `DRIVER`")
	f.BoolVar(&o.internal, "internal", false, "Let nothing in or out")
	f.BoolVar(&o.ipv4, "ipv4", true, "Give containers IPv4 addresses")
	f.BoolVar(&o.ipv6, "ipv6", false, "Give containers IPv6 addresses")
	f.StringSliceVar(&o.dns, "dns", nil, "DNS server `IP` for its containers' questions, unless they have their own")
	f.BoolVar(&o.configOnly, "config-only", false, "Make no network, but a configuration for others")
	f.StringVar(&o.configFrom, "config-from", "", "Take the configuration of `NETWORK`, which was made with --config-only")
	f.StringVar(&o.scope, "scope", "local", "Where the network is, `SCOPE`: local, on this host")
	f.BoolVar(&o.attachable, "attachable", false, "Of Docker's swarms: not to be had")
	f.BoolVar(&o.ingress, "ingress", false, "Of Docker's swarms: not to be had")
	f.StringArrayVar(&o.ipamOptions, "ipam-opt", nil, "Option `KEY=VALUE` of the IPAM driver: there is none")
	f.StringArrayVar(&o.labels, "label", nil, "Label with a `KEY[=VALUE]`")
	f.StringArrayVarP(&o.options, "opt", "o", nil, "Driver option `KEY=VALUE`")
	return cmd
}

func (o *createOptions) request(name string) (*networkv1.CreateNetworkRequest, error) {
	req := &networkv1.CreateNetworkRequest{Id: id.New(), Name: name, Driver: o.driver, Internal: o.internal,
		ConfigOnly: o.configOnly, ConfigFrom: o.configFrom, Dns: o.dns}
	if err := o.rejectSwarmFlags(); err != nil {
		return nil, err
	}
	if o.ipam != "default" {
		req.IpamDriver = o.ipam
	}
	pools, err := networkspec.Pools(o.subnets, o.ranges, o.gateways, o.aux)
	if err != nil {
		return nil, err
	}
	for _, p := range pools {
		req.Pools = append(req.Pools, &networkv1.PoolSpec{Subnet: p.Subnet, IpRange: p.Range, Gateway: p.Gateway, AuxAddresses: p.Aux})
	}
	if req.Labels, err = networkspec.ParseKeyValues("label", o.labels); err != nil {
		return nil, err
	}
	req.Options, err = networkspec.ParseKeyValues("opt", o.options)
	return req, err
}

// rejectSwarmFlags refuses what only means something in a swarm of Docker's, or to IPAM drivers that are not ours.
func (o *createOptions) rejectSwarmFlags() error {
	switch {
	case o.scope != "local" && o.scope != "":
		return fault.New(fault.Invalid, "--scope "+o.scope, "networks of this host have the scope local", fault.WithField("scope"),
			fault.WithHint("those that span hosts are made by a fleet; leave --scope out"))
	case o.attachable:
		return fault.New(fault.Invalid, "--attachable", "says that containers beside a swarm's services may join, and there is no swarm",
			fault.WithField("attachable"), fault.WithHint("leave it out; any container can be put on the network"))
	case o.ingress:
		return fault.New(fault.Invalid, "--ingress", "is the network of a swarm's published ports, and there is no swarm", fault.WithField("ingress"),
			fault.WithHint("leave it out; publish ports with -p"))
	case len(o.ipamOptions) > 0:
		return fault.New(fault.Invalid, "--ipam-opt "+o.ipamOptions[0], "the IPAM drivers default and dhcp have no options", fault.WithField("ipam_opt"),
			fault.WithHint("leave it out"))
	}
	return nil
}

func create(ctx context.Context, c *cli.CLI, req *networkv1.CreateNetworkRequest) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	res, err := cl.Networks.CreateNetwork(ctx, req)
	if err != nil {
		return err
	}
	c.Println(res.GetNetwork().GetId())
	return nil
}

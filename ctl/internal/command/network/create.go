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
	dns, egress                    []string
	configOnly                     bool
	configFrom                     string
	scope                          string
	attachable, ingress            bool
	ipamOptions                    []string
	ipam                           string
	limits                         limitOptions
}

func newCreate(c *cli.CLI) *cobra.Command {
	var o createOptions
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] NETWORK",
		Short: "Create a network",
		Long: `Create a network.

Without --subnet, a free subnet of default-address-pools is used. With --ipam-driver dhcp (macvlan,
ipvlan l2), addresses come from DHCP, DHCPv6 or SLAAC on the parent's LAN. Their leases are kept
while a container is stopped, and released when it is removed or disconnected.

Bridge options, prefix com.docker.network:
  .bridge.name                       device name
  .bridge.enable_icc                 allow traffic between containers (true)
  .bridge.enable_ip_masquerade       masquerade outgoing traffic (true)
  .bridge.host_binding_ipv4          default host address for published ports
  .bridge.inhibit_ipv4               do not assign the gateway address to the bridge
  .bridge.gateway_mode_ipv4, _ipv6   nat, nat-unprotected, routed or isolated
  .bridge.trusted_host_interfaces    interfaces with direct access, separated by colons
  .host_ipv4, .host_ipv6             SNAT address of outgoing traffic
Macvlan and ipvlan options:
  parent                             host link, or LINK.VLAN (created if missing)
  macvlan_mode                       bridge, private, vepa or passthru
  ipvlan_mode, ipvlan_flag           l2, l3, l3s; bridge, private, vepa
  host_access                        let the host reach the containers (true)
  conflict_detection                 probe for duplicate addresses (true)
Overlay networks span the hosts of a fleet. They are created on a manager.
All, prefix com.docker.network:
  .driver.mtu, .container_iface_prefix
  .advertise_addr_nmsgs, _ms         gratuitous ARP: number (0-3), interval (100-2000)`,
		Example: `  $ fairlead network create --subnet 10.9.0.0/24 backend
  $ fairlead network create -d macvlan --subnet 192.168.8.0/24 \
      --ip-range 192.168.8.64/26 --gateway 192.168.8.1 -o parent=eth0 lan
  $ fairlead network create -d macvlan --ipam-driver dhcp -o parent=eth0 lan`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := o.request(args[0])
			if err != nil {
				return err
			}
			if req.Limits, err = o.limits.toProto(cmd.Flags()); err != nil {
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
	f.StringVarP(&o.driver, "driver", "d", "bridge", "Network driver: bridge, overlay, macvlan or ipvlan")
	f.StringArrayVar(&o.subnets, "subnet", nil, "Subnet (0.0.0.0/LENGTH: any of that size)")
	f.StringArrayVar(&o.ranges, "ip-range", nil, "Allocate container addresses from this range")
	f.StringArrayVar(&o.gateways, "gateway", nil, "Gateway address of a subnet")
	f.StringArrayVar(&o.aux, "aux-address", nil, "Reserve an address: NAME=IP")
	f.StringVar(&o.ipam, "ipam-driver", "default", "Address source: default or dhcp")
	f.StringVar(&o.ipam, "ipam", "default", "Same as --ipam-driver")
	f.BoolVar(&o.internal, "internal", false, "Isolate the network from outside")
	f.BoolVar(&o.ipv4, "ipv4", true, "Enable IPv4")
	f.BoolVar(&o.ipv6, "ipv6", false, "Enable IPv6")
	f.StringArrayVar(&o.egress, "egress", nil, "Rules for outgoing traffic of containers without rules of their own")
	o.limits.add(f)
	f.StringSliceVar(&o.dns, "dns", nil, "Upstream DNS server")
	f.BoolVar(&o.configOnly, "config-only", false, "Create a configuration-only network")
	f.StringVar(&o.configFrom, "config-from", "", "Copy the configuration of another network")
	f.StringVar(&o.scope, "scope", "local", "Network scope (local, or global for overlay)")
	f.BoolVar(&o.attachable, "attachable", false, "Shown by inspect; containers can always be connected")
	f.BoolVar(&o.ingress, "ingress", false, "Not supported (Swarm only)")
	f.StringArrayVar(&o.ipamOptions, "ipam-opt", nil, "IPAM option, shown by inspect: KEY=VALUE")
	f.StringArrayVar(&o.labels, "label", nil, "Set a label: KEY[=VALUE]")
	f.StringArrayVarP(&o.options, "opt", "o", nil, "Driver option: KEY=VALUE (see above)")
	return cmd
}

func (o *createOptions) request(name string) (*networkv1.CreateNetworkRequest, error) {
	req := &networkv1.CreateNetworkRequest{Id: id.New(), Name: name, Driver: o.driver, Internal: o.internal,
		ConfigOnly: o.configOnly, ConfigFrom: o.configFrom, Dns: o.dns, Egress: o.egress,
		Attachable: o.attachable}
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
		req.Pools = append(req.Pools,
			&networkv1.PoolSpec{Subnet: p.Subnet, IpRange: p.Range, Gateway: p.Gateway, AuxAddresses: p.Aux})
	}

	if req.Labels, err = networkspec.ParseKeyValues("label", o.labels); err != nil {
		return nil, err
	}

	if req.IpamOptions, err = networkspec.ParseKeyValues("ipam-opt", o.ipamOptions); err != nil {
		return nil, err
	}

	req.Options, err = networkspec.ParseKeyValues("opt", o.options)
	return req, err
}

// rejectSwarmFlags returns an error for flags of Docker Swarm.
func (o *createOptions) rejectSwarmFlags() error {
	switch {
	case o.scope != "local" && o.scope != "" && !(o.scope == "global" && o.driver == "overlay"):
		return fault.New(fault.Invalid, "--scope "+o.scope,
			"only the scope local is supported, and global with -d overlay",
			fault.WithField("scope"),
			fault.WithHint("omit --scope"))
	case o.ingress:
		return fault.New(fault.Invalid, "--ingress", "not supported (Swarm only)", fault.WithField("ingress"),
			fault.WithHint("omit it and publish ports with -p"))
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
	c.Warn(res.GetNetwork().GetWarnings()...)
	c.Println(res.GetNetwork().GetId())
	return nil
}

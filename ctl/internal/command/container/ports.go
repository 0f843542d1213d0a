package container

import (
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/networkspec"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/proto/port"
	"github.com/fairlead/fairlead/proto/port/portpb"
)

func (o *options) addNetwork(c *cli.CLI, cfg *containerv1.ContainerConfig) error {
	cfg.Network = &containerv1.NetworkConfig{PublishAll: o.publishAll, Egress: o.egress, Ingress: o.ingress}
	var err error
	if cfg.Network.Bandwidth, err = parseBandwidth(o.bandwidth); err != nil {
		return err
	}
	cfg.Network.MaxConnections = o.maxConnections
	if cfg.Network.Packets, err = parsePackets(o.packets); err != nil {
		return err
	}
	if !o.keepNetns {
		cfg.Network.KeepNetns = &o.keepNetns
	}

	for _, spec := range o.links {
		to, alias, err := networkspec.Link(spec)
		if err != nil {
			return err
		}
		cfg.Network.Links = append(cfg.Network.Links, &containerv1.Link{Container: to, Alias: alias})
	}

	if err := o.addAttachments(cfg.Network); err != nil {
		return err
	}

	if cfg.Network.Publish, err = mappings(o.publish); err != nil {
		return err
	}

	if cfg.Network.PublishAddresses, err = addressMappings(o.publishAddress); err != nil {
		return err
	}

	if err := o.dropDiscardedPorts(c, cfg.Network); err != nil {
		return err
	}

	for _, spec := range o.expose {
		e, err := port.ParseExposed(spec)
		if err != nil {
			return err
		}
		cfg.Network.Expose = append(cfg.Network.Expose, portpb.ExposedToProto(e))
	}

	return nil
}

// dropDiscardedPorts removes published ports that host networking ignores and prints a warning, if
// --publish-ignored is warn. Otherwise the agent rejects them.
func (o *options) dropDiscardedPorts(c *cli.CLI, net *containerv1.NetworkConfig) error {
	switch o.publishIgnored {
	case ignoredRefused:
		return nil
	case ignoredWarned:
	default:
		return fault.Invalidf("--publish-ignored "+o.publishIgnored, "publish_ignored", "must be %s or %s",
			ignoredRefused, ignoredWarned)
	}

	if net.GetMode() == "host" && len(net.GetPublish())+len(net.GetPublishAddresses()) > 0 ||
		net.GetMode() == "host" && net.GetPublishAll() {
		c.Warn("Published ports are discarded when using host network mode")
		net.Publish, net.PublishAddresses, net.PublishAll = nil, nil, false
	}

	return nil
}

// Values of --publish-ignored.
const (
	ignoredRefused = "refuse"
	ignoredWarned  = "warn"
)

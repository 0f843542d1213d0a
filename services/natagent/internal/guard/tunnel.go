package guard

import (
	"context"
	"errors"
	"net/netip"
	"reflect"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
)

// maxVNI is the highest VXLAN network identifier.
const maxVNI = 1<<24 - 1

// PutTunnel creates, updates or, with nil, removes the rules of the tunnel.
func (g *Rules) PutTunnel(ctx context.Context, t *firewall.Tunnel) error {
	if err := validateTunnel(t); err != nil {
		return err
	}

	end, err := g.lock.Lock(ctx)
	if err != nil {
		return err
	}
	defer end()

	old := g.store.Tunnel()
	if reflect.DeepEqual(old, t) {
		return nil
	}
	if err := g.store.PutTunnel(t); err != nil {
		return err
	}
	if err := g.repaired(ctx, g.firewall.ReplaceTunnel(ctx, old, t)); err != nil {
		return errors.Join(err, g.store.PutTunnel(old))
	}

	return nil
}

func validateTunnel(t *firewall.Tunnel) error {
	const subject = "tunnel"
	if t == nil {
		return nil
	}
	if !validDevice(t.Device) {
		return fault.Invalidf(subject, "device", "%q is not a valid interface name", t.Device)
	}
	if t.VNI == 0 || t.VNI > maxVNI {
		return fault.Invalidf(subject, "vni", "%d is not a valid VXLAN network identifier", t.VNI)
	}

	for _, d := range t.Encrypted {
		if !validDevice(d.Name) || d.Name == t.Device {
			return fault.Invalidf(subject, "encrypted_devices", "%q is not a valid interface name", d.Name)
		}
	}

	hosts := map[netip.Addr]bool{}
	for _, p := range t.Peers {
		if hosts[p.Address] {
			return fault.Invalidf(subject, "peers", "two hosts have the address %s", p.Address)
		}
		hosts[p.Address] = true
		for i, b := range p.Blocks {
			if b != b.Masked() || b.Bits() == 0 {
				return fault.Invalidf(subject, "peers", "invalid block %s, must be %s", b, b.Masked())
			}
			if j := overlapping(b, p.Blocks[:i]); j >= 0 {
				return fault.Invalidf(subject, "peers", "blocks %s and %s of %s overlap", p.Blocks[j], b, p.Address)
			}
		}
	}

	return nil
}

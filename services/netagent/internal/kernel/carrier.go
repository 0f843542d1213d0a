package kernel

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

// carrierLimit bounds the wait of WaitCarrier. A link that takes longer is kept down by another
// program.
const carrierLimit = 500 * time.Millisecond

// WaitCarrier waits until a bridge, one of its ports and the port's peer forward packets. The
// kernel reports a link as up before it is: a work queue detects the carrier later, and until then
// the link drops packets.
func (h *Host) WaitCarrier(bridge, port string, ns *Namespace, inside string) error {
	end := time.Now().Add(carrierLimit)
	for _, l := range []struct {
		handle *netlink.Handle
		name   string
	}{{ns.handle, inside}, {h.handle, port}, {h.handle, bridge}} {
		if err := awaitUp(l.handle, l.name, end); err != nil {
			return err
		}
	}
	return nil
}

func awaitUp(handle *netlink.Handle, name string, end time.Time) error {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		link, err := retried(func() (netlink.Link, error) { return handle.LinkByName(name) })
		if err != nil {
			return fmt.Errorf("look up %s: %w", name, err)
		}
		if link.Attrs().OperState == netlink.OperUp || time.Now().After(end) {
			return nil
		}
		time.Sleep(pause)
	}
}

package kernel

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

// carrierLimit is how long links may take to notice their carrier; longer means that somebody holds one of them down.
const carrierLimit = 500 * time.Millisecond

// WaitCarrier waits until a bridge, a port of it and the interface at the port's other end pass packets on. The kernel answers that a
// link is up before it is: a work queue finds out about the carrier a little later, and until then the link drops what it is given.
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

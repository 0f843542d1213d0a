package kernel

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// Sizes of a token bucket. The burst is what passes at full speed after a pause. The kernel divides
// packets of segmentation offload that are larger. The queue holds queueTime at the rate.
const (
	minBurst  = 16 << 10
	burstTime = 0.01 // seconds
	queueTime = 0.1
)

// Shape limits what is sent through a link to a rate in bits per second, and reports whether it changed
// anything. Zero removes the limit.
func (h *Host) Shape(link string, rate uint64) (changed bool, err error) {
	return shape(h.handle, link, rate)
}

// Shape is Host.Shape for an interface of the namespace.
func (n *Namespace) Shape(name string, rate uint64) (changed bool, err error) {
	return shape(n.handle, name, rate)
}

func shape(handle *netlink.Handle, name string, rate uint64) (changed bool, err error) {
	link, err := handle.LinkByName(name)
	if err != nil {
		return false, fmt.Errorf("look up %s: %w", name, err)
	}
	present, err := bucketOf(handle, link)
	if err != nil {
		return false, fmt.Errorf("list queueing disciplines of %s: %w", name, err)
	}

	switch {
	case rate == 0 && present == nil:
		return false, nil
	case rate == 0:
		return true, wrap("remove the rate limit of "+name, handle.QdiscDel(present))
	}
	want := bucket(link, rate)
	if present != nil && present.Rate == want.Rate && present.Buffer == want.Buffer {
		return false, nil
	}
	return true, wrap("limit the rate of "+name, handle.QdiscReplace(want))
}

// bucketOf returns the token bucket of a link, or nil.
func bucketOf(handle *netlink.Handle, link netlink.Link) (*netlink.Tbf, error) {
	all, err := handle.QdiscList(link)
	if err != nil {
		return nil, err
	}
	for _, q := range all {
		if tbf, ok := q.(*netlink.Tbf); ok && tbf.Parent == netlink.HANDLE_ROOT {
			return tbf, nil
		}
	}
	return nil, nil
}

// bucket returns the token bucket for a rate.
func bucket(link netlink.Link, rate uint64) *netlink.Tbf {
	bytes := rate / 8
	burst := max(uint64(float64(bytes)*burstTime), minBurst)
	return &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Parent: netlink.HANDLE_ROOT,
			Handle: netlink.MakeHandle(1, 0)},
		Rate:   bytes,
		Buffer: netlink.Xmittime(bytes, uint32(min(burst, 1<<31))),
		Limit:  uint32(min(burst+uint64(float64(bytes)*queueTime), 1<<31-1)),
	}
}

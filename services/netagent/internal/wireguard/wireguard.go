// Package wireguard configures WireGuard devices and the routes through them. It contains no policy
// and keeps no state. Package encryption decides what the devices are.
//
// What is right is not touched, and no change of one peer affects the packets of another one.
package wireguard

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/tunnelkey"
)

// Device is the desired state of a device.
type Device struct {
	Name    string
	Alias   string // identifies the device as managed by Fairlead
	Private tunnelkey.Key
	Port    uint16 // UDP port
	MTU     int
	IPv6    bool // it also forwards IPv6
	Peers   []Peer
}

// Peer is the other end of a tunnel.
type Peer struct {
	Key      tunnelkey.Key  // its public key
	Endpoint netip.AddrPort // where it is reached, unless packets of it come from another address
	Allowed  []netip.Prefix // its source addresses
}

// Route sends packets to a block of addresses through a device.
type Route struct {
	To     netip.Prefix
	Device string
}

// Host configures the devices of a network namespace. It is safe for concurrent use. It opens sockets
// for each call: there are few calls, and most hosts need none.
type Host struct {
	at     string // path of the namespace; empty: that of the process
	kernel *kernel.Host
}

// New returns access to the devices of a namespace, of which k is the rest.
func New(nsPath string, k *kernel.Host) *Host { return &Host{at: nsPath, kernel: k} }

// sockets are the sockets of one call.
type sockets struct {
	*Host
	links   *netlink.Handle
	devices *wgctrl.Client
}

// open opens the sockets in the namespace.
func (h *Host) open() (s sockets, err error) {
	err = h.inside(func() error {
		links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("netlink socket: %w", err)
		}
		devices, err := wgctrl.New()
		if err != nil {
			links.Close()
			return fmt.Errorf("generic netlink socket: %w", err)
		}
		s = sockets{h, links, devices}
		return nil
	})
	return s, err
}

func (s sockets) close() {
	s.links.Close()
	_ = s.devices.Close()
}

// inside calls f in the namespace.
func (h *Host) inside(f func() error) error {
	if h.at == "" {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		ns, err := netns.GetFromPath(h.at)
		if err == nil {
			err = netns.Set(ns)
			_ = ns.Close()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// Supported returns why the kernel has no WireGuard, or nil. It loads the kernel's module.
func (h *Host) Supported() error {
	return h.inside(func() error {
		c, err := genetlink.Dial(nil)
		if err != nil {
			return fmt.Errorf("generic netlink socket: %w", err)
		}
		_, err = c.GetFamily(unix.WG_GENL_NAME)
		if errors.Is(err, unix.ENOENT) {
			err = ErrMissing
		}
		return errors.Join(err, c.Close())
	})
}

// Handshakes returns the last handshake of each peer of a device that had one. A device that does not
// exist has none.
func (h *Host) Handshakes(name string) (map[tunnelkey.Key]time.Time, error) {
	s, err := h.open()
	if err != nil {
		return nil, err
	}
	defer s.close()
	d, err := s.devices.Device(name)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("WireGuard device %s: %w", name, err)
	}
	out := map[tunnelkey.Key]time.Time{}
	for _, p := range d.Peers {
		if !p.LastHandshakeTime.IsZero() {
			out[tunnelkey.Key(p.PublicKey)] = p.LastHandshakeTime
		}
	}
	return out, nil
}

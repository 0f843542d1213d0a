// Package firewalld gets a bridge's traffic past firewalld: it puts the bridge into its zone "trusted", as what must not pass is
// dropped by our own firewall. It is the one door to D-Bus.
//
// firewalld forgets that when it is reloaded or started again, so it is watched. Only the firewalld of the host whose network
// natagent works in is spoken to: one that has its table there. It is never started by asking it.
package firewalld

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/fairlead/fairlead/services/natagent/internal/firewall"
	"github.com/fairlead/fairlead/services/natagent/internal/hostns"
)

const (
	name    = "org.fedoraproject.FirewallD1" // on the bus
	path    = "/org/fedoraproject/FirewallD1"
	zones   = name + ".zone"
	trusted = "trusted"   // the zone
	table   = "firewalld" // of nf_tables

	// patience is how long to wait for an answer: firewalld answers nobody while it loads its rules.
	patience = 10 * time.Second
	// listenAgain is how long to wait before looking for the bus again.
	listenAgain = 3 * time.Second
)

// Chains lists the others' chains.
type Chains interface {
	ForwardChains(ctx context.Context) ([]firewall.ForwardChain, error)
}

// Client keeps bridges in the zone.
type Client struct {
	ns     hostns.NS
	chains Chains
	log    *slog.Logger

	mu   sync.Mutex // one conversation at a time
	conn *dbus.Conn // nil: there is none
}

// New makes it. Nobody is spoken to yet.
func New(ns hostns.NS, chains Chains, log *slog.Logger) *Client {
	return &Client{ns: ns, chains: chains, log: log}
}

// Allow puts bridges into the zone, unless they are in one already: that is its administrator's will. Without firewalld nothing happens.
func (z *Client) Allow(ctx context.Context, bridges ...string) error {
	return z.with(ctx, func(ctx context.Context, fw dbus.BusObject) error {
		var in []string
		if err := call(ctx, fw, "getInterfaces", trusted).Store(&in); err != nil {
			return err
		}
		for _, bridge := range bridges {
			if slices.Contains(in, bridge) {
				continue
			}
			if err := z.allow(ctx, fw, bridge); err != nil {
				return err
			}
		}
		return nil
	})
}

func (z *Client) allow(ctx context.Context, fw dbus.BusObject, bridge string) error {
	var zone string
	if err := call(ctx, fw, "getZoneOfInterface", bridge).Store(&zone); err != nil || zone != "" {
		return err
	}
	if err := call(ctx, fw, "addInterface", trusted, bridge).Err; err != nil {
		return err
	}
	z.log.Info("bridge put into a zone of firewalld", "bridge", bridge, "zone", trusted)
	return nil
}

// Forget takes bridges out of the zone.
func (z *Client) Forget(ctx context.Context, bridges ...string) error {
	return z.with(ctx, func(ctx context.Context, fw dbus.BusObject) error {
		var in []string
		if err := call(ctx, fw, "getInterfaces", trusted).Store(&in); err != nil {
			return err
		}
		for _, bridge := range bridges {
			if !slices.Contains(in, bridge) {
				continue
			}
			if err := call(ctx, fw, "removeInterface", trusted, bridge).Err; err != nil {
				return err
			}
		}
		return nil
	})
}

func call(ctx context.Context, fw dbus.BusObject, method string, args ...any) *dbus.Call {
	return fw.CallWithContext(ctx, zones+"."+method, dbus.FlagNoAutoStart, args...)
}

// with talks to this host's firewalld, if there is one.
func (z *Client) with(ctx context.Context, talk func(context.Context, dbus.BusObject) error) error {
	chains, err := z.chains.ForwardChains(ctx)
	if err != nil || !slices.ContainsFunc(chains, func(c firewall.ForwardChain) bool { return c.Table == table }) {
		return err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := z.connect()
	if err != nil || !z.servesHostNetns(ctx, conn) {
		return nil // a table of that name, but nobody to talk to: it is kept by something else, or was left
	}
	if err := talk(ctx, conn.Object(name, path)); err != nil {
		return fmt.Errorf("firewalld: %w", err)
	}
	return nil
}

// connect answers the connection to the bus, made anew if it is broken.
func (z *Client) connect() (*dbus.Conn, error) {
	if z.conn != nil && z.conn.Connected() {
		return z.conn, nil
	}
	conn, err := dbus.ConnectSystemBus()
	z.conn = conn
	return conn, err
}

// servesHostNetns tells whether a firewalld is on the bus, and works in our network: the bus may be that of another one, as of the machine around
// a namespace. Where its namespace may not be looked at, its table has to do as proof.
func (z *Client) servesHostNetns(ctx context.Context, conn *dbus.Conn) bool {
	var pid uint32
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixProcessID", 0, name).Store(&pid); err != nil {
		return false
	}
	its, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
	if errors.Is(err, os.ErrPermission) {
		return true
	}
	var ours os.FileInfo
	if oerr := z.ns.Do(func() (err error) {
		ours, err = os.Stat("/proc/thread-self/ns/net")
		return err
	}); err != nil || oerr != nil {
		return false
	}
	return os.SameFile(its, ours)
}

// Close ends the connection. Bridges stay in their zone.
func (z *Client) Close() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.conn == nil {
		return nil
	}
	return z.conn.Close()
}

// Package firewalld accepts the traffic of bridges in firewalld: it adds them to the zone trusted,
// since our own firewall drops what must be dropped. No other package uses D-Bus.
//
// A reload or restart of firewalld removes the bridges, so it is watched. Only a firewalld of the
// same network namespace is used: one that has its table there. D-Bus never starts it.
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
	name    = "org.fedoraproject.FirewallD1" // on D-Bus
	path    = "/org/fedoraproject/FirewallD1"
	zones   = name + ".zone"
	trusted = "trusted"   // the zone
	table   = "firewalld" // in nf_tables

	// callTimeout is long because firewalld does not respond while it loads its rules.
	callTimeout = 10 * time.Second
	// rewatchDelay is the delay before the next connection to D-Bus.
	rewatchDelay = 3 * time.Second
)

// Chains lists the foreign chains at the forward hook.
type Chains interface {
	ForwardChains(ctx context.Context) ([]firewall.ForwardChain, error)
}

// Client adds bridges to the zone.
type Client struct {
	ns     hostns.NS
	chains Chains
	log    *slog.Logger

	mu   sync.Mutex // serializes calls
	conn *dbus.Conn // nil: not connected
}

// New returns a client. It does not connect yet.
func New(ns hostns.NS, chains Chains, log *slog.Logger) *Client {
	return &Client{ns: ns, chains: chains, log: log}
}

// Allow adds bridges to the zone, unless the administrator has put them into another one. It does
// nothing without firewalld.
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
	z.log.Info("bridge added to firewalld zone", "bridge", bridge, "zone", trusted)
	return nil
}

// Forget removes bridges from the zone.
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

// with calls do with this host's firewalld, if it runs.
func (z *Client) with(ctx context.Context, do func(context.Context, dbus.BusObject) error) error {
	chains, err := z.chains.ForwardChains(ctx)
	if err != nil || !slices.ContainsFunc(chains, func(c firewall.ForwardChain) bool { return c.Table == table }) {
		return err
	}

	z.mu.Lock()
	defer z.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conn, err := z.connect()
	if err != nil || !z.servesHostNetns(ctx, conn) {
		return nil // the table exists without a firewalld
	}
	if err := do(ctx, conn.Object(name, path)); err != nil {
		return fmt.Errorf("firewalld: %w", err)
	}

	return nil
}

// connect returns the connection to D-Bus. It reconnects if necessary.
func (z *Client) connect() (*dbus.Conn, error) {
	if z.conn != nil && z.conn.Connected() {
		return z.conn, nil
	}
	conn, err := dbus.ConnectSystemBus()
	z.conn = conn
	return conn, err
}

// servesHostNetns reports whether a firewalld runs in our network namespace. The bus can belong to
// another one, such as that of the host around a namespace. Without permission to read the
// process's namespace, the table suffices as evidence.
func (z *Client) servesHostNetns(ctx context.Context, conn *dbus.Conn) bool {
	var pid uint32
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixProcessID", 0,
		name).Store(&pid); err != nil {
		return false
	}

	its, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
	if errors.Is(err, os.ErrPermission) {
		return true
	}

	var own os.FileInfo
	if oerr := z.ns.Do(func() (err error) {
		own, err = os.Stat("/proc/thread-self/ns/net")
		return err
	}); err != nil || oerr != nil {
		return false
	}

	return os.SameFile(its, own)
}

// Close closes the connection. Bridges stay in the zone.
func (z *Client) Close() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.conn == nil {
		return nil
	}
	return z.conn.Close()
}

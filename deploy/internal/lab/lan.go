package lab

import (
	"context"
	"strings"
)

// LAN connects the hosts of several labs: a bridge in a namespace of its own, without a route out.
type LAN struct{ hub *Machine }

// lanDevice is the name of the bridge, and of the interface of each host.
const lanDevice = "lan0"

// NewLAN creates a LAN. It exists until Close, or until this process exits.
func NewLAN(ctx context.Context) (*LAN, error) {
	hub, err := newClient()
	if err != nil {
		return nil, err
	}
	l := &LAN{hub}
	for _, args := range []string{"link set lo up", "link add lan0 type bridge", "link set lan0 up"} {
		if err := l.ip(ctx, hub, args); err != nil {
			l.Close()
			return nil, err
		}
	}
	return l, nil
}

// Attach connects the host of a lab to the LAN by the interface lan0 with addresses in CIDR
// notation. port names the LAN's end and must be unique on it.
func (l *LAN) Attach(ctx context.Context, host *Machine, port string, addresses ...string) error {
	network := &Machine{net: host.net} // the names of namespaces are paths of the machine
	commands := []string{"link add lan0 type veth peer name " + port + " netns " + l.hub.Path(), "link set lan0 up"}
	for _, a := range addresses {
		command := "addr add " + a + " dev lan0"
		if strings.Contains(a, ":") {
			command += " nodad"
		}
		commands = append(commands, command)
	}
	for _, args := range commands {
		if err := l.ip(ctx, network, args); err != nil {
			return err
		}
	}
	return l.ip(ctx, l.hub, "link set "+port+" master "+lanDevice+" up")
}

// Cut disconnects a host, as a pulled cable does. Connect connects it again.
func (l *LAN) Cut(ctx context.Context, port string) error {
	return l.ip(ctx, l.hub, "link set "+port+" down")
}

// Connect connects a host again.
func (l *LAN) Connect(ctx context.Context, port string) error {
	return l.ip(ctx, l.hub, "link set "+port+" up")
}

// Close removes the LAN.
func (l *LAN) Close() { l.hub.close() }

func (l *LAN) ip(ctx context.Context, on *Machine, args string) error {
	_, err := on.Output(ctx, "ip", strings.Fields(args)...)
	return err
}

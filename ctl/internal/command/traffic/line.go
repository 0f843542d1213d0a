package traffic

import (
	"net"
	"strconv"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

// line is a connection as a container sees it. It is the format json.
type line struct {
	Event           string `json:",omitempty"` // new or end, with --follow
	ID              string
	Container       string
	Direction       string // out or in
	Protocol        string
	LocalAddress    string
	LocalPort       uint32 `json:",omitempty"`
	PeerAddress     string
	PeerPort        uint32 `json:",omitempty"`
	Peer            string `json:",omitempty"` // a container, or the name that the container resolved
	PeerHost        string `json:",omitempty"` // the host of the container, if it is another one
	TargetAddress   string `json:",omitempty"` // of the peer after DNAT, if it differs
	TargetPort      uint32 `json:",omitempty"`
	State           string
	Rule            string `json:",omitempty"` // of the egress policy
	Counted         bool
	SentPackets     uint64
	SentBytes       uint64
	ReceivedPackets uint64
	ReceivedBytes   uint64
}

// lineOf returns a connection as its container sees it: the client, or the server of a client outside.
// ok is false if neither is a container.
func (d *directory) lineOf(c *natv1.Connection) (l line, ok bool) {
	l = line{Event: eventName(c.GetEvent()), Protocol: c.GetProtocol(), State: stateOf(c), Rule: c.GetRule(),
		Counted: c.GetCounted()}
	if o, known := d.owners[c.GetSource()]; known {
		l.ID, l.Container, l.Direction = o.id, o.name, "out"
		l.LocalAddress, l.LocalPort = c.GetSource(), c.GetSourcePort()
		l.PeerAddress, l.PeerPort = c.GetDestination(), c.GetDestinationPort()
		l.Peer, l.PeerHost = d.peer(o, c.GetDestination(), c.GetTarget())
		if c.GetTarget() != c.GetDestination() || c.GetTargetPort() != c.GetDestinationPort() {
			l.TargetAddress, l.TargetPort = c.GetTarget(), c.GetTargetPort()
		}
		l.SentPackets, l.SentBytes = c.GetSentPackets(), c.GetSentBytes()
		l.ReceivedPackets, l.ReceivedBytes = c.GetReceivedPackets(), c.GetReceivedBytes()
		return l, true
	}

	o, known := d.owners[c.GetTarget()]
	if !known {
		return l, false
	}
	l.ID, l.Container, l.Direction = o.id, o.name, "in"
	l.LocalAddress, l.LocalPort = c.GetTarget(), c.GetTargetPort()
	l.PeerAddress, l.PeerPort = c.GetSource(), c.GetSourcePort()
	l.Peer, l.PeerHost = d.peer(o, c.GetSource(), c.GetSource())
	l.SentPackets, l.SentBytes = c.GetReceivedPackets(), c.GetReceivedBytes()
	l.ReceivedPackets, l.ReceivedBytes = c.GetSentPackets(), c.GetSentBytes()
	return l, true
}

// peer returns the container with an address and its host if that is another one, or the name that the container
// resolved to it.
func (d *directory) peer(of owner, address, target string) (name, host string) {
	if o, known := d.owners[target]; known {
		return o.name, ""
	}
	if o, known := d.others[target]; known {
		return o.name, o.host
	}
	return d.resolved[of.id][address], ""
}

// peerName returns the peer as containers can resolve it: a container of another host has the name of that host.
func (l line) peerName() string {
	if l.PeerHost == "" {
		return l.Peer
	}
	return l.Peer + "." + l.PeerHost
}

// stateOf returns the TCP state, or whether the server answered.
func stateOf(c *natv1.Connection) string {
	switch {
	case c.GetState() != "":
		return c.GetState()
	case c.GetReplied():
		return "ANSWERED"
	}
	return "UNANSWERED"
}

func eventName(e natv1.ConnectionEvent) string {
	switch e {
	case natv1.ConnectionEvent_CONNECTION_EVENT_NEW:
		return "new"
	case natv1.ConnectionEvent_CONNECTION_EVENT_END:
		return "end"
	default:
		return ""
	}
}

func joinPort(address string, port uint32) string {
	if port == 0 {
		return address
	}
	return net.JoinHostPort(address, strconv.Itoa(int(port)))
}

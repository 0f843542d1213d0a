package diagnosis

import (
	"context"
	"slices"
	"strconv"
	"strings"

	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/preflight"
)

// firewall returns what the firewall of this host closes of the fleet's ports, and how to open them.
func (h Host) firewall(ctx context.Context) (messages, hints []string, err error) {
	if h.Firewall == nil {
		return nil, nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req := &natv1.ListBlockedPortsRequest{Address: h.Self.Address}
	add := func(protocol natv1.Protocol, port uint16) {
		req.Ports = append(req.Ports, &natv1.HostPort{Protocol: protocol, Port: uint32(port)})
	}
	add(natv1.Protocol_PROTOCOL_TCP, h.Ports.Agent)
	if h.Self.IsManager() {
		add(natv1.Protocol_PROTOCOL_TCP, h.Ports.StoreClient)
	}
	if h.Self.IsManager() && h.Self.External == nil {
		add(natv1.Protocol_PROTOCOL_TCP, h.Ports.StorePeer)
	}
	add(natv1.Protocol_PROTOCOL_UDP, preflight.TunnelPort)

	resp, err := h.Firewall.ListBlockedPorts(ctx, req)
	messages, hints = blocked(resp.GetPorts())
	return messages, hints, err
}

// BlockedPorts returns a warning for the ports of the fleet that the firewall of this host closes.
func (h Host) BlockedPorts(ctx context.Context) []string {
	messages, hints, err := h.firewall(ctx)
	if err != nil {
		return []string{"the firewall of this host is not checked: " + err.Error()}
	}
	for i, hint := range hints {
		messages[i] += "; " + hint
	}
	return messages
}

// checkFirewall checks the firewall of this host.
func (d *doctor) checkFirewall(ctx context.Context) {
	messages, hints, err := d.firewall(ctx)
	if err != nil {
		d.add("this host", "firewall", note, "is not checked: "+err.Error(), "")
	}
	for i, hint := range hints {
		d.add("this host", "firewall", problem, messages[i], hint)
	}
}

// blocked returns what the firewall of this host closes, and how to open it: a message and a hint for each protocol
// and reason.
func blocked(ports []*natv1.BlockedPort) (messages, hints []string) {
	for len(ports) > 0 {
		first := ports[0]
		same := func(p *natv1.BlockedPort) bool {
			return p.GetReason() == first.GetReason() && p.GetPort().GetProtocol() == first.GetPort().GetProtocol()
		}
		protocol := strings.ToLower(strings.TrimPrefix(first.GetPort().GetProtocol().String(), "PROTOCOL_"))
		var numbers []uint32
		var texts []string
		for _, p := range ports {
			if same(p) {
				numbers = append(numbers, p.GetPort().GetPort())
				texts = append(texts, strconv.Itoa(int(p.GetPort().GetPort())))
			}
		}
		text := strings.ToUpper(protocol) + " port " + texts[0] + " is "
		if n := len(texts) - 1; n > 0 {
			text = strings.ToUpper(protocol) + " ports " + strings.Join(texts[:n], ", ") + " and " + texts[n] + " are "
		}
		messages = append(messages, text+first.GetReason())
		hints = append(hints, opening(protocol, "this host", numbers...))
		ports = slices.DeleteFunc(slices.Clone(ports), same)
	}
	return messages, hints
}

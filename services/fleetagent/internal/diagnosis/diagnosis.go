// Package diagnosis checks the connections of a host of a fleet: to the store, and to and from the other hosts. It
// changes nothing. It is used by fleetagent.
package diagnosis

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/external"
	"github.com/fairlead/fairlead/services/fleetagent/internal/membership"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/quorum"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// Limits of probes.
const (
	probeTimeout = 5 * time.Second
	largeSkew    = 2 * time.Minute // certificates are not valid on both sides
	smallSkew    = time.Second
	fullStore    = 0.8 // of the quota
)

// Severities of findings.
const (
	fine    = hostv1.Severity_SEVERITY_OK
	note    = hostv1.Severity_SEVERITY_NOTE
	problem = hostv1.Severity_SEVERITY_PROBLEM
)

// Host is the host that is checked, with its view of the fleet.
type Host struct {
	Self    *membership.Membership
	Ports   Ports
	Now     func() time.Time
	Hosts   []*fleetv1.Host   // of the fleet, with this one
	Damaged map[string]string // records of the store that cannot be used, by key: why
	Store   Store

	Encrypted bool     // there are encrypted networks
	Keyless   []string // names of hosts without a key for them
	LateKeys  []string // names of hosts without one of the newest generation

	// External asks the servers of the external store, which only managers can. Nil if there is none.
	External func(ctx context.Context) ([]external.State, error)
	// Firewall reads the firewall of this host. Nil if it is not checked.
	Firewall natv1.FirewallServiceClient
	// TLS returns the configuration of a connection to a host.
	TLS func(host string) *tls.Config
}

// Take copies what the records of the fleet say.
func (h *Host) Take(v *view.View) {
	h.Damaged, h.Encrypted = maps.Clone(v.Damaged()), v.HasEncrypted()
	h.Keyless, h.LateKeys = v.WithoutTunnelKeys()
}

// Ports are the TCP ports of the fleet, which are the same on all hosts.
type Ports struct{ Agent, StoreClient, StorePeer uint16 }

// Store is the fleet's store. It is implemented by etcd.Client.
type Store interface {
	Members(ctx context.Context) ([]quorum.Member, error)
	Status(ctx context.Context, url string) (etcd.Status, error)
}

// doctor collects findings.
type doctor struct {
	Host
	mu    sync.Mutex
	found []*hostv1.Finding
}

// Check returns findings about the fleet as this host sees it.
func (h Host) Check(ctx context.Context) []*hostv1.Finding {
	d := &doctor{Host: h}
	var checks sync.WaitGroup
	checks.Go(func() { d.checkFirewall(ctx) })
	checks.Go(func() {
		if d.Self.External != nil {
			d.checkExternal(ctx)
			return
		}
		d.checkStore(ctx)
	})
	for _, other := range h.Hosts {
		if other.GetId() != h.Self.Host {
			checks.Go(func() { d.checkHost(ctx, other) })
		}
	}
	checks.Wait()
	d.checkSelf()
	slices.SortStableFunc(d.found, func(a, b *hostv1.Finding) int {
		order := map[string]int{"this host": 0, "store": 1, "hosts": 2}
		if a.GetArea() != b.GetArea() {
			return order[a.GetArea()] - order[b.GetArea()]
		}
		return strings.Compare(a.GetName(), b.GetName())
	})
	return d.found
}

func (d *doctor) add(area, name string, severity hostv1.Severity, message, hint string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.found = append(d.found, &hostv1.Finding{Area: area, Name: name, Severity: severity, Message: message, Hint: hint})
}

// checkSelf checks what this host has of the fleet.
func (d *doctor) checkSelf() {
	m, now := d.Self, d.Now()
	left := m.Cert.NotAfter.Sub(now)
	switch {
	case left <= 0:
		d.add("this host", "certificate", problem, fmt.Sprintf("expired %s ago", (-left).Round(time.Minute)),
			"check the clock and the connection to a manager; it is renewed every minute")
	case now.After(pki.RenewAt(m.Cert).Add(time.Hour)):
		d.add("this host", "certificate", note,
			fmt.Sprintf("is not renewed, and expires in %s", left.Round(time.Minute)), "see the agent's log")
	default:
		d.add("this host", "certificate", fine, fmt.Sprintf("expires in %s", left.Round(time.Minute)), "")
	}

	for _, h := range d.Hosts {
		for _, p := range h.GetProblems() {
			if h.GetId() == m.Host {
				d.add("hosts", p.GetName(), problem, "the data path between it and this host is broken: "+p.GetReason(),
					pathHint(p))
			} else if h.GetName() < p.GetName() && p.GetHostId() != m.Host {
				d.add("hosts", h.GetName(), problem, "the data path between it and "+p.GetName()+" is broken: "+
					p.GetReason(), pathHint(p))
			}
		}
	}
	if len(d.Keyless) > 0 {
		severity := fine
		if d.Encrypted {
			severity = problem
		}
		d.add("hosts", "encryption", severity, "networks cannot be encrypted: hosts without WireGuard: "+
			strings.Join(d.Keyless, ", "), "load the kernel module there: modprobe wireguard")
	}
	if len(d.LateKeys) > 0 {
		d.add("hosts", "encryption", note, "the change of keys waits for "+strings.Join(d.LateKeys, ", "),
			"check whether their agents run; remove hosts that are lost: fairlead fleet rm")
	}

	for key, reason := range d.Damaged {
		d.add("store", "record", problem, key+" cannot be used: "+reason+"; the last good value is used",
			"repair or delete it")
	}
}

// checkStore checks the members of the store.
func (d *doctor) checkStore(ctx context.Context) {
	members, err := d.Store.Members(ctx)
	if err != nil {
		d.add("store", "members", problem, err.Error(), "")
		return
	}
	voters, reached := 0, 0
	for _, m := range members {
		name, url := m.PeerURL, ""
		for _, h := range d.Hosts {
			if storeURL(h, d.Ports.StorePeer) == m.PeerURL {
				name, url = h.GetName(), storeURL(h, d.Ports.StoreClient)
			}
		}
		ok := d.checkMember(ctx, m, name, url)
		if !m.Learner {
			voters++
			if ok {
				reached++
			}
		}
	}
	switch need := voters/2 + 1; {
	case reached < need:
		d.add("store", "voters", problem, fmt.Sprintf("%d of %d answer, and %d are needed", reached, voters, need),
			"start the other managers, or fairlead fleet recover on one that is left")
	case voters == 1:
		d.add("store", "voters", note, "there is one: if its host is lost, nothing of the fleet can change",
			"make two more hosts managers: fairlead fleet promote")
	default:
		d.add("store", "voters", fine, fmt.Sprintf("%d of %d answer", reached, voters), "")
	}
}

// checkMember checks one server and reports whether it answers.
func (d *doctor) checkMember(ctx context.Context, m quorum.Member, name, url string) bool {
	if url == "" {
		d.add("store", name, note, "is a member without a host", "")
		return false
	}
	s, err := d.Store.Status(ctx, url)
	if err != nil {
		d.add("store", name, problem, err.Error(), Opening(d.Ports.StoreClient, "that host"))
		return false
	}
	switch {
	case len(s.Problems) > 0:
		d.add("store", name, problem, fmt.Sprintf("%s: %v", s, s.Problems), "free space on its disk")
	case etcd.CheckVersion(s.Version) != nil:
		d.add("store", name, problem, etcd.CheckVersion(s.Version).Error(), "")
	case s.Quota > 0 && float64(s.Size) > fullStore*float64(s.Quota):
		d.add("store", name, note, fmt.Sprintf("%s, nearly full", s), "")
	default:
		d.add("store", name, fine, s.String(), "")
	}
	return true
}

// checkHost checks the connection to another host in both directions, and its clock.
func (d *doctor) checkHost(ctx context.Context, h *fleetv1.Host) {
	ports := []uint16{d.Ports.Agent}
	if d.Self.IsManager() {
		ports = append(ports, d.Ports.StoreClient)
		if h.GetRole() == fleetv1.HostRole_HOST_ROLE_MANAGER && d.Self.External == nil {
			ports = append(ports, d.Ports.StorePeer)
		}
	}
	manager, err := api.DialManager(agentOf(h), d.TLS(h.GetId()))
	if err != nil {
		d.add("hosts", h.GetName(), problem, err.Error(), "")
		return
	}
	defer manager.Close()
	limited, cancel := context.WithTimeout(ctx, 2*probeTimeout)
	defer cancel()
	began := d.Now()
	probed, err := manager.Probe(limited, ports)
	if err != nil {
		d.add("hosts", h.GetName(), problem, "does not answer at "+agentOf(h).String(),
			"check whether its agent runs; "+Opening(d.Ports.Agent, "that host"))
		return
	}
	took := d.Now().Sub(began)

	skew := probed.Now.Sub(began.Add(took))
	if skew < 0 {
		skew = min(0, skew+took)
	}
	switch {
	case skew.Abs() > largeSkew:
		d.add("hosts", h.GetName(), problem, "its clock is "+skew.Round(time.Second).String()+" from this one's",
			"set both clocks; certificates are refused")
	case skew.Abs() > smallSkew:
		d.add("hosts", h.GetName(), note, "its clock is "+skew.Round(time.Millisecond).String()+" from this one's", "")
	}
	for _, port := range probed.Closed {
		d.add("hosts", h.GetName(), problem, fmt.Sprintf("cannot connect to TCP port %d of this host", port),
			Opening(port, "this host"))
	}
	if skew.Abs() <= smallSkew && len(probed.Closed) == 0 {
		d.add("hosts", h.GetName(), fine, "is reached in both directions", "")
	}
}

// pathHint returns a hint for a way between two hosts that is broken.
func pathHint(p *fleetv1.PathProblem) string {
	if len(p.GetClosedPorts()) == 0 {
		return "raise the MTU of the way, or lower that of the interfaces of the hosts"
	}
	return opening("udp", "both hosts", p.GetClosedPorts()...)
}

// Opening returns a hint with the command that opens a TCP port in the firewall of a host.
func Opening(port uint16, of string) string { return opening("tcp", of, uint32(port)) }

func opening(protocol, of string, ports ...uint32) string {
	texts := make([]string, len(ports))
	for i, port := range ports {
		texts[i] = strconv.Itoa(int(port))
	}
	what, list := "it", strings.Join(texts, ",")
	dports := "--dport " + list
	if len(ports) > 1 {
		what, dports = "them", "-m multiport --dports "+list
	}
	for _, tool := range []struct{ program, command string }{
		{"ufw", "ufw allow " + list + "/" + protocol},
		{"firewall-cmd", "firewall-cmd --permanent --add-port=" +
			strings.Join(texts, "/"+protocol+" --add-port=") + "/" + protocol + " && firewall-cmd --reload"},
	} {
		if _, err := exec.LookPath(tool.program); err == nil {
			return "open " + what + " in the firewall of " + of + ": " + tool.command
		}
	}
	return "open " + what + " in the firewall of " + of + ": iptables -I INPUT -p " + protocol + " " + dports +
		" -j ACCEPT"
}

func storeURL(h *fleetv1.Host, port uint16) string {
	return "https://" + net.JoinHostPort(h.GetAddress(), strconv.Itoa(int(port)))
}

func agentOf(h *fleetv1.Host) netip.AddrPort {
	address, _ := netip.ParseAddr(h.GetAddress())
	return netip.AddrPortFrom(address, uint16(h.GetPort())) //nolint:gosec // a stored port
}

// ClosedPort returns a warning if the first manager that answers cannot connect to a TCP port of this host.
func ClosedPort(ctx context.Context, managers []netip.AddrPort, config *tls.Config, port uint16) []string {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	for _, address := range managers {
		manager, err := api.DialManager(address, config)
		if err != nil {
			continue
		}
		probed, err := manager.Probe(ctx, []uint16{port})
		_ = manager.Close()
		if err == nil && len(probed.Closed) == 0 {
			return nil
		}
		if err == nil {
			return []string{fmt.Sprintf("manager %s cannot connect to TCP port %d of this host, and so cannot command "+
				"it; %s", address.Addr(), port, Opening(port, "this host"))}
		}
	}
	return nil
}

// BrokenPaths returns a warning for each host that packets of containers do not reach.
func BrokenPaths(problems []*fleetv1.PathProblem, name func(id string) string) (warnings []string) {
	for _, p := range problems {
		warnings = append(warnings, "containers do not reach host "+name(p.GetHostId())+": "+p.GetReason()+"; "+
			pathHint(p))
	}
	return warnings
}

package fleet

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/api"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/pki"
	"github.com/fairlead/fairlead/services/fleetagent/internal/quorum"
	"github.com/fairlead/fairlead/services/fleetagent/internal/view"
)

// Limits of probes.
const (
	probeTimeout = 5 * time.Second
	maxProbes    = 8               // ports of one request
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

// doctor checks the connections of a host. It changes nothing.
type doctor struct {
	*part
	mu    sync.Mutex
	found []*hostv1.Finding
}

// Diagnose returns findings about the fleet as this host sees it.
func (f *Fleet) Diagnose(ctx context.Context) ([]*hostv1.Finding, error) {
	p, err := f.current()
	if err != nil {
		return nil, err
	}
	d := &doctor{part: p}
	hosts, _ := p.list()
	var checks sync.WaitGroup
	checks.Go(func() { d.checkStore(ctx) })
	for _, h := range hosts {
		if h.GetId() != p.membership().Host {
			checks.Go(func() { d.checkHost(ctx, h) })
		}
	}
	checks.Wait()
	d.checkSelf()
	slices.SortStableFunc(d.found, func(a, b *hostv1.Finding) int {
		order := map[string]int{"this host": 0, "store": 1, "hosts": 2}
		if a.GetArea() != b.GetArea() {
			return order[a.GetArea()] - order[b.GetArea()]
		}
		return compareTexts(a.GetName(), b.GetName())
	})
	return d.found, nil
}

func (d *doctor) add(area, name string, severity hostv1.Severity, message, hint string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.found = append(d.found, &hostv1.Finding{Area: area, Name: name, Severity: severity, Message: message, Hint: hint})
}

// checkSelf checks what this host has of the fleet.
func (d *doctor) checkSelf() {
	m, now := d.membership(), d.cfg.Now()
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

	d.mirror.Read(func(v *view.View) {
		for key, reason := range v.Damaged() {
			d.add("store", "record", problem, key+" cannot be used: "+reason+"; the last good value is used",
				"repair or delete it")
		}
	})
}

// checkStore checks the members of the store.
func (d *doctor) checkStore(ctx context.Context) {
	members, err := d.client.Members(ctx)
	if err != nil {
		d.add("store", "members", problem, err.Error(), "")
		return
	}
	voters, reached := 0, 0
	hosts, _ := d.list()
	for _, m := range members {
		name, url := m.PeerURL, ""
		for _, h := range hosts {
			if d.peerURL(h) == m.PeerURL {
				name, url = h.GetName(), storeURL(h, d.cfg.Ports.StoreClient)
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
	s, err := d.client.Status(ctx, url)
	if err != nil {
		d.add("store", name, problem, err.Error(), opening(d.cfg.Ports.StoreClient, "that host"))
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
	ports := []uint16{d.cfg.Ports.Agent}
	if d.membership().IsManager() {
		ports = append(ports, d.cfg.Ports.StoreClient)
		if h.GetRole() == fleetv1.HostRole_HOST_ROLE_MANAGER {
			ports = append(ports, d.cfg.Ports.StorePeer)
		}
	}
	manager, err := api.DialManager(agentAddress(h), d.clientTLS(h.GetId(), ""))
	if err != nil {
		d.add("hosts", h.GetName(), problem, err.Error(), "")
		return
	}
	defer manager.Close()
	limited, cancel := context.WithTimeout(ctx, 2*probeTimeout)
	defer cancel()
	began := d.cfg.Now()
	now, closed, err := manager.Probe(limited, ports)
	if err != nil {
		d.add("hosts", h.GetName(), problem, "does not answer at "+agentAddress(h).String(),
			"check whether its agent runs; "+opening(d.cfg.Ports.Agent, "that host"))
		return
	}
	took := d.cfg.Now().Sub(began)

	skew := now.Sub(began.Add(took))
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
	for _, port := range closed {
		d.add("hosts", h.GetName(), problem, fmt.Sprintf("cannot connect to TCP port %d of this host", port),
			opening(port, "this host"))
	}
	if skew.Abs() <= smallSkew && len(closed) == 0 {
		d.add("hosts", h.GetName(), fine, "is reached in both directions", "")
	}
}

// opening returns a hint with the command that opens a port in the firewall of a host.
func opening(port uint16, of string) string {
	for _, tool := range []struct{ program, command string }{
		{"ufw", "ufw allow %d/tcp"},
		{"firewall-cmd", "firewall-cmd --permanent --add-port=%d/tcp && firewall-cmd --reload"},
	} {
		if _, err := exec.LookPath(tool.program); err == nil {
			return fmt.Sprintf("open it in the firewall of "+of+": "+tool.command, port)
		}
	}
	return fmt.Sprintf("open it in the firewall of "+of+": iptables -I INPUT -p tcp --dport %d -j ACCEPT", port)
}

// Probe implements api.Gatekeeper: it returns the ports of the calling host that this host cannot connect
// to. Only the address in the host's record is tried.
func (p *part) Probe(ctx context.Context, who pki.Identity, ports []uint16) (time.Time, []uint16, error) {
	host, err := p.find(who.Host)
	if err != nil {
		return time.Time{}, nil, err
	}
	if len(ports) > maxProbes {
		return time.Time{}, nil, fault.Invalidf("probe", "ports", "has %d ports, more than %d", len(ports), maxProbes)
	}
	address := agentAddress(host).Addr()
	results := make([]bool, len(ports))
	var probes sync.WaitGroup
	for i, port := range ports {
		probes.Go(func() {
			conn, err := (&net.Dialer{Timeout: probeTimeout}).DialContext(ctx, "tcp", joinPort(address, port))
			if results[i] = err == nil; results[i] {
				_ = conn.Close()
			}
		})
	}
	now := p.cfg.Now()
	probes.Wait()
	var closed []uint16
	for i, port := range ports {
		if !results[i] {
			closed = append(closed, port)
		}
	}
	return now, closed, nil
}

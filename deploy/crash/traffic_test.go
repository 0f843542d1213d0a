package crash

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/deploy/internal/lab"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// compareTraffic connects to all ports and resolves the names of all containers.
func (w *world) compareTraffic(r *records, d *differences) {
	published := map[uint32]bool{}
	for _, c := range r.containers {
		for _, b := range c.GetBindings() {
			published[b.GetHostPort()] = true
		}
	}

	for _, port := range ports {
		conn, err := w.Client.Dial("tcp", fmt.Sprintf("%s:%d", lab.HostIPv4, port), time.Second)
		if err == nil {
			_ = conn.Close()
		}
		if published[port] && err != nil && !errors.Is(err, syscall.ECONNREFUSED) || !published[port] && err == nil {
			d.add("port %d: published is %v, but connect returned %v", port, published[port], err)
		}
	}

	for _, from := range r.containers {
		for _, to := range r.containers {
			if running(from) && running(to) {
				w.compareName(from, to, d)
			}
		}
	}
}

// compareName resolves the name of a container from the network of another one.
func (w *world) compareName(from, to *containerv1.Container, d *differences) {
	var want []string
	for _, a := range from.GetSandbox().GetEndpoints() {
		for _, b := range to.GetSandbox().GetEndpoints() {
			if a.GetNetworkId() == b.GetNetworkId() && a.GetNetworkName() != "bridge" {
				want = append(want, bare(b.GetIpv4Address()))
			}
		}
	}

	if len(want) == 0 {
		return
	}

	m, err := lab.On(w.Root(from.GetSandbox().GetNetnsPath()))
	if err != nil {
		d.add("namespace of %s: %v", from.GetConfig().GetName(), err)
		return
	}

	conn, err := m.Dial("udp", "127.0.0.11:53", 20*time.Second)
	if err != nil {
		d.add("resolver of %s: %v", from.GetConfig().GetName(), err)
		return
	}
	defer func() { _ = conn.Close() }()
	if got := resolve(conn, to.GetConfig().GetName()); !slices.Contains(want, got) {
		d.add("name %s: got %q in container %s, want one of %s",
			to.GetConfig().GetName(), got, from.GetConfig().GetName(), want)
	}
}

func resolve(conn net.Conn, name string) string {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	c := &dns.Conn{Conn: conn}
	if err := c.WriteMsg(new(dns.Msg).SetQuestion(name+".", dns.TypeA)); err != nil {
		return err.Error()
	}

	answer, err := c.ReadMsg()
	if err != nil {
		return err.Error()
	}

	for _, rr := range answer.Answer {
		if a, ok := rr.(*dns.A); ok {
			return a.A.String()
		}
	}

	return dns.RcodeToString[answer.Rcode]
}

// compareBystander checks that the process, endpoint and port of the bystander did not change.
func (w *world) compareBystander(r *records, d *differences) {
	for _, c := range r.containers {
		if c.GetConfig().GetName() != bystander {
			continue
		}
		endpoint, port := c.GetSandbox().GetEndpoints()[0].GetId(), c.GetBindings()[0].GetHostPort()
		now := fmt.Sprint(c.GetPid(), " ", endpoint, " ", port)
		if w.watched = cmp.Or(w.watched, now); w.watched != now {
			d.add("bystander: got %s, want %s", now, w.watched)
		}
		return
	}

	d.add("bystander is missing")
}

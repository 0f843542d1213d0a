package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

const (
	refusalRate    = 10_000 // datagrams in a second
	refusalSeconds = 10
	refusalTurns   = 10     // of datagrams without pauses, for their cost in the kernel
	refusalTurn    = 20_000 // datagrams of a turn
)

// refusals measures what it costs that a container tries what its policy refuses, and whether all is counted.
// A second container may send everything.
func (b *bench) refusals(ctx context.Context, t *table) error {
	// The lab's client drops what is not its own.
	if _, err := b.lab.Host.Output(ctx, "ip", "route", "add", "10.98.0.0/15", "via", lab.ClientIPv4); err != nil {
		return err
	}
	if _, err := b.agent.CLI(ctx, "network", "create", "--subnet", "10.88.0.0/16", "refusals"); err != nil {
		return err
	}
	var machines []*lab.Machine
	for _, options := range [][]string{{"open"}, {"closed", "--egress", "!10.99.0.0/16,host0.test:443"}} {
		args := append([]string{"run", "-d", "--network", "refusals", "--name"}, options...)
		if _, err := b.agent.CLI(ctx, append(args, "busybox", "sleep", "1000")...); err != nil {
			return err
		}
		m, err := b.inside(ctx, options[0])
		if err != nil {
			return err
		}
		machines = append(machines, m)
	}

	if err := b.manyRefusals(ctx, t, machines); err != nil {
		return err
	}
	if _, err := b.agent.CLI(ctx, "rm", "-f", "open", "closed"); err != nil {
		return err
	}
	_, err := b.agent.CLI(ctx, "network", "rm", "refusals")
	return err
}

// manyRefusals sends refused datagrams at a rate, and as fast as possible.
func (b *bench) manyRefusals(ctx context.Context, t *table, machines []*lab.Machine) error {
	open, err := newSender(machines[0])
	if err != nil {
		return err
	}
	defer open.close()
	closed, err := newSender(machines[1])
	if err != nil {
		return err
	}
	defer closed.close()
	before, err := b.agent.CPU()
	if err != nil {
		return err
	}
	if err := closed.paced(ctx, refusalRate, refusalSeconds*time.Second); err != nil {
		return err
	}
	after, err := b.agent.CPU()
	if err != nil {
		return err
	}
	t.add(row{what: fmt.Sprintf("%d refusals a second: the agent, of a core", refusalRate),
		text: percent(after-before, refusalSeconds*time.Second), wanted: "at most 10 %, with the kernel"})

	var times [2][]time.Duration
	for range refusalTurns {
		for i, s := range []*sender{open, closed} {
			took, err := s.burst(refusalTurn)
			if err != nil {
				return err
			}
			times[i] = append(times[i], took)
		}
	}
	allowed, refused := median(times[0])/refusalTurn, median(times[1])/refusalTurn
	t.add(row{what: "a refused datagram, sender and kernel", took: refused, against: "an allowed one",
		other: allowed})
	t.add(row{what: fmt.Sprintf("%d refusals a second: kernel, more than allowed", refusalRate),
		text: percent(max(0, refused-allowed)*refusalRate, time.Second)})
	return b.counted(ctx, t, closed.sent)
}

// percent formats a part of a core.
func percent(used, passed time.Duration) string {
	return fmt.Sprintf("%.1f %%", 100*float64(used)/float64(passed))
}

// counted compares the number of refusals that the agent reports with that of datagrams.
func (b *bench) counted(ctx context.Context, t *table, sent uint64) error {
	list, err := b.agent.CLI(ctx, "policy", "ls")
	if err != nil {
		return err
	}
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		if len(f) < 3 || f[1] != "closed" {
			continue
		}
		n, err := strconv.ParseUint(f[2], 10, 64)
		if err != nil {
			return err
		}
		t.add(row{what: fmt.Sprintf("refusals counted, of %d", sent), text: strconv.FormatUint(n, 10),
			wanted: "all"})
		return nil
	}
	return errors.New("policy ls does not have the container")
}

// sender sends datagrams to destinations beyond the lab's client.
type sender struct {
	conn net.PacketConn
	to   []*net.UDPAddr
	sent uint64
}

func newSender(m *lab.Machine) (*sender, error) {
	conn, err := m.ListenPacket("udp4", ":0")
	if err != nil {
		return nil, err
	}
	s := &sender{conn: conn}
	for i := range 8 { // half of them are refused by a rule
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(98 + i%2), byte(i), 1}), uint16(1000+i))
		s.to = append(s.to, net.UDPAddrFromAddrPort(to))
	}
	return s, nil
}

func (s *sender) close() { _ = s.conn.Close() }

// send sends one datagram.
func (s *sender) send() error {
	_, err := s.conn.WriteTo([]byte("refused"), s.to[s.sent%uint64(len(s.to))])
	if err == nil {
		s.sent++
	}
	return err
}

// burst sends datagrams without a pause, and returns the time.
func (s *sender) burst(n int) (time.Duration, error) {
	began := time.Now()
	for range n {
		if err := s.send(); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// paced sends datagrams at a rate. What is late after a pause is sent then.
func (s *sender) paced(ctx context.Context, rate int, length time.Duration) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began, n := time.Now(), 0
	for total := int(length.Seconds() * float64(rate)); n < total; {
		for due := min(total, int(time.Since(began).Seconds()*float64(rate))); n < due; n++ {
			if err := s.send(); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

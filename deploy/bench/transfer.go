package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

const (
	transferTime   = time.Second
	transferPort   = "5001"
	transferRounds = 9
)

// transfer compares a TCP connection between containers of two hosts with one on the same way without any rules:
// through a bridge and a VXLAN device on each of two other hosts of the LAN. A second row leaves out the bridges. The
// times are those of a gigabyte.
func (f *fleetHosts) transfer(ctx context.Context, t *table) error {
	ways, err := f.ways(ctx)
	if err != nil {
		return err
	}

	took := make([][]time.Duration, len(ways))
	for range transferRounds {
		for i, w := range ways {
			d, err := gigabyte(w.from, w.to, w.address)
			if err != nil {
				return err
			}
			took[i] = append(took[i], d)
		}
	}

	what := "a gigabyte between containers of two hosts"
	t.add(row{what: what, took: median(took[0]), against: "same way without rules", other: median(took[1]),
		wanted: "at most 1.03"})
	t.add(row{what: what, took: median(took[0]), against: "VXLAN without rules and bridges", other: median(took[2])})
	return nil
}

// way is a connection to measure.
type way struct {
	from, to *lab.Machine
	address  string
}

func (f *fleetHosts) ways(ctx context.Context) ([]way, error) {
	one, err := f.inside(ctx, 1, "a1")
	if err != nil {
		return nil, err
	}
	two, err := f.inside(ctx, 2, "a2")
	if err != nil {
		return nil, err
	}
	address, err := f.address(ctx, 2, "a2")
	if err != nil {
		return nil, err
	}
	bare, err := f.bareHosts(ctx)
	if err != nil {
		return nil, err
	}
	return []way{{one, two, address}, {bare[0].Client, bare[1].Client, "10.67.2.2"},
		{bare[0].Host, bare[1].Host, "10.66.0.2"}}, nil
}

// bareHosts adds two hosts without an agent to the LAN. The client of each is connected to a bridge, as a
// container is.
func (f *fleetHosts) bareHosts(ctx context.Context) ([]*lab.Lab, error) {
	var hosts []*lab.Lab
	for n := 1; n <= 2; n++ {
		l, err := lab.New(ctx)
		if err != nil {
			return nil, err
		}
		f.undo = append(f.undo, l.Close)
		hosts = append(hosts, l)
		local, remote := fmt.Sprint("10.99.0.1", n), fmt.Sprint("10.99.0.1", 3-n)
		if err := f.lan.Attach(ctx, l.Host, fmt.Sprint("bare", n), local+"/24"); err != nil {
			return nil, err
		}
		if _, err := l.Host.Output(ctx, "sysctl", "-qw", "net.ipv4.ip_forward=1"); err != nil {
			return nil, err
		}

		err = errors.Join(
			ip(ctx, l.Host,
				"link add bare0 type vxlan id 7 dstport 4790 dev lan0 local "+local+" remote "+remote,
				fmt.Sprintf("addr add 10.66.0.%d/24 dev bare0", n), "link set bare0 up",
				"link add br0 type bridge", "link set eth0 mtu 1450 master br0", "link set br0 up",
				fmt.Sprintf("addr add 10.67.%d.1/24 dev br0", n),
				fmt.Sprintf("route add 10.67.%d.0/24 via 10.66.0.%d", 3-n, 3-n)),
			ip(ctx, l.Client, "link set eth0 mtu 1450", fmt.Sprintf("addr add 10.67.%d.2/24 dev eth0", n),
				fmt.Sprintf("route add default via 10.67.%d.1", n)))
		if err != nil {
			return nil, err
		}
	}
	return hosts, nil
}

// ip runs commands of ip on a machine.
func ip(ctx context.Context, on *lab.Machine, commands ...string) error {
	for _, args := range commands {
		if _, err := on.Output(ctx, "ip", strings.Fields(args)...); err != nil {
			return err
		}
	}
	return nil
}

// gigabyte returns the time of a gigabyte over one connection.
func gigabyte(from, to *lab.Machine, address string) (time.Duration, error) {
	target := net.JoinHostPort(address, transferPort)
	l, err := to.Listen("tcp", target)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	received := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = io.Copy(io.Discard, conn)
			err = errors.Join(err, conn.Close())
		}
		received <- err
	}()
	conn, err := from.Dial("tcp", target, 5*time.Second)
	if err != nil {
		return 0, err
	}
	start, sent, block := time.Now(), 0, make([]byte, 256<<10)
	for time.Since(start) < transferTime && err == nil {
		var n int
		n, err = conn.Write(block)
		sent += n
	}
	took := time.Since(start)
	return time.Duration(float64(took) * 1e9 / float64(max(1, sent))), errors.Join(err, conn.Close(), <-received)
}

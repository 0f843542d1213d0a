package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/deploy/internal/lab"
	"github.com/fairlead/fairlead/deploy/internal/nameload"
	dnsv1 "github.com/fairlead/fairlead/proto/gen/fairlead/dns/v1"
)

const (
	nameRounds  = 5
	nameQueries = 100_000
	nameChanges = 100 // a second
)

// names measures DNS queries of a container for the name of another container while names change.
// It compares the resolver with dnsmasq in another container, for the same queries and changes.
func (b *bench) names(ctx context.Context, t *table) error {
	if _, err := b.agent.CLI(ctx, "network", "create", "--subnet", "10.88.1.0/24", "names"); err != nil {
		return err
	}

	containers := map[string]string{
		"web": "10.88.1.20", "changing": "10.88.1.30", "client": "10.88.1.40", "peer": "10.88.1.50",
	}
	for name, address := range containers {
		_, err := b.agent.CLI(ctx, "run", "-d", "--name", name, "--network", "names", "--ip", address,
			"busybox", "sleep", "1000")
		if err != nil {
			return err
		}
	}

	took, err := b.resolver(ctx)
	if err != nil {
		return err
	}

	r := row{what: "a name's address, 100 names a second change", took: took, wanted: "at most 50 µs, none lost"}
	if installed("dnsmasq") {
		r.against = "dnsmasq"
		if r.other, err = b.dnsmasq(ctx); err != nil {
			return err
		}
	}

	t.add(r)
	if _, err := b.agent.CLI(ctx, "rm", "-f", "web", "changing", "client", "peer"); err != nil {
		return err
	}

	_, err = b.agent.CLI(ctx, "network", "rm", "names")
	return err
}

// inside returns the network namespace of a container as a machine.
func (b *bench) inside(ctx context.Context, container string) (*lab.Machine, error) {
	path, err := b.agent.CLI(ctx, "inspect", "-f", "{{.NetworkSettings.SandboxKey}}", container)
	if err != nil {
		return nil, err
	}
	return lab.On(b.lab.Root(strings.TrimSpace(path)))
}

// resolver measures the embedded resolver: the total time divided by the number of responses.
func (b *bench) resolver(ctx context.Context) (time.Duration, error) {
	m, err := b.inside(ctx, "client")
	if err != nil {
		return 0, err
	}

	format := `{{.Id}} {{(index .NetworkSettings.Networks "names").NetworkID}}`
	out, err := b.agent.CLI(ctx, "inspect", "-f", format, "changing")
	if err != nil {
		return 0, err
	}

	ids := strings.Fields(out)
	stop, err := nameload.Churn(ctx, filepath.Join(b.agent.ExecRoot(), "dns.sock"), ids[0],
		&dnsv1.NetworkRegistration{NetworkId: ids[1], NetworkName: "names", Addresses: []string{"10.88.1.30"}},
		nameChanges)
	if err != nil {
		return 0, err
	}

	took, err := flood(func() (net.Conn, error) { return m.Dial("udp", "127.0.0.11:53", time.Second) })
	_, churned := stop()
	return took, errors.Join(err, churned)
}

// flood returns the median time of a response over several rounds of queries.
func flood(dial func() (net.Conn, error)) (time.Duration, error) {
	var times []time.Duration
	for range nameRounds {
		conn, err := dial()
		if err != nil {
			return 0, err
		}
		result, err := nameload.Flood{Name: "web", Address: "10.88.1.20", Count: nameQueries}.Run(conn)
		_ = conn.Close()
		if err != nil {
			return 0, err
		}
		if result.Lost > 0 {
			return 0, fmt.Errorf("names: %s", result)
		}
		times = append(times, result.Took/time.Duration(result.Answered))
	}

	return median(times), nil
}

// dnsmasq measures dnsmasq. It watches a directory of hosts files, in which the names change.
func (b *bench) dnsmasq(ctx context.Context) (took time.Duration, err error) {
	m, err := b.inside(ctx, "peer")
	if err != nil {
		return 0, err
	}

	dir := filepath.Join(b.lab.Dir, "dnsmasq")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}

	if err := os.WriteFile(filepath.Join(dir, "web"), []byte("10.88.1.20 web\n"), 0o644); err != nil {
		return 0, err
	}

	server := exec.CommandContext(ctx, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
		"--no-resolv", "--no-hosts", "--user=root", "--pid-file=",
		"--hostsdir="+dir, "--listen-address=127.0.0.53", "--bind-interfaces", "--local-ttl=600")
	if err := m.Start(server); err != nil {
		return 0, err
	}
	defer func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
	}()

	dial := func() (net.Conn, error) { return m.Dial("udp", "127.0.0.53:53", time.Second) }
	if err := awaitServer(dial); err != nil {
		return 0, err
	}

	end, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- changeNames(dir, end) }()
	took, err = flood(dial)
	close(end)
	return took, errors.Join(err, <-ended)
}

// awaitServer waits until a server responds.
func awaitServer(dial func() (net.Conn, error)) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := dial()
		if err != nil {
			return err
		}
		_, err = nameload.Flood{Name: "web", Address: "10.88.1.20", Count: 1}.Run(conn)
		_ = conn.Close()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// changeNames changes a name in the hosts files of dnsmasq, nameChanges times a second.
func changeNames(dir string, end <-chan struct{}) error {
	tick := time.NewTicker(time.Second / nameChanges)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-end:
			return nil
		case <-tick.C:
			line := fmt.Appendf(nil, "10.88.1.30 name-%d\n", i)
			if err := os.WriteFile(filepath.Join(dir, "changing"), line, 0o644); err != nil {
				return err
			}
		}
	}
}

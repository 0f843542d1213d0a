package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fairlead/fairlead/deploy/internal/lab"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

const (
	policyRounds  = 1000 // questions, and connections, of each container
	policyStreams = 9    // transfers of each container
	policyBytes   = 256 << 20
	policyMany    = 1000 // policies of other containers
)

// policyRules are 20 rules with 10 domains. One allows the lab's client.
func policyRules() string {
	rules := []string{lab.ClientIPv4, "!10.99.0.0/16"}
	for i := range 10 {
		rules = append(rules, fmt.Sprintf("host%d.test:443", i))
	}
	for i := range 8 {
		rules = append(rules, fmt.Sprintf("10.%d.0.0/16:%d", 100+i, 1000+i))
	}
	return strings.Join(rules, ",")
}

// policy measures what an egress policy adds: to a launch, to a name's answer, to a new connection and
// to throughput. The containers with and without a policy take turns.
func (b *bench) policy(ctx context.Context, t *table) error {
	plain, bound := b.fairlead.runTrue(), b.fairlead.runTrue("--egress", policyRules())
	bound.name = "with a policy"
	took, err := interleaved(ctx, []baseline{plain, bound})
	if err != nil {
		return err
	}
	t.add(row{what: "run --rm, 20 egress rules with 10 domains", took: took[bound.name], against: "without a policy",
		other: took[plain.name], wanted: "at most 1 ms more"})

	if _, err := b.agent.CLI(ctx, "network", "create", "--subnet", "10.88.0.0/16", "policy"); err != nil {
		return err
	}
	var machines []*lab.Machine
	for name, options := range map[string][]string{"free": nil, "bound": {"--egress", policyRules()}} {
		args := append([]string{"run", "-d", "--name", name, "--network", "policy"}, options...)
		if _, err := b.agent.CLI(ctx, append(args, "busybox", "sleep", "1000")...); err != nil {
			return err
		}
	}
	for _, name := range []string{"free", "bound"} {
		m, err := b.inside(ctx, name)
		if err != nil {
			return err
		}
		machines = append(machines, m)
	}

	if err := b.boundAgainstFree(ctx, t, machines); err != nil {
		return err
	}
	if _, err := b.agent.CLI(ctx, "rm", "-f", "free", "bound"); err != nil {
		return err
	}
	_, err = b.agent.CLI(ctx, "network", "rm", "policy")
	return err
}

// boundAgainstFree measures the two containers, then new connections again with many other policies.
func (b *bench) boundAgainstFree(ctx context.Context, t *table, machines []*lab.Machine) error {
	times, err := alternate(machines, policyRounds, ask)
	if err != nil {
		return err
	}
	t.add(row{what: "a name's answer, container with a policy", took: times[1], against: "without a policy",
		other: times[0], wanted: "at most 100 µs more"})

	connect, stream, closeAll, err := b.targets()
	if err != nil {
		return err
	}
	defer closeAll()
	if times, err = alternate(machines, policyRounds, connect); err != nil {
		return err
	}
	few := times[1]
	t.add(row{what: "a new connection, container with a policy", took: few, against: "without a policy",
		other: times[0], wanted: "at most 1.1"})
	if times, err = alternate(machines, policyStreams, stream); err != nil {
		return err
	}
	t.add(row{what: "256 MB, container with a policy", took: times[1], against: "without a policy", other: times[0],
		wanted: "at most 1.03"})

	each, remove, err := b.manyPolicies(ctx)
	if err != nil {
		return err
	}
	t.add(row{what: fmt.Sprintf("put one of %d policies", policyMany), took: each})
	times, err = alternate(machines, policyRounds, connect)
	if err == nil {
		t.add(row{what: fmt.Sprintf("a new connection, with %d other policies", policyMany), took: times[1],
			against: "with no other policy", other: few, wanted: "at most 1.1"})
	}
	return errors.Join(err, remove())
}

// alternate returns the median time of an action on each machine. They take turns; the first turn is not
// measured.
func alternate(machines []*lab.Machine, rounds int, action func(*lab.Machine) (time.Duration, error)) ([]time.Duration,
	error) {
	times := make([][]time.Duration, len(machines))
	for i := range rounds + 1 {
		for j, m := range machines {
			took, err := action(m)
			if err != nil {
				return nil, err
			}
			if i > 0 {
				times[j] = append(times[j], took)
			}
		}
	}
	var medians []time.Duration
	for _, all := range times {
		medians = append(medians, median(all))
	}
	return medians, nil
}

// ask measures the answer of the embedded resolver to a question about a container.
func ask(m *lab.Machine) (time.Duration, error) {
	conn, err := m.Dial("udp", "127.0.0.11:53", time.Second)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	question, err := new(dns.Msg).SetQuestion("free.", dns.TypeA).Pack()
	if err != nil {
		return 0, err
	}

	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	began, buf := time.Now(), make([]byte, 512)
	if _, err := conn.Write(question); err != nil {
		return 0, err
	}
	n, err := conn.Read(buf)
	took := time.Since(began)
	answer := new(dns.Msg)
	if err = errors.Join(err, answer.Unpack(buf[:n])); err == nil && len(answer.Answer) == 0 {
		err = fmt.Errorf("the name has no address: %s", dns.RcodeToString[answer.Rcode])
	}
	return took, err
}

// targets listens on the lab's client and returns actions: a new connection, and a transfer to it.
func (b *bench) targets() (connect, stream func(*lab.Machine) (time.Duration, error), closeAll func(), err error) {
	l, err := b.lab.Client.Listen("tcp", lab.ClientIPv4+":80")
	if err != nil {
		return nil, nil, nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, c)
				_, _ = c.Write([]byte("x"))
				_ = c.Close()
			}()
		}
	}()

	connect = func(m *lab.Machine) (time.Duration, error) {
		began := time.Now()
		c, err := m.Dial("tcp", l.Addr().String(), 10*time.Second)
		took := time.Since(began)
		if err == nil {
			err = c.Close()
		}
		return took, err
	}
	stream = func(m *lab.Machine) (time.Duration, error) {
		c, err := m.Dial("tcp", l.Addr().String(), 10*time.Second)
		if err != nil {
			return 0, err
		}
		return send(c, policyBytes)
	}
	return connect, stream, func() { _ = l.Close() }, nil
}

// send writes bytes and waits until the other side has all.
func send(c net.Conn, size int) (time.Duration, error) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	began, buf := time.Now(), make([]byte, 1<<20)
	for sent := 0; sent < size; sent += len(buf) {
		if _, err := c.Write(buf); err != nil {
			return 0, err
		}
	}
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return 0, err
		}
	}
	_, err := c.Read(buf)
	return time.Since(began), err
}

// manyPolicies puts policies of containers that do not exist, and returns the time of each.
func (b *bench) manyPolicies(ctx context.Context) (each time.Duration, remove func() error, err error) {
	network, err := b.agent.CLI(ctx, "network", "inspect", "-f", "{{.ID}}", "policy")
	if err != nil {
		return 0, nil, err
	}
	conn, err := grpc.NewClient("unix:"+filepath.Join(b.agent.ExecRoot(), "nat.sock"),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, nil, err
	}

	policies := natv1.NewPolicyServiceClient(conn)
	owner := func(i int) string { return fmt.Sprintf("%064x", 0xbe0c000000+i) }
	remove = func() (err error) {
		for i := range policyMany {
			_, derr := policies.DeletePolicy(ctx, &natv1.DeletePolicyRequest{Owner: owner(i)})
			err = errors.Join(err, derr)
		}
		return errors.Join(err, conn.Close())
	}
	began := time.Now()
	for i := range policyMany {
		_, err := policies.PutPolicy(ctx, &natv1.PutPolicyRequest{Owner: owner(i), OwnerName: fmt.Sprint("many", i),
			Rules: strings.Split(policyRules(), ","),
			Endpoints: []*natv1.PolicyEndpoint{{NetworkId: strings.TrimSpace(network),
				MacAddress: fmt.Sprintf("02:be:0c:00:%02x:%02x", i>>8, i&255),
				Addresses:  []string{fmt.Sprintf("10.88.%d.%d", 100+i>>8, i&255)}}}})
		if err != nil {
			return 0, nil, errors.Join(err, remove())
		}
	}

	return time.Since(began) / policyMany, remove, nil
}

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

// soakVar is the environment variable with the duration of the command policy-soak; `make policysoak` sets it.
const soakVar = "FAIRLEAD_SOAK"

// Addresses of servers in a soak test: those of the name soak.test, and one without a name.
const (
	soakFirst   = 10
	soakCount   = 40
	soakNetwork = "198.51.100."
	soakOther   = soakNetwork + "99"
)

// soak is the state of the command policy-soak.
type soak struct {
	*scriptEnv
	box     *lab.Machine // the network of the container
	log     func(format string, args ...any)
	allowed atomic.Int64 // connections
	unnamed atomic.Int64 // questions without an answer, as an agent is away
	tries   atomic.Int64 // connections that the policy does not allow

	mu     sync.Mutex
	faults []string
}

// policySoak is the command policy-soak CONTAINER. The policy of the container allows soak.test:8080. While agents
// are killed at random it resolves the name, whose addresses change with each answer, and connects: that is never
// refused. Meanwhile it tries other addresses and ports: no packet of that arrives.
func policySoak(ts *testscript.TestScript, _ bool, args []string) {
	length, err := time.ParseDuration(os.Getenv(soakVar))
	must(ts, err)
	s := &soak{scriptEnv: of(ts), log: ts.Logf}
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	key, err := s.agent.CLI(ctx, "inspect", "-f", "{{.NetworkSettings.SandboxKey}}", args[0])
	must(ts, err)
	s.box, err = lab.On(fmt.Sprintf("/proc/%d/root%s", s.Pid(), strings.TrimSpace(key)))
	must(ts, err)
	must(ts, s.serve(ctx))

	var all sync.WaitGroup
	all.Go(func() { s.repeat(ctx, s.connect) })
	for _, to := range []string{"tcp " + soakOther + ":8080", "tcp " + soakNetwork + "10:8081",
		"udp " + soakOther + ":8080"} {
		all.Go(func() { s.repeat(ctx, func(context.Context) { s.try(to) }) })
	}
	kills, err := s.kill(ctx)
	all.Wait()
	must(ts, err)
	s.log("%d kills, %d connections, %d questions without an answer, %d tries in vain", kills, s.allowed.Load(),
		s.unnamed.Load(), s.tries.Load())
	if len(s.faults) > 0 || s.allowed.Load() == 0 || s.tries.Load() == 0 {
		ts.Fatalf("%d connections; %d faults: %s", s.allowed.Load(), len(s.faults),
			strings.Join(s.faults[:min(len(s.faults), 10)], "; "))
	}
}

// repeat calls do until ctx ends.
func (s *soak) repeat(ctx context.Context, do func(context.Context)) {
	for ctx.Err() == nil {
		do(ctx)
		time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
	}
}

// serve starts the name server and the server until ctx ends.
func (s *soak) serve(ctx context.Context) error {
	questions, err := s.Client.ListenPacket("udp", lab.ClientIPv4+":53")
	if err != nil {
		return err
	}
	connections, err := s.Client.Listen("tcp", ":8080")
	if err != nil {
		return errors.Join(err, questions.Close())
	}
	names := &dns.Server{PacketConn: questions, Handler: dns.HandlerFunc(answerSoak)}
	go func() { _ = names.ActivateAndServe() }()
	go func() {
		for {
			c, err := connections.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("x"))
			_ = c.Close()
		}
	}()
	context.AfterFunc(ctx, func() { _, _ = questions.Close(), connections.Close() })
	return nil
}

// answerSoak returns two random addresses with a TTL of a second.
func answerSoak(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	if q.Question[0].Qtype == dns.TypeA {
		for range 2 {
			m.Answer = append(m.Answer, &dns.A{A: net.ParseIP(fmt.Sprint(soakNetwork, soakFirst+rand.IntN(soakCount))),
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}})
		}
	}
	_ = w.WriteMsg(m)
}

// connect resolves the name and connects to all of its addresses.
func (s *soak) connect(ctx context.Context) {
	resolver := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return s.box.Dial("udp", "127.0.0.11:53", time.Second)
	}}
	asked, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	addresses, err := resolver.LookupNetIP(asked, "ip4", "soak.test.")
	if err != nil {
		s.unnamed.Add(1)
		return
	}
	for _, a := range addresses {
		c, err := s.box.Dial("tcp", netip.AddrPortFrom(a, 8080).String(), 30*time.Second)
		if err != nil && ctx.Err() != nil {
			return // the server is closed
		}
		if err != nil {
			s.fault(fmt.Sprintf("%s, which was answered, cannot be reached: %v", a, err))
			continue
		}
		_ = c.Close()
		s.allowed.Add(1)
	}
}

// try sends packets that the policy does not allow.
func (s *soak) try(to string) {
	network, address, _ := strings.Cut(to, " ")
	s.tries.Add(1)
	c, err := s.box.Dial(network, address, 500*time.Millisecond)
	if err != nil {
		return
	}
	defer c.Close()
	if network == "tcp" {
		s.fault("connected to " + to)
		return
	}
	_, _ = c.Write([]byte("x"))
}

func (s *soak) fault(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, text)
}

// kill kills processes of the agent and starts them again until ctx ends.
func (s *soak) kill(ctx context.Context) (n int, err error) {
	names := s.agent.Services()
	for ctx.Err() == nil {
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Millisecond)
		if err := s.agent.Stop(syscall.SIGKILL, names[rand.IntN(len(names))]); err != nil {
			return n, err
		}
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
		if err := s.agent.Start(context.Background()); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

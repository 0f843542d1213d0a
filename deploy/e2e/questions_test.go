package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

const (
	resolverAddress = "127.0.0.11:53"
	retryAfter      = time.Second      // as usual clients do without a response
	queryLimit      = 15 * time.Second // then the query has failed
	queryPause      = 5 * time.Millisecond
	queryingFile    = "asking" // created after the first query
)

// tally counts the results of queries.
type tally struct {
	mu                                 sync.Mutex
	asked, refused, wrong, without     int
	slowest                            time.Duration
	firstRefusal, firstWrong, firstNot error
}

// sendQueries is the program `questions CONTAINER NAME ADDRESS`. From the network of the container
// it sends queries for a name to the embedded resolver, by UDP and TCP, until it is interrupted.
// Then it prints the counts. It fails if a query was refused, got no response, or got another
// address. If ASK_ONCE is set, a UDP query is not sent again.
func sendQueries() {
	stop := make(chan struct{})
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT)
	go func() { <-interrupted; close(stop) }()
	m, err := inside()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}

	t := &tally{}
	var all sync.WaitGroup
	for _, network := range []string{"udp", "udp", "tcp"} {
		all.Go(func() { t.queryUntil(m, network, os.Args[1], os.Args[2], stop) })
	}

	all.Wait()
	fmt.Printf("asked %d, refused %d, wrong %d, without an answer %d, slowest %s\n",
		t.asked, t.refused, t.wrong, t.without, t.slowest.Round(time.Millisecond))
	if err := errors.Join(t.firstRefusal, t.firstWrong, t.firstNot); err != nil || t.asked == 0 {
		fmt.Println(err)
		os.Exit(1)
	}
}

// queryUntil sends queries sequentially until stop is closed.
func (t *tally) queryUntil(m *lab.Machine, network, name, want string, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(queryPause):
		}
		start := time.Now()
		got, err := askOnce(m, network, name)
		t.note(got, want, err, time.Since(start))
	}
}

func (t *tally) note(got, want string, err error, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asked++; t.asked == 1 {
		_ = os.WriteFile(queryingFile, nil, 0o644) // the script waits for it
	}

	t.slowest = max(t.slowest, took)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		t.refused, t.firstRefusal = t.refused+1, errors.Join(t.firstRefusal, err)
	case err != nil:
		t.without, t.firstNot = t.without+1, err
	case got != want:
		t.wrong, t.firstWrong = t.wrong+1, fmt.Errorf("got address %s", got)
	}
}

// askOnce sends a query until it gets a response or is refused. It replaces a connection that is
// closed before the response.
//
// It also retries once if the connection is reset while connecting. The kernel resets it, whatever
// the options of the socket are, if all processes with the socket of the resolver are killed within
// the microseconds between SYN-ACK and ACK.
func askOnce(m *lab.Machine, network, name string) (got string, err error) {
	wasReset := false
	question := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	again := retryAfter
	if os.Getenv("ASK_ONCE") != "" && network == "udp" {
		again = queryLimit
	}

	for deadline := time.Now().Add(queryLimit); time.Now().Before(deadline); {
		var conn net.Conn
		if conn, err = m.Dial(network, resolverAddress, queryLimit); err != nil {
			if errors.Is(err, syscall.ECONNRESET) && !wasReset {
				wasReset = true
				continue
			}
			return "", err
		}
		_ = conn.SetDeadline(time.Now().Add(again))
		client := &dns.Conn{Conn: conn}
		if err = client.WriteMsg(question); err == nil {
			var answer *dns.Msg
			if answer, err = client.ReadMsg(); err == nil && len(answer.Answer) == 1 {
				got = answer.Answer[0].(*dns.A).A.String()
			} else if err == nil {
				got = dns.RcodeToString[answer.Rcode]
			}
		}
		_ = conn.Close()
		if err == nil || errors.Is(err, syscall.ECONNREFUSED) {
			return got, err
		}
	}

	return "", err
}

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
	askAgain        = time.Second      // as programs do, if no answer comes
	askUntil        = 15 * time.Second // then it is none
	askPause        = 5 * time.Millisecond
	askingFile      = "asking" // is there from the first question's end on
)

// tally is what became of questions.
type tally struct {
	mu                                 sync.Mutex
	asked, refused, wrong, without     int
	slowest                            time.Duration
	firstRefusal, firstWrong, firstNot error
}

// askQuestions is the program `questions CONTAINER NAME ADDRESS`: from the container's network it asks the embedded resolver for a name, by
// UDP and by TCP, again and again until it is interrupted. Then it tells what became of the questions. It fails if one was refused,
// was not answered, or was answered with another address. If ASK_ONCE is set, a question by UDP is sent once, and waits for its answer.
func askQuestions() {
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
		all.Go(func() { t.askUntil(m, network, os.Args[1], os.Args[2], stop) })
	}
	all.Wait()
	fmt.Printf("asked %d, refused %d, wrong %d, without an answer %d, slowest %s\n", t.asked, t.refused, t.wrong, t.without, t.slowest.Round(time.Millisecond))
	if err := errors.Join(t.firstRefusal, t.firstWrong, t.firstNot); err != nil || t.asked == 0 {
		fmt.Println(err)
		os.Exit(1)
	}
}

// askUntil asks one question after the other.
func (t *tally) askUntil(m *lab.Machine, network, name, want string, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(askPause):
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
		_ = os.WriteFile(askingFile, nil, 0o644) // without it the story fails
	}
	t.slowest = max(t.slowest, took)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		t.refused, t.firstRefusal = t.refused+1, errors.Join(t.firstRefusal, err)
	case err != nil:
		t.without, t.firstNot = t.without+1, err
	case got != want:
		t.wrong, t.firstWrong = t.wrong+1, fmt.Errorf("answered %s", got)
	}
}

// askOnce asks until there is an answer or a refusal. A connection that ends before the answer is made anew.
//
// One that could not be made is too, once: if all that have the resolver's socket are killed between the kernel's answer to the
// connection's first packet and its asker's word on that answer, which are microseconds, the kernel resets it whatever the socket's
// options are.
func askOnce(m *lab.Machine, network, name string) (got string, err error) {
	torn := false
	question := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	again := askAgain
	if os.Getenv("ASK_ONCE") != "" && network == "udp" {
		again = askUntil
	}
	for deadline := time.Now().Add(askUntil); time.Now().Before(deadline); {
		var conn net.Conn
		if conn, err = m.Dial(network, resolverAddress, askUntil); err != nil {
			if errors.Is(err, syscall.ECONNRESET) && !torn {
				torn = true
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

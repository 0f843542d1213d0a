package resolver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Limits of Docker's resolver.
const (
	maxServers = 3
	serverTime = 4 * time.Second // clients repeat a query after 5 seconds
)

// Dial connects to a server over "udp" or "tcp", from the network it is reached from. Each query
// uses a new connection, hence a random port, and only that server can respond.
type Dial func(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error)

// Upstream is a server and how to connect to it.
type Upstream struct {
	Server  netip.AddrPort
	Network string // where it is reached from; the same address can be another server elsewhere
	Dial    Dial
	Time    time.Duration // response timeout; 0 means Docker's 4 seconds
	Stream  bool          // asked over a stream only, as with TLS; Dial can return a used connection
}

// cacheScope returns a cache scope for a list of servers and the networks they are reached from.
func cacheScope(routes []Upstream) string {
	var text []byte
	for _, route := range routes[:min(len(routes), maxServers)] {
		text = append(route.Server.AppendTo(append(append(text, route.Network...), ' ')), ' ')
	}
	return string(text)
}

// forward queries the servers sequentially and returns the first response that is not SERVFAIL or
// REFUSED, and its server. If all fail, it returns the last response, or nil without one.
func (r *Resolver) forward(q *query, routes []Upstream) (last []byte, server netip.AddrPort) {
	for _, route := range r.failures.order(routes, time.Now()) {
		leave := r.cfg.Budgets.enter(route, r.cfg.Owner)
		if leave == nil {
			r.cfg.Log.Debug("too many pending queries", "server", route.Server, "owner", r.cfg.Owner)
			continue
		}
		begun := time.Now()
		answer, err := exchange(r.answerCtx, route, q)
		leave()
		if r.answerCtx.Err() != nil {
			return nil, server
		}
		if r.cfg.Exchanged != nil {
			r.cfg.Exchanged(route.Server, time.Since(begun), err)
		}
		r.failures.record(route.Server, err == nil, time.Now())
		if err != nil {
			r.cfg.Log.Debug("name server does not respond", "server", route.Server, "owner", r.cfg.Owner, "error", err)
			continue
		}
		last, server = answer, route.Server
		if code := answer[3] & 0xf; code != dns.RcodeServerFailure && code != dns.RcodeRefused {
			break
		}
	}

	return last, server
}

// relay returns an upstream response in a form that the client accepts.
func (q *query) relay(answer []byte) []byte {
	switch {
	case answer == nil:
		return q.answer(dns.RcodeServerFailure)
	case len(answer) > q.limit:
		return q.truncated(int(answer[3] & 0xf))
	}
	binary.BigEndian.PutUint16(answer, q.msg.Id)
	return answer
}

// fromCache returns a cached response to the same question.
func (q *query) fromCache(kept *dns.Msg) []byte {
	kept.Id, kept.Question, kept.Compress = q.msg.Id, q.msg.Question, true
	answer, err := kept.Pack()
	if err != nil {
		return q.answer(dns.RcodeServerFailure)
	}
	return q.relay(answer)
}

// exchange sends a question to one server in a new message. Other content of the client's message
// is not forwarded.
func exchange(ctx context.Context, route Upstream, q *query) ([]byte, error) {
	limit := route.Time
	if limit == 0 {
		limit = serverTime
	}

	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	m := *q.msg
	m.Id = randomID()
	question, err := m.Pack()
	if err != nil {
		return nil, err
	}

	for {
		answer, err := exchangeOnce(ctx, route, q, question, m.Id)
		if _, used := errors.AsType[usedError](err); used && ctx.Err() == nil {
			continue // the server closed the idle connection
		}
		return answer, err
	}
}

// keptConn is a connection that is used for several questions.
type keptConn interface {
	Used() bool // for an earlier question
	Fail()      // it must not be used for another question
}

// usedError is a failure of a connection that was used before.
type usedError struct{ error }

func (e usedError) Unwrap() error { return e.error }

// exchangeOnce sends a question over one connection.
func exchangeOnce(ctx context.Context, route Upstream, q *query, question []byte, id uint16) ([]byte, error) {
	network, stream := "udp", q.tcp || route.Stream
	if stream {
		network = "tcp"
	}
	conn, err := route.Dial(ctx, network, route.Server)
	if err != nil {
		return nil, err
	}

	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()

	if stream {
		err = writeMessage(conn, question)
	} else {
		_, err = conn.Write(question)
	}
	var answer []byte
	if err == nil {
		answer, err = readResponse(conn, q, id, stream)
	}
	if kept, ok := conn.(keptConn); err != nil && ok {
		kept.Fail()
		if kept.Used() {
			err = usedError{err}
		}
	}
	return answer, err
}

// readResponse reads until the response arrives. Over UDP it skips other messages, which are late or
// spoofed.
func readResponse(conn net.Conn, q *query, id uint16, stream bool) ([]byte, error) {
	matches := func(answer []byte) bool {
		return sameQuestion(answer, q.msg.Question[0]) && binary.BigEndian.Uint16(answer) == id
	}

	if stream {
		answer, err := readMessage(conn, maxMessage)
		if err == nil && !matches(answer) {
			err = errors.New("response to another question")
		}
		return answer, err
	}

	buf := make([]byte, q.limit+1) // one more byte detects an oversized response
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if matches(buf[:n]) {
			return buf[:n], nil
		}
	}
}

// randomID returns an unpredictable message ID.
func randomID() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint16(b[:])
}

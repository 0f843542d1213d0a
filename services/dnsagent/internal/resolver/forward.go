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
	serverTime = 4 * time.Second // which leaves time for the next one, as programs ask again after 5
)

// Dial connects to a server from the network it is to be asked from: "udp" or "tcp". Each question has a connection of its own, so
// that its port is a new one each time and only that server can answer it.
type Dial func(ctx context.Context, network string, server netip.AddrPort) (net.Conn, error)

// Upstream is a server and the way to it.
type Upstream struct {
	Server  netip.AddrPort
	Network string // which network it is asked from, as others may be there at the same address in another one
	Dial    Dial
	Time    time.Duration // how long to wait for its answer; Docker's 4 seconds if 0
}

// cacheScope tells the servers that are asked from others, and from the same ones in another network.
func cacheScope(routes []Upstream) string {
	var text []byte
	for _, route := range routes[:min(len(routes), maxServers)] {
		text = append(route.Server.AppendTo(append(append(text, route.Network...), ' ')), ' ')
	}
	return string(text)
}

// forward asks the servers, one after the other, and gives the first answer that is one. A server that fails or refuses is none; if
// all do, the last one's words are given. Nil is no answer at all.
func (r *Resolver) forward(q *query, routes []Upstream) []byte {
	var last []byte
	for _, route := range r.memory.order(routes, time.Now()) {
		leave := r.cfg.Budgets.enter(route, r.cfg.Owner)
		if leave == nil {
			r.cfg.Log.Debug("too many queries wait for a name server", "server", route.Server, "owner", r.cfg.Owner)
			continue
		}
		answer, err := exchange(r.answerCtx, route, q)
		leave()
		if r.answerCtx.Err() != nil {
			return nil
		}
		r.memory.record(route.Server, err == nil, time.Now())
		if err != nil {
			r.cfg.Log.Debug("name server does not answer", "server", route.Server, "owner", r.cfg.Owner, "error", err)
			continue
		}
		last = answer
		if code := answer[3] & 0xf; code != dns.RcodeServerFailure && code != dns.RcodeRefused {
			break
		}
	}
	return last
}

// relay is another server's answer as the asker can take it.
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

// fromCache is an answer to the same question, which somebody asked before.
func (q *query) fromCache(kept *dns.Msg) []byte {
	kept.Id, kept.Question, kept.Compress = q.msg.Id, q.msg.Question, true
	answer, err := kept.Pack()
	if err != nil {
		return q.answer(dns.RcodeServerFailure)
	}
	return q.relay(answer)
}

// exchange puts a question to one server, in words of our own: what else the asker's message held is not passed on.
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
	network := "udp"
	if q.tcp {
		network = "tcp"
	}
	conn, err := route.Dial(ctx, network, route.Server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if q.tcp {
		err = writeMessage(conn, question)
	} else {
		_, err = conn.Write(question)
	}
	if err != nil {
		return nil, err
	}
	return await(conn, q, m.Id)
}

// await reads until the answer comes. By UDP others are passed over: they are late, or by somebody who guesses.
func await(conn net.Conn, q *query, id uint16) ([]byte, error) {
	fits := func(answer []byte) bool {
		return sameQuestion(answer, q.msg.Question[0]) && binary.BigEndian.Uint16(answer) == id
	}
	if q.tcp {
		answer, err := readMessage(conn, maxMessage)
		if err == nil && !fits(answer) {
			err = errors.New("an answer to another question")
		}
		return answer, err
	}
	buf := make([]byte, q.limit+1) // so that too long an answer is seen to be one
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if fits(buf[:n]) {
			return buf[:n], nil
		}
	}
}

// randomID is a number that nobody can guess.
func randomID() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // it never fails
	return binary.BigEndian.Uint16(b[:])
}
